package routing

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

// newLines is a router with lines, each with a gateway of its own, and a host behind it.
//
//	lan - router - gw1 - isp - web
//	             - gw2 -
//	             - gw3 -
func newLines(t *testing.T, lines int) *world {
	names := []string{"lan", "router", "isp", "web"}
	for k := range lines {
		names = append(names, fmt.Sprintf("gw%d", k+1))
	}
	w := newWorld(t, names...)
	w.cable("lan:eth0", "router:lan0")
	w.addr("lan", "eth0", "192.168.0.10/24")
	w.addr("router", "lan0", "192.168.0.1/24")
	w.route("lan", "default", "192.168.0.1")
	w.cable("web:eth0", "isp:web")
	w.addr("web", "eth0", "198.51.100.10/24", "2001:db8:ff::10/64")
	w.addr("isp", "web", "198.51.100.1/24", "2001:db8:ff::1/64")
	w.route("web", "default", "198.51.100.1")
	w.route("web", "default", "2001:db8:ff::1")
	w.router("isp")
	for k := 1; k <= lines; k++ {
		gw := fmt.Sprintf("gw%d", k)
		w.cable(fmt.Sprintf("router:eth%d", k), gw+":lan0")
		w.cable(gw+":wan", "isp:"+gw)
		w.addr("router", fmt.Sprintf("eth%d", k), fmt.Sprintf("198.18.%d.2/24", k), fmt.Sprintf("2001:db8:%d::2/64", k))
		w.addr(gw, "lan0", fmt.Sprintf("198.18.%d.1/24", k), fmt.Sprintf("2001:db8:%d::1/64", k))
		w.addr(gw, "wan", fmt.Sprintf("100.64.%d.2/24", k), fmt.Sprintf("2001:db8:10%d::2/64", k))
		w.addr("isp", gw, fmt.Sprintf("100.64.%d.1/24", k), fmt.Sprintf("2001:db8:10%d::1/64", k))
		w.route(gw, "default", fmt.Sprintf("100.64.%d.1", k))
		w.route(gw, "default", fmt.Sprintf("2001:db8:10%d::1", k))
		w.route("isp", fmt.Sprintf("198.18.%d.0/24", k), fmt.Sprintf("100.64.%d.2", k))
		w.route("isp", fmt.Sprintf("2001:db8:%d::/64", k), fmt.Sprintf("2001:db8:10%d::2", k))
		w.router(gw)
		// As DHCP clients do: a default route for each line, by metric.
		for _, via := range []string{fmt.Sprintf("198.18.%d.1", k), fmt.Sprintf("2001:db8:%d::1", k)} {
			w.in("router", func() error {
				r := parseRoute("default", via)
				r.Priority = 100 * k
				return netlink.RouteAdd(r)
			})
		}
	}
	w.sysctl("router", "net/ipv4/conf/all/rp_filter", "1")
	w.settle("router")
	return w
}

// flows sends one UDP packet each of so many flows from the host behind the router to
// the web host, beginning with a port there, and returns how many each line has carried.
func (w *world) flows(captures []*capture, from, count int) []int {
	w.t.Helper()
	dst := parseAddr("198.51.100.10")
	fits := func(f flow) bool { return f.out && f.proto == 17 && f.dst == dst }
	carried := func() (n []int) {
		for _, c := range captures {
			n = append(n, c.packets(fits))
		}
		return n
	}
	before := carried()
	conn, err := w.hosts["lan"].ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	for k := range count {
		if _, err := conn.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, uint16(from+k)))); err != nil {
			w.t.Fatal(err)
		}
		if k%100 == 99 {
			time.Sleep(2 * time.Millisecond)
		}
	}
	// The captures see them a little later.
	var now []int
	for range 50 {
		time.Sleep(5 * time.Millisecond)
		now = carried()
		sum := 0
		for k := range now {
			sum += now[k] - before[k]
		}
		if sum >= count {
			break
		}
	}
	for k := range now {
		now[k] -= before[k]
	}
	return now
}

// TestWeights spreads connections over three lines, one of which dies without a word.
func TestWeights(t *testing.T) {
	netlab.Require(t)
	w := newLines(t, 3)
	w.source("web", "198.51.100.10:80")
	before := w.snapshot("router")
	config := strings.NewReplacer("wwan0", "eth3", "203.0.113.5:443", "198.51.100.10:80", "203.0.113.5", "198.51.100.10").
		Replace(example(t, "routing-balance.md", 0))
	p := w.start("router", writeConfig(t, "mlvpn.conf", config))
	p.WaitOutput(t, "msg=started", 10*time.Second)
	captures := []*capture{w.capture("router", "eth1"), w.capture("router", "eth2"), w.capture("router", "eth3")}

	const total = 6000
	got := w.flows(captures, 10000, total)
	t.Logf("%d connections by line: %v", total, got)
	for k, want := range []float64{66.7, 16.7, 16.7} {
		if share := 100 * float64(got[k]) / total; share < want-3 || share > want+3 {
			t.Errorf("line %d carries %.1f %% of the connections, want %.1f", k+1, share, want)
		}
	}

	// One connection of each line, to see what becomes of it.
	byLine := make(map[int]*download)
	tcpOut := func(k int) int {
		return captures[k].packets(func(f flow) bool { return f.out && f.proto == 6 && f.src == parseAddr(fmt.Sprintf("198.18.%d.2", k+1)) })
	}
	for range 100 {
		var was [3]int
		for k := range was {
			was[k] = tcpOut(k)
		}
		d := w.download("lan", "198.51.100.10:80")
		d.grows(t, 100<<10, 5*time.Second)
		most := 0
		for k := range was {
			if tcpOut(k)-was[k] > tcpOut(most)-was[most] {
				most = k
			}
		}
		if byLine[most] != nil {
			d.conn.Close()
			continue
		}
		byLine[most] = d
		if len(byLine) == 3 {
			break
		}
	}
	if len(byLine) != 3 {
		t.Fatalf("100 connections have used the lines %v only", byLine)
	}

	w.silence("gw2", "lan0", true)
	next := 20000
	eventually(t, 3*time.Second, "new connections avoid the dead line", func() bool {
		next += 60
		return w.flows(captures, next, 60)[1] == 0
	})
	for _, k := range []int{0, 2} {
		byLine[k].grows(t, 1<<20, 5*time.Second)
	}
	if got := w.flows(captures, 30000, 600); got[1] != 0 || got[0] == 0 || got[2] == 0 {
		t.Errorf("new connections by line: %v, want none by the second", got)
	}
	w.silence("gw2", "lan0", false)
	next = 40000
	eventually(t, 3*time.Second, "the line that answers again is used", func() bool {
		next += 60
		return w.flows(captures, next, 60)[1] > 0
	})

	// The second line gets another address, as by DHCP.
	w.lease("eth2", "198.18.2.2/24", "198.18.2.7/24")
	next = 50000
	eventually(t, 5*time.Second, "connections use the line's new address", func() bool {
		next += 60
		w.flows(captures, next, 60)
		return captures[1].packets(func(f flow) bool { return f.out && f.proto == 17 && f.src == parseAddr("198.18.2.7") }) > 0
	})
	w.lease("eth2", "198.18.2.7/24", "198.18.2.2/24")
	if err := p.Stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	wantSame(t, before, w.snapshot("router"))
}

// lease has a DHCP client of the router replace an address and its default route.
func (w *world) lease(dev, old, new string) {
	w.t.Helper()
	w.in("router", func() error {
		l, err := netlink.LinkByName(dev)
		if err != nil {
			return err
		}
		a, err := netlink.ParseAddr(old)
		if err != nil {
			return err
		}
		return netlink.AddrDel(l, a)
	})
	w.addr("router", dev, new)
	w.in("router", func() error {
		r := parseRoute("default", "198.18.2.1")
		r.Priority = 200
		return netlink.RouteAdd(r)
	})
}

// TestReplies asks a host for the same service at each of its addresses: each answer
// leaves by the line on which the request came, from that address.
func TestReplies(t *testing.T) {
	netlab.Require(t)
	t.Run("an interface each", func(t *testing.T) {
		w := newLines(t, 2)
		testReplies(t, w, example(t, "routing-replies.md", 0),
			"198.18.1.2", "198.18.2.2", "2001:db8:1::2", "2001:db8:2::2")
	})
	t.Run("one interface", func(t *testing.T) {
		w := newWorld(t, "lan", "router", "switch", "gw1", "gw2", "isp", "web")
		w.cable("router:eth0", "switch:p0")
		w.cable("gw1:lan0", "switch:p1")
		w.cable("gw2:lan0", "switch:p2")
		w.bridge("switch", "p0", "p1", "p2")
		w.cable("lan:eth0", "router:lan0")
		w.addr("lan", "eth0", "192.168.0.10/24")
		w.route("lan", "default", "192.168.0.1")
		w.addr("router", "lan0", "192.168.0.1/24")
		w.cable("web:eth0", "isp:web")
		w.addr("web", "eth0", "198.51.100.10/24")
		w.addr("isp", "web", "198.51.100.1/24")
		w.route("web", "default", "198.51.100.1")
		w.addr("router", "eth0", "198.18.1.2/24", "198.18.2.2/24")
		for k := 1; k <= 2; k++ {
			gw := fmt.Sprintf("gw%d", k)
			w.cable(gw+":wan", "isp:"+gw)
			w.addr(gw, "lan0", fmt.Sprintf("198.18.%d.1/24", k))
			w.addr(gw, "wan", fmt.Sprintf("100.64.%d.2/24", k))
			w.addr("isp", gw, fmt.Sprintf("100.64.%d.1/24", k))
			w.route(gw, "default", fmt.Sprintf("100.64.%d.1", k))
			w.route("isp", fmt.Sprintf("198.18.%d.0/24", k), fmt.Sprintf("100.64.%d.2", k))
		}
		w.router("isp", "gw1", "gw2")
		w.route("router", "default", "198.18.1.1")
		w.sysctl("router", "net/ipv4/conf/all/rp_filter", "1")
		general, _, _ := strings.Cut(example(t, "routing-replies.md", 0), "[isp1]")
		testReplies(t, w, general+example(t, "routing-replies.md", 1),
			"198.18.1.2", "198.18.2.2")
	})
}

func testReplies(t *testing.T, w *world, config string, addrs ...string) {
	p := w.start("router", writeConfig(t, "mlvpn.conf", config))
	p.WaitOutput(t, "msg=started", 10*time.Second)
	w.source("router", "[::]:80")
	w.source("lan", "192.168.0.10:8080")
	w.router("router")
	w.forwardPort("router", 8080, "192.168.0.10")
	captures := []*capture{w.capture("gw1", "lan0"), w.capture("gw2", "lan0")}
	var all []*download
	for _, a := range addrs {
		all = append(all, w.download("web", net.JoinHostPort(a, "80")))
	}
	// Several, as some would find the right line by chance.
	for k := range 8 {
		all = append(all, w.download("web", net.JoinHostPort(addrs[k%2], "8080")))
	}
	for _, d := range all {
		d.grows(t, 200<<10, 5*time.Second)
	}
	for k, c := range captures {
		own := parseAddr(addrs[k])
		good := c.packets(func(f flow) bool { return !f.out && f.proto == 6 && f.src == own })
		bad := c.packets(func(f flow) bool { return !f.out && f.proto == 6 && f.src != own })
		if good < 100 || bad != 0 {
			t.Errorf("line %d: %d packets from its address and %d others", k+1, good, bad)
		}
	}
}

// forwardPort leads connections to a port of a router to a host behind it.
func (w *world) forwardPort(host string, port uint16, to string) {
	w.t.Helper()
	w.in(host, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		table := c.AddTable(&nftables.Table{Name: "forward", Family: nftables.TableFamilyIPv4})
		chain := c.AddChain(&nftables.Chain{
			Name: "nat", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
		})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
			&expr.Immediate{Register: 1, Data: parseAddr(to).AsSlice()},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
		}})
		return c.Flush()
	})
}
