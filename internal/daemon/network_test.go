package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/internal/netcfg"
)

const managedText = `[general]
mode = "client"
password = "a very long random string, really"
manage_network = 1
ip4_routes = "default"
ip4_lan = "192.168.0.0/24"
ip4_direct_routes = "192.0.2.0/24"
probe_targets = "icmp:192.0.2.1 tcp:[2001:db8::1]:443"
[adsl1]
bindhost = "192.168.1.2"
remotehost = "203.0.113.5"
remoteport = 5080
bandwidth_download = 1000
[adsl2]
binddev = "eth1"
gateway = "192.168.2.1"
remotehost = "203.0.113.5"
remoteport = 5081
weight = 3
[own]
bindfib = 7
remotehost = "203.0.113.6"
remoteport = 5081
`

func TestNetworkSettings(t *testing.T) {
	s, err := networkSettings(parse(t, managedText), 42)
	if err != nil {
		t.Fatal(err)
	}
	n := s.Network
	want := []netcfg.LineConfig{
		{Name: "adsl1", Addr: netip.MustParseAddr("192.168.1.2"), Rate: 1000},
		{Name: "adsl2", Device: "eth1", Gateway4: netip.MustParseAddr("192.168.2.1"), Weight: 3},
	}
	if !slices.Equal(n.Lines, want) {
		t.Errorf("lines %+v, want %+v", n.Lines, want)
	}
	if !n.Forward4 || n.Forward6 || n.UID != 42 || !n.Tunnel.Block || !n.Reply || !n.ClampMSS || n.NATAuto || n.NAT != "" {
		t.Errorf("%+v", n)
	}
	if !slices.Equal(s.Servers, []string{"203.0.113.5"}) || len(s.Probe.Targets) != 2 {
		t.Errorf("servers %v, probes %v", s.Servers, s.Probe.Targets)
	}
	s, err = networkSettings(parse(t, strings.Replace(managedText, "manage_network = 1\n", "", 1)), 42)
	if err != nil || s.Network != nil || s.Instance != "mlvpn0" {
		t.Errorf("not managed: %+v, %v", s, err)
	}
	for was, is := range map[string]string{"icmp:": "ping:", `bindhost = "192.168.1.2"`: `bindhost = "modem.example"`} {
		if _, err := networkSettings(parse(t, strings.Replace(managedText, was, is, 1)), 42); err == nil {
			t.Errorf("%s is accepted", is)
		}
	}
}

func TestTellRates(t *testing.T) {
	told := tellRates(map[string]float64{"a": 100, "b": 0}, nil)
	if told["a"] != 100 {
		t.Fatalf("told %v", told)
	}
	if got := tellRates(map[string]float64{"a": 110, "b": 0}, told); got != nil {
		t.Errorf("told %v, which is no news", got)
	}
	if got := tellRates(map[string]float64{"a": 100, "b": 10}, told); got["b"] != 10 {
		t.Errorf("told %v", got)
	}
}

// TestCheckReadsFirst wants what is wrong with the file itself, before the host is
// looked at.
func TestCheckReadsFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mlvpn.conf")
	write := func(text string, mode os.FileMode) {
		os.Remove(file)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		text string
		mode os.FileMode
		code string
		part string
	}{
		{managedText, 0o644, "file", "chmod 600"},
		{strings.Replace(managedText, "5080", "99999", 1), 0o600, "config", ":12"},
		{strings.Replace(managedText, "manage_network = 1", "statuscommand = \"/nonexistent\"", 1), 0o600, "script", "/nonexistent"},
	} {
		write(test.text, test.mode)
		ps := Check(t.Context(), file)
		i := slices.IndexFunc(ps, func(p netcfg.Problem) bool {
			return p.Severity == netcfg.Failure && p.Code == test.code && strings.Contains(p.Text, test.part)
		})
		if i < 0 {
			t.Errorf("%s: %+v", test.code, ps)
		}
	}
}
