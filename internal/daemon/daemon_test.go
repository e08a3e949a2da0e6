package daemon

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/mlvpn"
)

var discard = slog.New(slog.DiscardHandler)

func parse(t *testing.T, text string) *conf.Config {
	t.Helper()
	c, _, err := conf.Parse("mlvpn.conf", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const clientText = `[general]
mode = "client"
password = "a very long random string, really"
timeout = 10
loss_tolerence = 40
[dsl]
remotehost = "192.0.2.1"
remoteport = 5080
bandwidth_upload = 125000
bandwidth_download = 2500000
[lte]
remotehost = "192.0.2.1"
remoteport = 5081
fallback_only = 1
timeout = 5
loss_tolerence = 100
latency_tolerence = 300
`

func TestLinkConfig(t *testing.T) {
	c := parse(t, clientText)
	want := []mlvpn.LinkConfig{
		{Name: "dsl", Bandwidth: 125000, PeerBandwidth: 2500000, Timeout: 10 * time.Second, LossTolerance: 0.4},
		{Name: "lte", Fallback: true, Timeout: 5 * time.Second, LatencyTolerance: 300 * time.Millisecond},
	}
	for i := range want {
		if got := linkConfig(c, &c.Links[i], false); got != want[i] {
			t.Errorf("got  %+v\nwant %+v", got, want[i])
		}
	}
	dear := conf.Link{Cost: 3, Overflow: true, BandwidthUpload: 5}
	c.Links = append(c.Links, dear)
	if got, want := linkConfig(c, &dear, false), (mlvpn.LinkConfig{Cost: 3, Overflow: true, Bandwidth: 5, Pace: true, LossTolerance: 1e-9}); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := linkConfig(c, &dear, true); !got.Fallback || got.Overflow {
		t.Errorf("at its quota: %+v", got)
	}
	if !linkConfig(c, &c.Links[0], false).Pace {
		t.Error("the link beside one that overflows is not held to its rate")
	}
}

func TestTolerance(t *testing.T) {
	for percent, want := range map[int]float64{100: 0, 50: 0.5, 1: 0.01} {
		if got := tolerance(percent); got != want {
			t.Errorf("%d %%: %v, want %v", percent, got, want)
		}
	}
	if got := tolerance(0); got <= 0 || got > 1e-6 {
		t.Errorf("0 %%: %v, want next to nothing", got)
	}
}

func TestParseKeys(t *testing.T) {
	own, peer, psk := crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey().Public(), crypto.GeneratePresharedKey()
	c := &conf.Config{File: "x.conf", PrivateKey: own.EncodeText(), PeerKey: peer.String(), PresharedKey: psk.EncodeText()}
	k, err := parseKeys(c)
	if err != nil || k.private != own || k.peer != peer || k.preshared != psk {
		t.Errorf("keys not read as written: %v", err)
	}
	for name, bad := range map[string]*conf.Config{
		"private_key":   {File: "x.conf", PrivateKey: "nonsense", PeerKey: peer.String()},
		"peer_key":      {File: "x.conf", PrivateKey: own.EncodeText(), PeerKey: "nonsense"},
		"preshared_key": {File: "x.conf", PrivateKey: own.EncodeText(), PeerKey: peer.String(), PresharedKey: "nonsense"},
	} {
		_, err := parseKeys(bad)
		if err == nil || !strings.Contains(err.Error(), "x.conf: "+name) {
			t.Errorf("%s: error %v, want one that names file and key", name, err)
		}
	}
	if k, err = parseKeys(parse(t, clientText)); err != nil || k.password == (crypto.PresharedKey{}) {
		t.Errorf("password: %v", err)
	}
}

func TestInterfaceConfig(t *testing.T) {
	c := parse(t, strings.Replace(clientText, "timeout = 10\n", `ip4 = "10.42.0.2/30"
ip4_gateway = "10.42.0.1"
ip6 = "fd42::2/126"
ip4_routes = "192.0.2.0/24 198.51.100.0/24"
`, 1))
	n := interfaceConfig(c, 1400)
	if n.Name != "mlvpn0" || n.MTU != 1400 || n.Peer4 != netip.MustParseAddr("10.42.0.1") || n.Peer6.IsValid() {
		t.Errorf("%+v", n)
	}
	if len(n.Addrs) != 2 || len(n.Routes) != 2 {
		t.Errorf("addresses %v, routes %v", n.Addrs, n.Routes)
	}
}

// TestEvents checks the order of MLVPN's events when two clients come and go over links
// of the same names.
func TestEvents(t *testing.T) {
	dir := t.TempDir()
	out, script := filepath.Join(dir, "out"), filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho $2 $3 >> "+out+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := parse(t, clientText)
	c.StatusCommand = script
	e, err := newEvents(c, discard)
	if err != nil {
		t.Fatal(err)
	}
	news := e.watch("dsl")
	var background sync.WaitGroup
	if err := e.begin("", &background); err != nil {
		t.Fatal(err)
	}
	for _, ev := range []mlvpn.Event{
		{Kind: mlvpn.LinkUp, Peer: "a", Link: "dsl"},
		{Kind: mlvpn.SessionUp, Peer: "a"},
		{Kind: mlvpn.LinkDegraded, Peer: "a", Link: "dsl"},
		{Kind: mlvpn.LinkUp, Peer: "b", Link: "dsl"},
		{Kind: mlvpn.SessionUp, Peer: "b"},
		{Kind: mlvpn.LinkDown, Peer: "a", Link: "dsl"},
		{Kind: mlvpn.SessionDown, Peer: "a"},
	} {
		e.handle(ev)
	}
	if down := <-news; !down {
		t.Error("the keeper was not told that the link is down")
	}
	e.end(10 * time.Second)
	background.Wait()
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(text)), "\n")
	want := []string{"rtun_up dsl", "tuntap_up", "rtun_up dsl", "rtun_down dsl", "rtun_down dsl", "tuntap_down"}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestClientName(t *testing.T) {
	if got := clientName(strings.Repeat("x", 100)); len(got) != 64 {
		t.Errorf("a long name became %d bytes", len(got))
	}
	if clientName("") == "" {
		t.Error("a client without a name")
	}
}
