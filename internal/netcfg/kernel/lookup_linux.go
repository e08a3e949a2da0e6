package kernel

import (
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/multilink-vpn/multilink/internal/netcfg"
)

// Lookup returns the way of packets to an address: of a socket that is bound to an
// address and, if device is not empty, to an interface.
func Lookup(src netip.Addr, device string, dst netip.Addr) netcfg.Way {
	routes, err := netlink.RouteGetWithOptions(dst.AsSlice(), &netlink.RouteGetOptions{SrcAddr: src.AsSlice(), Oif: device})
	if err != nil || len(routes) == 0 {
		return netcfg.Way{Err: err}
	}
	w := netcfg.Way{Gateway: toAddr(routes[0].Gw)}
	if l, err := netlink.LinkByIndex(routes[0].LinkIndex); err == nil {
		w.Device = l.Attrs().Name
	}
	return w
}
