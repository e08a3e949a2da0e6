package routing

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

const lineRate = 20e6

// newADSL is the network of that example: two modems and a router on one switch.
//
//	lan - router - switch - modem1 - isp - server
//	                      - modem2 -     - web
func newADSL(t *testing.T) *world {
	w := newWorld(t, "lan", "router", "switch", "modem1", "modem2", "isp", "server", "web")
	w.cable("lan:eth0", "router:lan0")
	w.cable("router:eth0", "switch:p0")
	w.cable("modem1:lan0", "switch:p1")
	w.cable("modem2:lan0", "switch:p2")
	w.bridge("switch", "p0", "p1", "p2")
	w.cable("modem1:wan", "isp:m1")
	w.cable("modem2:wan", "isp:m2")
	w.cable("server:eth0", "isp:server")
	w.cable("web:eth0", "isp:web")

	w.addr("lan", "eth0", "192.168.0.10/24")
	w.addr("router", "lan0", "192.168.0.1/24")
	w.addr("router", "eth0", "192.168.1.2/24", "192.168.2.2/24")
	w.addr("modem1", "lan0", "192.168.1.1/24")
	w.addr("modem2", "lan0", "192.168.2.1/24")
	w.addr("modem1", "wan", "100.64.1.2/24")
	w.addr("modem2", "wan", "100.64.2.2/24")
	w.addr("isp", "m1", "100.64.1.1/24")
	w.addr("isp", "m2", "100.64.2.1/24")
	w.addr("isp", "server", "203.0.113.1/24")
	w.addr("isp", "web", "198.51.100.1/24")
	w.addr("server", "eth0", "203.0.113.5/24")
	w.addr("web", "eth0", "198.51.100.10/24")
	w.route("lan", "default", "192.168.0.1")
	w.route("router", "default", "192.168.1.1")
	w.route("modem1", "default", "100.64.1.1")
	w.route("modem2", "default", "100.64.2.1")
	w.route("server", "default", "203.0.113.1")
	w.route("web", "default", "198.51.100.1")
	w.router("modem1", "modem2", "isp")
	w.masquerade("modem1", "wan")
	w.masquerade("modem2", "wan")
	for _, m := range []string{"1", "2"} {
		w.shape("isp", "m"+m, lineRate)
		w.shape("modem"+m, "wan", lineRate)
	}
	// A host that has been set up for security answers by one line only.
	w.sysctl("router", "net/ipv4/conf/all/rp_filter", "1")
	w.settle("router", "server")
	return w
}

// adsl returns the two files of docs/routing-adsl.md, for the server and the router.
func adsl(t *testing.T) (server, client string) {
	t.Helper()
	soon := strings.NewReplacer("manage_network = 1", "manage_network = 1\ntimeout = 5")
	return soon.Replace(example(t, "routing-adsl.md", 0)), soon.Replace(example(t, "routing-adsl.md", 1))
}

// startADSL starts both ends, and returns when both lines work.
func startADSL(t *testing.T, w *world, args ...string) (server, client *netlab.Process) {
	serverText, clientText := adsl(t)
	server = w.start("server", writeConfig(t, "server.conf", serverText), args...)
	client = w.start("router", writeConfig(t, "client.conf", clientText), args...)
	for _, link := range []string{"adsl1", "adsl2"} {
		client.WaitOutput(t, `"link up" link=`+link, 10*time.Second)
	}
	return server, client
}

// TestTwoModems has a host behind the router download from beyond the server. The
// configuration files are all there is.
func TestTwoModems(t *testing.T) {
	netlab.Require(t)
	w := newADSL(t)
	before := map[string]string{"router": w.snapshot("router"), "server": w.snapshot("server")}
	server, client := startADSL(t, w)
	peers := w.source("web", "198.51.100.10:80")
	lines := []*capture{w.capture("modem1", "lan0"), w.capture("modem2", "lan0")}

	d := w.download("lan", "198.51.100.10:80")
	d.grows(t, 1<<20, 10*time.Second)
	if got := peers(); len(got) != 1 || got[0] != parseAddr("203.0.113.5") {
		t.Errorf("the web host is asked by %v, want the server's address", got)
	}
	share := func() [2]uint64 { return [2]uint64{w.received("modem1", "wan"), w.received("modem2", "wan")} }
	start := share()
	d.grows(t, 5<<20, 20*time.Second)
	end := share()
	first, second := end[0]-start[0], end[1]-start[1]
	t.Logf("of 5 MiB, modem 1 has brought %d and modem 2 %d bytes", first, second)
	if min(first, second) < (first+second)/4 {
		t.Error("the lines are not used at once")
	}

	w.silence("modem1", "wan", true)
	d.grows(t, 2<<20, 20*time.Second)
	w.silence("modem1", "wan", false)
	eventually(t, 15*time.Second, "the modem that returns is used", func() bool {
		was := w.received("modem1", "wan")
		time.Sleep(200 * time.Millisecond)
		return w.received("modem1", "wan")-was > 50000
	})
	d.grows(t, 1<<20, 10*time.Second)

	// Each line's packets, and only these, pass its modem.
	own := []netip.Addr{parseAddr("192.168.1.2"), parseAddr("192.168.2.2")}
	const udp = 17
	for k, c := range lines {
		for _, out := range []bool{false, true} {
			near := func(f flow) netip.Addr {
				if f.out {
					return f.dst
				}
				return f.src
			}
			good := c.packets(func(f flow) bool { return f.proto == udp && f.out == out && near(f) == own[k] })
			bad := c.packets(func(f flow) bool { return f.proto == udp && f.out == out && near(f) != own[k] })
			t.Logf("modem %d, to the router %v: %d packets of its line, %d others", k+1, out, good, bad)
			// What is sent to the server is acknowledgements, which one line could carry.
			if good < 10 || bad != 0 {
				t.Errorf("modem %d, to the router %v: %d packets of its line and %d others", k+1, out, good, bad)
			}
		}
	}
	for _, p := range []*netlab.Process{client, server} {
		if err := p.Stop(); err != nil {
			t.Errorf("stopped with %v", err)
		}
	}
	for host, was := range before {
		wantSame(t, was, w.snapshot(host))
	}
}
