package netif

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// An Uplink is an interface by which this host may reach the internet.
type Uplink struct {
	Name    string
	Addrs   []netip.Addr // global ones
	Default bool         // a default route leads over it, in whatever table
	// Policy says that the default route is in another table than the main one only: what
	// is sent from the interface's address goes by it, and nothing else.
	Policy bool
}

// Uplinks returns the interfaces that are up and have a global address or a default
// route, in the order of their indices. Tunnels and bridges of containers are left out:
// what they carry leaves by another interface.
func Uplinks() ([]Uplink, error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	defaults, err := defaultRoutes()
	if err != nil {
		return nil, err
	}
	var list []Uplink
	for _, i := range ifaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 || virtual(i.Name) {
			continue
		}
		where, routed := defaults[i.Index]
		u := Uplink{Name: i.Name, Default: routed, Policy: routed && !where.main}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("list the addresses of %s: %w", i.Name, err)
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
				u.Addrs = append(u.Addrs, p.Addr().Unmap())
			}
		}
		if u.Default || len(u.Addrs) > 0 {
			list = append(list, u)
		}
	}
	return list, nil
}

// defaultRoute says of an interface's default route where it is.
type defaultRoute struct{ main bool }

// virtual reports whether an interface, by its name, is a tunnel's or a container's.
func virtual(name string) bool {
	for _, prefix := range []string{"mlvpn", "tun", "tap", "wg", "docker", "veth", "virbr", "br-", "lxc", "lxd", "cni", "utun"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
