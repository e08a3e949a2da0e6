package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/multilink-vpn/multilink/internal/netcfg"
)

// Observe looks at the host: its interfaces, all routes and rules, the settings that a
// plan could change, our nftables tables, and files.
func Observe(files ...string) (*netcfg.Host, error) {
	h := &netcfg.Host{Sysctls: make(map[string]string), Files: make(map[string]string)}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		h.NoIPv6 = true
	}
	names, err := interfaces(h)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		family netcfg.Family
		nl     int
	}{{netcfg.V4, netlink.FAMILY_V4}, {netcfg.V6, netlink.FAMILY_V6}} {
		if f.family == netcfg.V6 && h.NoIPv6 {
			continue
		}
		if err := routes(h, f.family, f.nl, names); err != nil {
			return nil, err
		}
		if err := rules(h, f.family, f.nl); err != nil {
			return nil, err
		}
	}
	for _, name := range netcfg.SysctlNames(h.Interfaces) {
		if b, err := os.ReadFile("/proc/sys/" + name); err == nil {
			h.Sysctls[name] = strings.TrimSpace(string(b))
		}
	}
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil {
			h.Files[name] = string(b)
		}
	}
	h.NFT, err = tables()
	return h, err
}

// complete has a list read again that changed while it was read.
func complete[T any](list func() ([]T, error)) ([]T, error) {
	for try := 0; ; try++ {
		l, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == 9 {
			return l, err
		}
	}
}

// interfaces fills in the interfaces and returns their names by index.
func interfaces(h *netcfg.Host) (map[int]string, error) {
	links, err := complete(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := make(map[int]string)
	at := make(map[int]int)
	for _, l := range links {
		a := l.Attrs()
		names[a.Index] = a.Name
		at[a.Index] = len(h.Interfaces)
		h.Interfaces = append(h.Interfaces, netcfg.Interface{
			Name: a.Name,
			// A device without carrier detection has the state unknown.
			Up:           a.Flags&net.FlagUp != 0 && a.OperState != netlink.OperDown && a.OperState != netlink.OperLowerLayerDown,
			PointToPoint: a.Flags&net.FlagPointToPoint != 0,
			MTU:          a.MTU,
		})
	}
	addrs, err := complete(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		i, ok := at[a.LinkIndex]
		if !ok || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0 {
			continue
		}
		addr := netcfg.InterfaceAddr{Prefix: toPrefix(a.IPNet)}
		if a.Peer != nil && !a.Peer.IP.Equal(a.IP) {
			addr.Peer = toAddr(a.Peer.IP)
		}
		h.Interfaces[i].Addrs = append(h.Interfaces[i].Addrs, addr)
	}
	return names, nil
}

func routes(h *netcfg.Host, f netcfg.Family, family int, names map[int]string) error {
	all, err := complete(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range all {
		if r.Table == unix.RT_TABLE_LOCAL || r.Dst == nil {
			continue
		}
		route := netcfg.Route{
			Family:  f,
			Table:   r.Table,
			Dst:     toPrefix(r.Dst),
			Device:  names[r.LinkIndex],
			Gateway: toAddr(r.Gw),
			OnLink:  r.Flags&unix.RTNH_F_ONLINK != 0,
			Src:     toAddr(r.Src),
			Metric:  uint32(r.Priority),
			Ours:    r.Protocol == netcfg.Protocol,
		}
		switch r.Type {
		case unix.RTN_UNICAST:
		case unix.RTN_PROHIBIT:
			route.Type, route.Device = netcfg.Prohibit, ""
		default:
			route.Type = netcfg.Other
		}
		for _, hop := range r.MultiPath {
			route.Hops = append(route.Hops, netcfg.NextHop{
				Device: names[hop.LinkIndex], Gateway: toAddr(hop.Gw),
				OnLink: hop.Flags&unix.RTNH_F_ONLINK != 0, Weight: hop.Hops + 1,
			})
		}
		h.Routes = append(h.Routes, route)
	}
	return nil
}

func rules(h *netcfg.Host, f netcfg.Family, family int) error {
	all, err := complete(func() ([]netlink.Rule, error) { return netlink.RuleList(family) })
	if err != nil {
		return fmt.Errorf("list rules: %w", err)
	}
	for _, r := range all {
		rule := netcfg.Rule{
			Family:   f,
			Priority: r.Priority,
			OIF:      r.OifName,
			Local:    r.IifName == "lo",
			Mark:     r.Mark,
			IPProto:  r.IPProto,
			Table:    r.Table,
			Specific: r.SuppressPrefixlen == 0,
			Ours:     r.Protocol == netcfg.Protocol,
		}
		if r.Mask != nil {
			rule.Mask = *r.Mask
		}
		if r.Src != nil {
			rule.From = toPrefix(r.Src)
		}
		if r.Dst != nil {
			rule.To = toPrefix(r.Dst)
		}
		if r.Dport != nil {
			rule.DPort = r.Dport.Start
		}
		if r.UIDRange != nil {
			rule.UID, rule.HasUID = r.UIDRange.Start, true
		}
		h.Rules = append(h.Rules, rule)
	}
	return nil
}

func toAddr(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Addr{}
	}
	return a.Unmap()
}

func toPrefix(n *net.IPNet) netip.Prefix {
	bits, size := n.Mask.Size()
	a, _ := netip.AddrFromSlice(n.IP)
	if size == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, bits)
}

// Boot returns what tells this boot of the kernel from others.
func Boot() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// Namespace returns the number of the network namespace that the host is, for the process.
func Namespace() uint64 {
	var st unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &st) != nil {
		return 0
	}
	return st.Ino
}
