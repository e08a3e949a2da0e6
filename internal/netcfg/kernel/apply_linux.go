package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/multilink-vpn/multilink/internal/netcfg"
)

// Apply makes changes, in an order in which no packet finds a rule before its table, and
// goes on after an error. What is gone already, or there already, is none.
func Apply(c *netcfg.Changes) error {
	var errs []error
	note := func(what string, err error, fine ...error) {
		for _, f := range fine {
			if errors.Is(err, f) {
				return
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, explain(err)))
		}
	}
	for _, s := range c.SetSysctls {
		note("set "+s.Name, os.WriteFile("/proc/sys/"+s.Name, []byte(s.Value), 0o644), fs.ErrNotExist)
	}
	for _, r := range c.AddRoutes {
		note("add route "+r.String(), addRoute(r))
	}
	if c.SetNFT != nil {
		note("set nftables table inet "+c.SetNFT.Name, setTable(c.SetNFT))
	}
	for _, r := range c.AddRules {
		note("add rule "+r.String(), netlink.RuleAdd(toRule(r)), unix.EEXIST)
	}
	for _, r := range c.DelRules {
		note("remove rule "+r.String(), netlink.RuleDel(toRule(r)), unix.ENOENT)
	}
	if c.DelNFT != "" {
		note("remove nftables table inet "+c.DelNFT, delTable(c.DelNFT), unix.ENOENT)
	}
	for _, r := range c.DelRoutes {
		note("remove route "+r.String(), delRoute(r), unix.ESRCH, unix.ENODEV)
	}
	for _, f := range c.Write {
		note("write "+f.Path, write(f))
	}
	for _, f := range c.Remove {
		note("remove "+f, os.Remove(f), fs.ErrNotExist)
	}
	return errors.Join(errs...)
}

func write(f netcfg.File) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(f.Path, []byte(f.Content), 0o644)
}

// explain adds what to do about an error that says too little.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: start as root: manage_network needs CAP_NET_ADMIN", err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w: this kernel lacks policy routing, multipath routes or IPv6", err)
	}
	return err
}

func addRoute(r netcfg.Route) error {
	n, err := toRoute(r)
	if err != nil {
		return err
	}
	err = netlink.RouteReplace(n)
	if r.Family == netcfg.V6 && errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

func delRoute(r netcfg.Route) error {
	n := &netlink.Route{
		Family:   family(r.Family),
		Table:    r.Table,
		Dst:      toIPNet(r.Dst),
		Priority: int(r.Metric),
		Protocol: netcfg.Protocol,
		Scope:    netlink.SCOPE_NOWHERE,
		Type:     unix.RTN_UNICAST,
	}
	if r.Type == netcfg.Prohibit {
		n.Type = unix.RTN_PROHIBIT
	}
	return netlink.RouteDel(n)
}

func toRoute(r netcfg.Route) (*netlink.Route, error) {
	n := &netlink.Route{
		Family:   family(r.Family),
		Table:    r.Table,
		Dst:      toIPNet(r.Dst),
		Priority: int(r.Metric),
		Protocol: netcfg.Protocol,
		Type:     unix.RTN_UNICAST,
	}
	if r.Type == netcfg.Prohibit {
		n.Type = unix.RTN_PROHIBIT
		return n, nil
	}
	if r.Src.IsValid() {
		n.Src = r.Src.AsSlice()
	}
	for _, hop := range r.Hops {
		index, err := index(hop.Device)
		if err != nil {
			return nil, err
		}
		info := &netlink.NexthopInfo{LinkIndex: index, Hops: hop.Weight - 1, Gw: slice(hop.Gateway)}
		if hop.OnLink {
			info.Flags = unix.RTNH_F_ONLINK
		}
		n.MultiPath = append(n.MultiPath, info)
	}
	if len(r.Hops) > 0 {
		return n, nil
	}
	var err error
	if n.LinkIndex, err = index(r.Device); err != nil {
		return nil, err
	}
	n.Gw = slice(r.Gateway)
	if r.OnLink {
		n.SetFlag(netlink.FLAG_ONLINK)
	}
	if !r.Gateway.IsValid() && r.Family == netcfg.V4 {
		n.Scope = netlink.SCOPE_LINK
	}
	return n, nil
}

func toRule(r netcfg.Rule) *netlink.Rule {
	n := netlink.NewRule()
	n.Family = family(r.Family)
	n.Priority = r.Priority
	n.Table = r.Table
	n.OifName = r.OIF
	n.IPProto = r.IPProto
	if r.Local {
		n.IifName = "lo"
	}
	n.Protocol = netcfg.Protocol
	if r.From.IsValid() {
		n.Src = toIPNet(r.From)
	}
	if r.To.IsValid() {
		n.Dst = toIPNet(r.To)
	}
	if r.Mask != 0 {
		n.Mark, n.Mask = r.Mark, &r.Mask
	}
	if r.DPort != 0 {
		n.Dport = netlink.NewRulePortRange(r.DPort, r.DPort)
	}
	if r.HasUID {
		n.UIDRange = netlink.NewRuleUIDRange(r.UID, r.UID)
	}
	if r.Specific {
		n.SuppressPrefixlen = 0
	}
	return n
}

func family(f netcfg.Family) int {
	if f == netcfg.V4 {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func index(device string) (int, error) {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return 0, fmt.Errorf("find interface %s: %w", device, err)
	}
	return l.Attrs().Index, nil
}

func slice(a netip.Addr) net.IP {
	if !a.IsValid() {
		return nil
	}
	return a.AsSlice()
}

func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Forget ends the UDP flows of a line that has died, which would stay on it for as long
// as they send: their connection marks say so.
func Forget(mark, mask uint32) error {
	var errs []error
	for _, f := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, f, flowsOf{mark, mask})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// flowsOf matches the UDP flows of a mark.
type flowsOf struct{ mark, mask uint32 }

func (m flowsOf) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	return f.Mark&m.mask == m.mark && f.Forward.Protocol == unix.IPPROTO_UDP
}
