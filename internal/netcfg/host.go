package netcfg

import (
	"maps"
	"net/netip"
	"slices"
)

// A Family is an IP version.
type Family int

const (
	V4 Family = 4
	V6 Family = 6
)

// families returns both.
func families() []Family { return []Family{V4, V6} }

// FamilyOf returns the family of an address.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return V4
	}
	return V6
}

// Any returns the prefix of all addresses.
func (f Family) Any() netip.Prefix {
	if f == V4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// A Host is what was seen of a host.
type Host struct {
	Interfaces []Interface
	NoIPv6     bool    // the kernel has none
	Routes     []Route // of all tables but local
	Rules      []Rule

	// Sysctls has the values of those that a plan could set.
	Sysctls map[string]string

	// NFT says which of our nftables tables are there, with the fingerprint of their
	// contents, which is empty when they have been changed.
	NFT map[string]string

	// Files has the contents of those that a plan could write.
	Files map[string]string
}

// An Interface is a network interface.
type Interface struct {
	Name         string
	Up           bool // administratively, and there is a carrier
	PointToPoint bool
	MTU          int
	Addrs        []InterfaceAddr
}

// An InterfaceAddr is an address of an interface.
type InterfaceAddr struct {
	Prefix netip.Prefix // with the address's own bits
	Peer   netip.Addr   // of a point-to-point address, else zero
}

// Interface returns the interface of that name, or nil.
func (h *Host) Interface(name string) *Interface {
	i := slices.IndexFunc(h.Interfaces, func(i Interface) bool { return i.Name == name })
	if i < 0 {
		return nil
	}
	return &h.Interfaces[i]
}

// owner returns the interface that has an address, and how.
func (h *Host) owner(a netip.Addr) (*Interface, InterfaceAddr) {
	for i := range h.Interfaces {
		for _, addr := range h.Interfaces[i].Addrs {
			if addr.Prefix.Addr() == a {
				return &h.Interfaces[i], addr
			}
		}
	}
	return nil, InterfaceAddr{}
}

// defaults returns the default routes of a family that others have made, in the main
// table first, by metric.
func (h *Host) defaults(f Family) []Route {
	var found []Route
	for _, r := range h.Routes {
		if r.Family == f && r.Dst.Bits() == 0 && r.Type == Unicast && !r.Ours {
			found = append(found, r)
		}
	}
	slices.SortStableFunc(found, func(a, b Route) int {
		if (a.Table == MainTable) != (b.Table == MainTable) {
			if a.Table == MainTable {
				return -1
			}
			return 1
		}
		return int(a.Metric) - int(b.Metric)
	})
	return found
}

// Without returns the host with the settings that it would have without us: a plan must
// not depend on what it has done itself.
func (h *Host) Without(have *Installed) *Host {
	w := *h
	w.Sysctls = maps.Clone(h.Sysctls)
	for _, s := range have.Sysctls {
		if before, ok := have.Before[s.Name]; ok && w.Sysctls[s.Name] == s.Value {
			w.Sysctls[s.Name] = before
		}
	}
	return &w
}
