package routing

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

// A world is a network of hosts, each a namespace.
type world struct {
	t     *testing.T
	hosts map[string]*netlab.Host
}

func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	w := &world{t, netlab.NewHosts(t, names...)}
	for _, name := range names {
		w.in(name, func() error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			return netlink.LinkSetUp(lo)
		})
		w.sysctl(name, "net/ipv6/conf/default/accept_dad", "0")
	}
	return w
}

// in calls fn in a host.
func (w *world) in(host string, fn func() error) {
	w.t.Helper()
	if err := w.hosts[host].Do(fn); err != nil {
		w.t.Fatalf("%s: %v", host, err)
	}
}

// cable joins two hosts. An end is host:interface.
func (w *world) cable(a, b string) {
	w.t.Helper()
	aHost, aDev, _ := strings.Cut(a, ":")
	bHost, bDev, _ := strings.Cut(b, ":")
	f, err := os.Open("/run/netns/" + w.hosts[bHost].Name)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	w.in(aHost, func() error {
		err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: aDev, TxQLen: 1000}, PeerName: bDev, PeerNamespace: netlink.NsFd(int(f.Fd())),
		})
		if err != nil {
			return err
		}
		return up(aDev)
	})
	w.in(bHost, func() error { return up(bDev) })
}

func up(dev string) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// bridge makes a switch of a host's interfaces.
func (w *world) bridge(host string, ports ...string) {
	w.t.Helper()
	w.in(host, func() error {
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		if err := netlink.LinkAdd(br); err != nil {
			return err
		}
		for _, p := range ports {
			l, err := netlink.LinkByName(p)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetMaster(l, br); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(br)
	})
}

func (w *world) addr(host, dev string, prefixes ...string) {
	w.t.Helper()
	w.in(host, func() error {
		l, err := netlink.LinkByName(dev)
		if err != nil {
			return err
		}
		for _, p := range prefixes {
			a, err := netlink.ParseAddr(p)
			if err != nil {
				return err
			}
			a.Flags = unix.IFA_F_NODAD
			if err := netlink.AddrAdd(l, a); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
		}
		return nil
	})
}

// route adds a route by a gateway.
func (w *world) route(host, dst, via string) {
	w.t.Helper()
	w.in(host, func() error { return netlink.RouteAdd(parseRoute(dst, via)) })
}

func parseRoute(dst, via string) *netlink.Route {
	if dst == "default" {
		dst = "0.0.0.0/0"
		if strings.Contains(via, ":") {
			dst = "::/0"
		}
	}
	_, n, err := net.ParseCIDR(dst)
	if err != nil {
		panic(err)
	}
	return &netlink.Route{Dst: n, Gw: net.ParseIP(via)}
}

func (w *world) sysctl(host, name, value string) {
	w.t.Helper()
	w.in(host, func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644) })
}

// router has hosts forward packets.
func (w *world) router(hosts ...string) {
	w.t.Helper()
	for _, h := range hosts {
		w.sysctl(h, "net/ipv4/ip_forward", "1")
		w.sysctl(h, "net/ipv6/conf/all/forwarding", "1")
	}
}

// masquerade has a host put its own address into what leaves by an interface, as modems
// do.
func (w *world) masquerade(host, dev string) {
	w.t.Helper()
	w.in(host, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		table := c.AddTable(&nftables.Table{Name: "modem", Family: nftables.TableFamilyIPv4})
		chain := c.AddChain(&nftables.Chain{
			Name: "nat", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		})
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, dev)
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
			&expr.Masq{},
		}})
		return c.Flush()
	})
}

// shape limits what a host sends by an interface, in bits per second.
func (w *world) shape(host, dev string, rate uint64) {
	w.t.Helper()
	w.in(host, func() error {
		l, err := netlink.LinkByName(dev)
		if err != nil {
			return err
		}
		return netlink.QdiscReplace(&netlink.Tbf{
			QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
			Rate:       rate / 8, Buffer: 20000, Limit: 100000,
		})
	})
}

// silence has a host drop all that arrives by an interface, and answer nothing, while
// the interface stays up; or not any more.
func (w *world) silence(host, dev string, silent bool) {
	w.t.Helper()
	w.in(host, func() error {
		l, err := netlink.LinkByName(dev)
		if err != nil {
			return err
		}
		c, err := nftables.New()
		if err != nil {
			return err
		}
		table := &nftables.Table{Name: "silence_" + dev, Family: nftables.TableFamilyNetdev}
		if !silent {
			c.DelTable(table)
			return c.Flush()
		}
		c.AddTable(table)
		drop := nftables.ChainPolicyDrop
		c.AddChain(&nftables.Chain{
			Name: "in", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookIngress,
			Priority: nftables.ChainPriorityFilter, Policy: &drop, Device: l.Attrs().Name,
		})
		return c.Flush()
	})
}

// settle waits until the interfaces of hosts are up and have their link-local addresses,
// with which the kernel takes its time: its own routes come with them.
func (w *world) settle(hosts ...string) {
	w.t.Helper()
	for _, host := range hosts {
		eventually(w.t, 10*time.Second, host+" has its interfaces up", func() bool {
			ready := true
			w.in(host, func() error {
				links, err := netlink.LinkList()
				if err != nil {
					return err
				}
				routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Table: unix.RT_TABLE_LOCAL}, netlink.RT_FILTER_TABLE)
				if err != nil {
					return err
				}
				for _, l := range links {
					addrs, err := netlink.AddrList(l, netlink.FAMILY_V6)
					if err != nil {
						return err
					}
					up := l.Attrs().Name == "lo" || l.Attrs().OperState == netlink.OperUp && len(addrs) > 0
					for _, a := range addrs {
						// Each has a route once it can be used.
						up = up && slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Dst.IP.Equal(a.IP) })
					}
					ready = ready && up
				}
				return nil
			})
			return ready
		})
	}
}

// snapshot returns all that the daemon could have changed in a host.
func (w *world) snapshot(host string) string {
	w.t.Helper()
	var lines []string
	w.in(host, func() error {
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			rules, err := netlink.RuleList(family)
			if err != nil {
				return err
			}
			for _, r := range rules {
				lines = append(lines, fmt.Sprintf("rule %d %+v", family, r))
			}
			routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
			if err != nil {
				return err
			}
			for _, r := range routes {
				// The kernel says of a route that it may be offloaded or is in use.
				r.Flags = 0
				lines = append(lines, fmt.Sprintf("route %d %+v proto %d", family, r, r.Protocol))
			}
		}
		c, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := c.ListChains()
		if err != nil {
			return err
		}
		for _, ch := range chains {
			rules, err := c.GetRules(ch.Table, ch)
			if err != nil {
				return err
			}
			lines = append(lines, fmt.Sprintf("nft %s %s %d", ch.Table.Name, ch.Name, len(rules)))
		}
		for _, pattern := range []string{"ipv4/conf/*/*", "ipv6/conf/*/*", "ipv4/ip_forward", "ipv4/fib_multipath*", "ipv6/fib_multipath*"} {
			files, err := filepath.Glob("/proc/sys/net/" + pattern)
			if err != nil {
				return err
			}
			for _, f := range files {
				if b, err := os.ReadFile(f); err == nil {
					lines = append(lines, f+" "+strings.TrimSpace(string(b)))
				}
			}
		}
		return nil
	})
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// wantSame fails the test if two snapshots differ.
func wantSame(t *testing.T, before, after string) {
	t.Helper()
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, l := range a {
		if !slices.Contains(b, l) {
			t.Errorf("gone: %s", l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			t.Errorf("new: %s", l)
		}
	}
}

// received returns the bytes that an interface has received.
func (w *world) received(host, dev string) (n uint64) {
	w.t.Helper()
	w.in(host, func() error {
		l, err := netlink.LinkByName(dev)
		if err == nil {
			n = l.Attrs().Statistics.RxBytes
		}
		return err
	})
	return n
}

func writeConfig(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// example returns one of the configuration files in a document: its examples are what is
// tested.
func example(t *testing.T, document string, n int) string {
	t.Helper()
	b, err := os.ReadFile("../../../docs/" + document)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(b), "```ini\n")
	if len(blocks) < n+2 {
		t.Fatalf("%s has %d examples", document, len(blocks)-1)
	}
	text, _, _ := strings.Cut(blocks[n+1], "```")
	return text
}

// start starts the daemon on a host.
func (w *world) start(host, config string, args ...string) *netlab.Process {
	w.t.Helper()
	if len(args) == 0 {
		args = []string{"--yes-run-as-root"}
	}
	return w.hosts[host].Start(w.t, netlab.BuildDaemon(w.t), append(args, "--debug", "-c", config)...)
}

func parseAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func udpAddr(s string) *net.UDPAddr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// flushFirewall removes all nftables tables, as the reload of a firewall does.
func flushFirewall() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.FlushRuleset()
	return c.Flush()
}
