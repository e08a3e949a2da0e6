// Package netif gives a network interface its addresses, MTU and routes.
//
// It works on Linux. On other systems every function returns an error that matches
// errors.ErrUnsupported and says to use statuscommand instead.
package netif

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// A Config says how an interface is to be. Neither Configure nor Deconfigure modifies
// it.
type Config struct {
	// Name is the name of the interface, which must exist.
	Name string

	// MTU is the interface's MTU in bytes. 0 leaves it as it is.
	MTU int

	// Addrs are the interface's own addresses, each with the length of its
	// network's prefix.
	Addrs []netip.Prefix

	// Peer4 and Peer6 are the addresses of the other end. Routes of their family go
	// by them. When an address of that family is a single one (/32, or /128) or one
	// of a pair (/31, or /127) and Peer lies outside, the address is set up as
	// point-to-point. The zero Addr: none.
	Peer4, Peer6 netip.Addr

	// Routes are the networks to reach over the interface.
	Routes []netip.Prefix
}

// peer returns the peer of the family of a, or the zero Addr.
func (c *Config) peer(a netip.Addr) netip.Addr {
	if a.Is4() {
		return c.Peer4
	}
	return c.Peer6
}

// pointToPoint returns the address to which a is one end of a point-to-point link, or
// the zero Addr.
func (c *Config) pointToPoint(a netip.Prefix) netip.Addr {
	peer := c.peer(a.Addr())
	if !peer.IsValid() || a.Contains(peer) || a.Bits() < a.Addr().BitLen()-1 {
		return netip.Addr{}
	}
	return peer
}

// onLink reports whether the peer of the family of a can be reached without a route,
// by one of the addresses.
func (c *Config) onLink(peer netip.Addr) bool {
	return slices.ContainsFunc(c.Addrs, func(a netip.Prefix) bool {
		return a.Contains(peer) || a.Addr().Is4() == peer.Is4() && c.pointToPoint(a).IsValid()
	})
}

func (c *Config) check() error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("interface %s: "+format, append([]any{c.Name}, args...)...))
	}
	if c.Name == "" {
		errs = append(errs, errors.New("no interface name"))
	}
	for _, a := range c.Addrs {
		if !a.IsValid() || a.Addr().Is4In6() {
			fail("address %v is not valid", a)
		}
	}
	for _, r := range c.Routes {
		if !r.IsValid() || r.Addr().Is4In6() {
			fail("route %v is not valid", r)
		}
	}
	if c.Peer4.IsValid() && !c.Peer4.Is4() {
		fail("peer %v is not an IPv4 address", c.Peer4)
	}
	if c.Peer6.IsValid() && (!c.Peer6.Is6() || c.Peer6.Is4In6()) {
		fail("peer %v is not an IPv6 address", c.Peer6)
	}
	return errors.Join(errs...)
}
