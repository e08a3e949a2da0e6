package netif

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Configure sets the interface's MTU, brings it up, and adds addresses and routes. It
// may be repeated: what is there already stays, and needs no privilege. It does not remove what is not in c,
// and never touches a route of another interface; a network that has such a route of
// the same metric is an error. When Configure fails half way, Deconfigure undoes it.
func Configure(c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	link, err := netlink.LinkByName(c.Name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", c.Name, err)
	}
	if c.MTU != 0 {
		if err := setMTU(link, c.Name, c.MTU); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(link); err != nil && !(errors.Is(err, unix.EPERM) && link.Attrs().Flags&net.FlagUp != 0) {
		return fmt.Errorf("bring interface %s up: %w", c.Name, explain(err))
	}
	for _, a := range c.Addrs {
		if err := netlink.AddrReplace(link, c.addr(a)); err != nil && !(errors.Is(err, unix.EPERM) && hasAddr(link, a)) {
			return fmt.Errorf("add address %v to interface %s: %w", a, c.Name, explain(err))
		}
	}
	for _, dst := range c.Routes {
		if err := c.addRoute(link, dst.Masked()); err != nil {
			return err
		}
	}
	return nil
}

// hasAddr reports whether the interface has the address already.
func hasAddr(link netlink.Link, a netip.Prefix) bool {
	addrs, err := netlink.AddrList(link, family(a.Addr()))
	return err == nil && slices.ContainsFunc(addrs, func(x netlink.Addr) bool { return x.IPNet.String() == ipNet(a).String() })
}

func family(a netip.Addr) int {
	if a.Is6() {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

// SetMTU sets the MTU of the interface, in bytes.
func SetMTU(name string, mtu int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	return setMTU(link, name, mtu)
}

func setMTU(link netlink.Link, name string, mtu int) error {
	if link.Attrs().MTU == mtu {
		return nil
	}
	if err := netlink.LinkSetMTU(link, mtu); err != nil {
		return fmt.Errorf("set MTU of interface %s to %d: %w", name, mtu, explain(err))
	}
	return nil
}

// Deconfigure removes the routes and addresses of c from the interface and leaves all
// others. It is for an interface that outlives the process; one that the process
// created takes them with it. What is gone already, the interface included, is no
// error. It goes on after an error and returns all of them.
func Deconfigure(c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	link, err := netlink.LinkByName(c.Name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	} else if err != nil {
		return fmt.Errorf("find interface %s: %w", c.Name, err)
	}
	var errs []error
	for _, dst := range c.Routes {
		err := netlink.RouteDel(c.route(link, dst.Masked()))
		if err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove route %v from interface %s: %w", dst.Masked(), c.Name, explain(err)))
		}
	}
	for _, a := range c.Addrs {
		err := netlink.AddrDel(link, c.addr(a))
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("remove address %v from interface %s: %w", a, c.Name, explain(err)))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) addr(a netip.Prefix) *netlink.Addr {
	addr := &netlink.Addr{IPNet: ipNet(a)}
	if peer := c.pointToPoint(a); peer.IsValid() {
		addr.Peer = ipNet(netip.PrefixFrom(peer, peer.BitLen()))
	}
	if a.Addr().Is6() {
		// Nobody else on a tunnel can have the address, and while it is being
		// looked for (RFC 4862, section 5.4) the address cannot be used.
		addr.Flags = unix.IFA_F_NODAD
	}
	return addr
}

func (c *Config) route(link netlink.Link, dst netip.Prefix) *netlink.Route {
	r := &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       ipNet(dst),
		Protocol:  unix.RTPROT_STATIC,
		Table:     unix.RT_TABLE_MAIN,
	}
	if peer := c.peer(dst.Addr()); peer.IsValid() {
		r.Gw = peer.AsSlice()
		// The kernel adds the routes of an IPv6 address a little after the address, so
		// that the peer may not be known to be on the link yet.
		if peer.Is6() || !c.onLink(peer) {
			r.SetFlag(netlink.FLAG_ONLINK)
		}
	} else if dst.Addr().Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}

// addRoute adds the route to dst. It replaces one that leads over this interface, and
// only such a one: a replace request alone would take the route of another interface.
func (c *Config) addRoute(link netlink.Link, dst netip.Prefix) error {
	route := c.route(link, dst)
	err := netlink.RouteAdd(route)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EPERM) {
		own, lerr := netlink.RouteListFiltered(family(dst.Addr()), route, netlink.RT_FILTER_DST|netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
		if lerr != nil {
			return fmt.Errorf("look for route %v of interface %s: %w", dst, c.Name, lerr)
		}
		if errors.Is(err, unix.EPERM) {
			if len(own) > 0 {
				return nil
			}
			return fmt.Errorf("add route %v to interface %s: %w", dst, c.Name, explain(err))
		}
		if len(own) == 0 {
			return fmt.Errorf("add route %v to interface %s: another interface has a route to it: remove that one or leave this one out: %w", dst, c.Name, err)
		}
		err = netlink.RouteReplace(route)
	}
	if err != nil {
		return fmt.Errorf("add route %v to interface %s: %w", dst, c.Name, explain(err))
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// explain adds what to do about an error that says too little.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: run as root or with CAP_NET_ADMIN", err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: IPv6 may be switched off by the sysctl disable_ipv6", err)
	}
	return err
}
