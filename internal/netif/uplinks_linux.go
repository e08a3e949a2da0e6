package netif

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// defaultRoutes returns, by the interfaces' indices, those that a default route leads
// over, in any routing table: lines of a multi-homed host often have one each.
func defaultRoutes() (map[int]defaultRoute, error) {
	found := make(map[int]defaultRoute)
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
			over := []int{r.LinkIndex}
			for _, hop := range r.MultiPath {
				over = append(over, hop.LinkIndex)
			}
			for _, index := range over {
				found[index] = defaultRoute{main: found[index].main || r.Table == unix.RT_TABLE_MAIN}
			}
		}
	}
	return found, nil
}

func isDefault(r netlink.Route) bool {
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}
