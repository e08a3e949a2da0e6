package netif

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// defaultRoutes returns the indices of the interfaces that a default route leads over, in
// any routing table: lines of a multi-homed host often have one each.
func defaultRoutes() (map[int]bool, error) {
	found := make(map[int]bool)
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		// With a filter for the table, and none given, routes of all tables come.
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("list the routes: %w", err)
		}
		for _, r := range routes {
			if r.Type != unix.RTN_UNICAST || r.Dst != nil && !isDefault(r) {
				continue
			}
			if r.LinkIndex > 0 {
				found[r.LinkIndex] = true
			}
			for _, hop := range r.MultiPath {
				found[hop.LinkIndex] = true
			}
		}
	}
	return found, nil
}

func isDefault(r netlink.Route) bool {
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}
