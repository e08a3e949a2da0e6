package netif

import (
	"net/netip"
	"strings"
	"testing"
)

func pfx(s ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range s {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func TestCheck(t *testing.T) {
	good := Config{Name: "x", Addrs: pfx("10.0.0.1/30", "fd00::1/64"), Peer4: netip.MustParseAddr("10.0.0.2"), Peer6: netip.MustParseAddr("fd00::2"), Routes: pfx("0.0.0.0/0", "::/0")}
	if err := good.check(); err != nil {
		t.Errorf("good: %v", err)
	}
	bad := Config{
		Addrs:  []netip.Prefix{{}, netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.1"), 100)},
		Routes: []netip.Prefix{{}}, Peer4: netip.MustParseAddr("fd00::2"), Peer6: netip.MustParseAddr("10.0.0.2"),
	}
	err := bad.check()
	if err == nil {
		t.Fatal("bad: no error")
	}
	for _, want := range []string{"no interface name", "address ::ffff:10.0.0.1/100", "address invalid", "route invalid", "peer fd00::2 is not an IPv4", "peer 10.0.0.2 is not an IPv6"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestPointToPoint(t *testing.T) {
	for _, tt := range []struct {
		addr, peer string
		want       bool // that the address is set up as point-to-point
		onLink     bool
	}{
		{"10.0.0.1/30", "10.0.0.2", false, true},
		{"10.0.0.0/31", "10.0.0.1", false, true},
		{"10.0.0.0/31", "10.0.0.9", true, true},
		{"10.0.0.1/32", "10.9.0.1", true, true},
		{"10.0.0.1/24", "10.9.0.1", false, false},
		{"fd00::1/128", "fd00::2", true, true},
		{"fd00::1/126", "fd00::2", false, true},
		{"fd00::1/64", "fd01::2", false, false},
	} {
		a, peer := netip.MustParsePrefix(tt.addr), netip.MustParseAddr(tt.peer)
		c := Config{Addrs: []netip.Prefix{a}, Peer4: peer, Peer6: peer}
		if got := c.pointToPoint(a).IsValid(); got != tt.want {
			t.Errorf("%s with %s: point-to-point is %v", tt.addr, tt.peer, got)
		}
		if got := c.onLink(peer); got != tt.onLink {
			t.Errorf("%s with %s: on link is %v", tt.addr, tt.peer, got)
		}
	}
}
