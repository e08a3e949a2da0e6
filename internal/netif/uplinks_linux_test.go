package netif

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestUplinks(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		for name, c := range map[string]Config{
			"dsl0":   {Addrs: []netip.Prefix{netip.MustParsePrefix("192.168.1.2/24")}},
			"lte0":   {},
			"lte1":   {},
			"lan0":   {Addrs: []netip.Prefix{netip.MustParsePrefix("192.168.9.1/24")}, Routes: []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12")}},
			"idle0":  {},
			"mlvpn0": {Addrs: []netip.Prefix{netip.MustParsePrefix("10.42.0.2/24")}, Routes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
		} {
			addTUN(t, name)
			c.Name = name
			if err := Configure(c); err != nil {
				t.Fatal(err)
			}
		}
		addTUN(t, "down0")
		index := func(name string) int {
			link, err := netlink.LinkByName(name)
			if err != nil {
				t.Fatal(err)
			}
			return link.Attrs().Index
		}
		everything := &net.IPNet{IP: make(net.IP, 4), Mask: make(net.IPMask, 4)}
		for _, r := range []*netlink.Route{
			{Dst: everything, LinkIndex: index("dsl0"), Table: 101}, // as policy routing has it
			{Dst: everything, Priority: 7, MultiPath: []*netlink.NexthopInfo{{LinkIndex: index("lte0")}, {LinkIndex: index("lte1")}}},
			{Dst: everything, Type: unix.RTN_UNREACHABLE, Table: 102},
		} {
			if err := netlink.RouteAdd(r); err != nil {
				t.Fatal(err)
			}
		}
		list, err := Uplinks()
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		for _, u := range list {
			var addrs []string
			for _, a := range u.Addrs {
				addrs = append(addrs, a.String())
			}
			got[u.Name] = fmt.Sprint(u.Default, u.Policy, " ", strings.Join(addrs, " "))
		}
		want := map[string]string{"dsl0": "true true 192.168.1.2", "lte0": "true false ", "lte1": "true false ", "lan0": "false false 192.168.9.1"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}
