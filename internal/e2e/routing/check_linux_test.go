package routing

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

// check runs mlvpn check on a host, and returns the codes of what it finds, each with its
// severity and line, and whether it calls that an error.
func (w *world) check(host, config string) (codes []string, wrong bool) {
	w.t.Helper()
	cmd := w.hosts[host].Command(netlab.BuildDaemon(w.t), "check", "--json", "-c", config)
	out, err := cmd.Output()
	var found struct {
		Problems []struct{ Severity, Line, Code, Text string }
	}
	if err := json.Unmarshal(out, &found); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	for _, p := range found.Problems {
		codes = append(codes, strings.TrimSpace(p.Severity+" "+p.Code+" "+p.Line))
	}
	return codes, err != nil
}

// TestCheck examines a router by hand, managed, and with a line that is too narrow.
func TestCheck(t *testing.T) {
	netlab.Require(t)
	w := newADSL(t)
	_, text := adsl(t)
	want := func(what string, got []string, wrong, wantWrong bool, codes ...string) {
		t.Helper()
		if wrong != wantWrong {
			t.Errorf("%s: an error: %v, want %v", what, wrong, wantWrong)
		}
		for _, c := range codes {
			if !slices.Contains(got, c) {
				t.Errorf("%s: %q, want %q", what, got, c)
			}
		}
	}
	byHand := writeConfig(t, "client.conf", strings.Replace(text, "manage_network = 1", "", 1))
	got, wrong := w.check("router", byHand)
	want("by hand", got, wrong, true, "error wrong-gateway adsl2", "warning rp-filter adsl1", "error forwarding", "error port-closed adsl1")

	managed := writeConfig(t, "client.conf", text)
	before := w.snapshot("router")
	shown, err := w.hosts["router"].Run(netlab.BuildDaemon(t), "network", "show", "-c", managed)
	if err != nil || !strings.Contains(shown, "ip -4 rule add") || !strings.Contains(shown, "nft -f") {
		t.Errorf("%v, shown:\n%s", err, shown)
	}
	wantSame(t, before, w.snapshot("router"))

	startADSL(t, w)
	got, wrong = w.check("router", managed)
	want("managed", got, wrong, false)
	if slices.ContainsFunc(got, func(c string) bool { return strings.HasPrefix(c, "error") }) {
		t.Errorf("managed: %q", got)
	}
	w.in("modem2", func() error {
		l, err := netlink.LinkByName("wan")
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(l, 1420)
	})
	got, wrong = w.check("router", managed)
	want("a narrow line", got, wrong, true, "error mtu adsl2")
}
