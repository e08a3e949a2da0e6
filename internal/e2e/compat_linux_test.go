package e2e

import (
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

const compat = "compat = \"mlvpn1\"\ncompat_accept_risk = 1\ntimeout = 10\n"

// TestCompat runs both ends with the protocol of the C MLVPN, over two lines.
func TestCompat(t *testing.T) {
	netlab.Require(t)
	for name, general := range map[string]string{
		"tun":           "",
		"tap cleartext": "tuntap = \"tap\"\ncleartext_data = 1\n",
	} {
		t.Run(name, func(t *testing.T) {
			lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{Up: 20e6, Down: 20e6}, {Up: 20e6, Down: 20e6}}})
			p := newPair(t, lab, pairConfig{general: compat + general, server: "short", client: "short"})
			p.waitUp(t)
			p.ping(t)
			for _, hosts := range [][2]*netlab.Host{{lab.Client, lab.Server}, {lab.Server, lab.Client}} {
				addr := serverInner
				if hosts[1] == lab.Client {
					addr = clientInner
				}
				if _, err := netlab.TransferHash(hosts[0], hosts[1], addr, 5e6); err != nil {
					t.Error(err)
				}
			}
			p.client.WaitOutput(t, "not secure", time.Second)
		})
	}
}

// TestCompatRestart kills either end, and starts it again.
func TestCompatRestart(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{Up: 20e6, Down: 20e6}}})
	p := newPair(t, lab, pairConfig{general: compat})
	p.waitUp(t)
	for _, end := range []string{"client", "server"} {
		if end == "client" {
			p.client.Kill()
			p.client = p.startClient(t)
			p.client.WaitOutput(t, "session up", 10*time.Second)
		} else {
			p.server.Kill()
			p.server = p.startServer(t)
			p.server.WaitOutput(t, "session up", 10*time.Second)
		}
		p.ping(t)
	}
}
