package netif

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNamespace runs f on a thread in a network namespace of its own, which ends with
// the thread.
func inNamespace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("MULTILINK_REQUIRE_ROOT") == "1" {
			t.Fatal("not root")
		}
		t.Skip("a network namespace needs root")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread must not be used again
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("new network namespace: %v", err)
			return
		}
		f(t)
	}()
	<-done
}

// addTUN creates a TUN device that lasts as long as the namespace.
func addTUN(t *testing.T, name string) {
	t.Helper()
	addDevice(t, name, netlink.TUNTAP_MODE_TUN)
}

func addDevice(t *testing.T, name string, mode netlink.TuntapMode) {
	t.Helper()
	tun := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: name}, Mode: mode, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_ONE_QUEUE}
	if err := netlink.LinkAdd(tun); err != nil {
		t.Errorf("create %s: %v", name, err)
		return
	}
	for _, f := range tun.Fds {
		f.Close()
	}
}

// state describes the interface: its MTU, addresses and routes in the main table.
func state(t *testing.T, name string) string {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Errorf("find %s: %v", name, err)
		return ""
	}
	var lines []string
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		t.Error(err)
	}
	for _, a := range addrs {
		if a.IP.IsLinkLocalUnicast() {
			continue
		}
		line := "addr " + a.IPNet.String()
		if a.Peer != nil && !a.Peer.IP.Equal(a.IP) {
			line += " peer " + a.Peer.String()
		}
		if a.Flags&unix.IFA_F_TENTATIVE != 0 {
			line += " tentative"
		}
		lines = append(lines, line)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteList(link, family)
		if err != nil {
			t.Error(err)
		}
		for _, r := range routes {
			if r.Protocol == unix.RTPROT_STATIC {
				line := fmt.Sprintf("route %v", r.Dst)
				if r.Gw != nil {
					line += " via " + r.Gw.String()
				}
				lines = append(lines, line)
			}
		}
	}
	slices.Sort(lines)
	up := "down"
	if link.Attrs().RawFlags&unix.IFF_UP != 0 {
		up = "up"
	}
	return strings.Join(append([]string{fmt.Sprintf("%s mtu %d", up, link.Attrs().MTU)}, lines...), "\n")
}

func wantState(t *testing.T, when, name string, want ...string) {
	t.Helper()
	if got := state(t, name); got != strings.Join(want, "\n") {
		t.Errorf("%s: %s is\n%s\nwant\n%s", when, name, got, strings.Join(want, "\n"))
	}
}

func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", want)
		return
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

func TestConfigure(t *testing.T) { inNamespace(t, testConfigure) }

func testConfigure(t *testing.T) {
	addTUN(t, "ml0")
	c := Config{
		Name: "ml0", MTU: 1400,
		Addrs: pfx("10.42.42.2/30", "fd00:42::2/64"),
		Peer4: netip.MustParseAddr("10.42.42.1"), Peer6: netip.MustParseAddr("fd00:42::1"),
		Routes: pfx("192.168.7.0/24", "0.0.0.0/0", "2001:db8:7::/48", "::/0"),
	}
	all := []string{"up mtu 1400", "addr 10.42.42.2/30", "addr fd00:42::2/64",
		"route 0.0.0.0/0 via 10.42.42.1", "route 192.168.7.0/24 via 10.42.42.1",
		"route 2001:db8:7::/48 via fd00:42::1", "route ::/0 via fd00:42::1"}
	for _, when := range []string{"first", "again"} {
		if err := Configure(c); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		wantState(t, when, "ml0", all...)
	}

	// Another gateway replaces the route over the same interface.
	moved := c
	moved.Peer6 = netip.MustParseAddr("fd00:42::9")
	if err := Configure(moved); err != nil {
		t.Errorf("another gateway: %v", err)
	}
	wantState(t, "another gateway", "ml0", "up mtu 1400", "addr 10.42.42.2/30", "addr fd00:42::2/64",
		"route 0.0.0.0/0 via 10.42.42.1", "route 192.168.7.0/24 via 10.42.42.1",
		"route 2001:db8:7::/48 via fd00:42::9", "route ::/0 via fd00:42::9")

	if err := SetMTU("ml0", 1372); err != nil {
		t.Errorf("SetMTU: %v", err)
	}
	// What others added stays.
	other := c
	other.Addrs, other.Routes, other.MTU = pfx("10.99.0.1/24"), pfx("172.16.0.0/12"), 0
	other.Peer4 = netip.Addr{}
	if err := Configure(other); err != nil {
		t.Errorf("more: %v", err)
	}
	for _, when := range []string{"undone", "undone again"} {
		if err := Deconfigure(moved); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		wantState(t, when, "ml0", "up mtu 1372", "addr 10.99.0.1/24", "route 172.16.0.0/12")
	}
}

// TestTAP wants an IPv6 address that can be used at once, although the interface could
// look for others that have it.
func TestTAP(t *testing.T) { inNamespace(t, testTAP) }

func testTAP(t *testing.T) {
	addDevice(t, "ml0", netlink.TUNTAP_MODE_TAP)
	if err := Configure(Config{Name: "ml0", MTU: 1400, Addrs: pfx("fd00::1/64")}); err != nil {
		t.Error(err)
	}
	wantState(t, "configured", "ml0", "up mtu 1400", "addr fd00::1/64")
}

func TestPeerOutside(t *testing.T) { inNamespace(t, testPeerOutside) }

func testPeerOutside(t *testing.T) {
	addTUN(t, "ml0")
	c := Config{
		Name: "ml0", Addrs: pfx("10.0.0.1/32", "fd00::1/128"),
		Peer4: netip.MustParseAddr("10.9.0.1"), Peer6: netip.MustParseAddr("fd09::1"),
		Routes: pfx("192.168.7.0/24", "2001:db8:7::/48"),
	}
	if err := Configure(c); err != nil {
		t.Errorf("point-to-point: %v", err)
	}
	wantState(t, "point-to-point", "ml0", "up mtu 1500", "addr 10.0.0.1/32 peer 10.9.0.1/32", "addr fd00::1/128 peer fd09::1/128",
		"route 192.168.7.0/24 via 10.9.0.1", "route 2001:db8:7::/48 via fd09::1")
	if err := Deconfigure(c); err != nil {
		t.Errorf("undo: %v", err)
	}
	wantState(t, "undone", "ml0", "up mtu 1500")

	c.Addrs = pfx("10.0.0.1/24", "fd00::1/64")
	if err := Configure(c); err != nil {
		t.Errorf("gateway outside the network: %v", err)
	}
	wantState(t, "gateway outside the network", "ml0", "up mtu 1500", "addr 10.0.0.1/24", "addr fd00::1/64",
		"route 192.168.7.0/24 via 10.9.0.1", "route 2001:db8:7::/48 via fd09::1")
}

// TestOthersRoutes wants the routes of another interface left alone.
func TestOthersRoutes(t *testing.T) { inNamespace(t, testOthersRoutes) }

func testOthersRoutes(t *testing.T) {
	addTUN(t, "lan0")
	addTUN(t, "ml0")
	for _, dst := range []string{"192.168.7.0/24", "0.0.0.0/0", "fd07::/64"} {
		lan := Config{Name: "lan0", Addrs: pfx("10.1.0.1/24", "fd01::1/64"), Routes: pfx(dst)}
		if err := Configure(lan); err != nil {
			t.Error(err)
		}
		before := state(t, "lan0")
		c := Config{Name: "ml0", Addrs: pfx("10.2.0.1/24", "fd02::1/64"), Routes: pfx(dst)}
		wantError(t, Configure(c), "add route "+dst, "ml0", "another interface has a route")
		if err := Deconfigure(c); err != nil {
			t.Errorf("undo: %v", err)
		}
		if after := state(t, "lan0"); after != before || !strings.Contains(after, "route "+dst) {
			t.Errorf("lan0 was\n%s\nand is\n%s", before, after)
		}
	}
}

func TestErrors(t *testing.T) { inNamespace(t, testErrors) }

func testErrors(t *testing.T) {
	addTUN(t, "ml0")
	wantError(t, Configure(Config{Name: "none0"}), "find interface none0")
	wantError(t, SetMTU("none0", 1400), "find interface none0")
	wantError(t, SetMTU("ml0", 10), "set MTU of interface ml0 to 10")
	wantError(t, Configure(Config{Name: "ml0", MTU: 1 << 20}), "set MTU of interface ml0 to 1048576")
	wantError(t, Configure(Config{Name: "ml0", MTU: 1279, Addrs: pfx("fd00::1/64")}), "add address fd00::1/64 to interface ml0")
	if err := Deconfigure(Config{Name: "none0", Routes: pfx("10.0.0.0/8")}); err != nil {
		t.Errorf("undo on an interface that is gone: %v", err)
	}
	addTUN(t, "ml1")
	has := Config{Name: "ml0", MTU: 1400, Addrs: pfx("10.0.0.1/24"), Routes: pfx("192.168.7.0/24")}
	if err := Configure(has); err != nil {
		t.Error(err)
	}
	// Adding needs a capability, which this thread gives up.
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&hdr, &none[0]); err != nil {
		t.Errorf("give up capabilities: %v", err)
	}
	wantError(t, Configure(Config{Name: "ml1"}), "bring interface ml1 up", "CAP_NET_ADMIN")
	if err := Configure(has); err != nil {
		t.Errorf("what is there already is asked for: %v", err)
	}
	for _, lacks := range []Config{{Name: "ml0", MTU: 1401}, {Name: "ml0", Addrs: pfx("10.0.0.2/24")}, {Name: "ml0", Routes: pfx("192.168.8.0/24")}} {
		wantError(t, Configure(lacks), "ml0", "CAP_NET_ADMIN")
	}
}
