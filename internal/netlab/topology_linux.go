package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"unsafe"

	"github.com/vishvananda/netlink"
	nlns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/multilink-vpn/multilink/internal/netlab/netns"
)

// The last octet of an address on a line.
const (
	clientSide = 1
	serverSide = 2
)

// firstTable is the routing table of the first line; the next line has the next.
const firstTable = 101

var (
	publicAddr = netip.AddrFrom4([4]byte{10, 90, 0, 2})
	anywhere   = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
)

func lineAddr(k, side int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 91, byte(k + 1), byte(side)})
}

func lineMAC(k, side int) net.HardwareAddr {
	a := lineAddr(k, side).As4()
	return append(net.HardwareAddr{0x02, 0x00}, a[:]...)
}

func portName(prefix string, k int) string {
	return prefix + strconv.Itoa(k+1)
}

// site is one end of all lines.
type site struct {
	name   string // namespace of the host
	side   int
	device string // prefix of the host's interfaces
	port   string // prefix of the bridge's
}

// buildTopology joins the namespaces.
func buildTopology(client, server, wanName string, lines int) error {
	sites := []site{
		{client, clientSide, "w", "a"},
		{server, serverSide, "v", "b"},
	}
	w, err := openNamespace(wanName)
	if err != nil {
		return err
	}
	defer w.close()
	for _, s := range sites {
		host, err := openNamespace(s.name)
		if err != nil {
			return err
		}
		defer host.close()
		if err := s.prepare(host); err != nil {
			return fmt.Errorf("host %s: %w", s.name, err)
		}
		for k := range lines {
			if err := s.join(host, w, k); err != nil {
				return fmt.Errorf("host %s: line %d: %w", s.name, k, err)
			}
		}
		if s.side == serverSide {
			err = host.addAddr("lo", netip.PrefixFrom(publicAddr, 32))
		} else {
			err = host.addRoute(unix.RT_TABLE_MAIN, s.device, 0, serverSide)
		}
		if err != nil {
			return fmt.Errorf("host %s: %w", s.name, err)
		}
	}
	return nil
}

// prepare sets what concerns the whole host.
func (s site) prepare(host *namespace) error {
	return errors.Join(
		host.up("lo"),
		host.sysctl("net/ipv4/conf/all/rp_filter", "0"),
		host.sysctl("net/ipv4/conf/default/rp_filter", "0"),
		host.sysctl("net/ipv4/ip_forward", "1"),
		// A transfer must not start from what an earlier one learned of the path.
		host.sysctl("net/ipv4/tcp_no_metrics_save", "1"),
	)
}

// join connects the host to the bridge's port of line k.
func (s site) join(host, w *namespace, k int) error {
	dev, port := portName(s.device, k), portName(s.port, k)
	peer := clientSide + serverSide - s.side
	err := w.handle.LinkAdd(&netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: port, TxQLen: 1000},
		PeerName:         dev,
		PeerHardwareAddr: lineMAC(k, s.side),
		PeerNamespace:    netlink.NsFd(int(host.fd)),
	})
	if err != nil {
		return fmt.Errorf("create interfaces %s and %s: %w", dev, port, err)
	}
	self := lineAddr(k, s.side)
	if err := errors.Join(
		w.sysctl("net/ipv6/conf/"+port+"/disable_ipv6", "1"),
		host.sysctl("net/ipv6/conf/"+dev+"/disable_ipv6", "1"),
		w.plain(port),
		host.plain(dev),
		w.up(port),
		host.addAddr(dev, netip.PrefixFrom(self, 24)),
		host.up(dev),
	); err != nil {
		return err
	}
	return errors.Join(
		host.addNeighbour(dev, lineAddr(k, peer), lineMAC(k, peer)),
		host.addRoute(firstTable+k, s.device, k, peer),
		host.addRule(self, firstTable+k),
	)
}

// namespace is a handle to configure a network namespace.
type namespace struct {
	name   string
	fd     nlns.NsHandle
	handle *netlink.Handle
}

func openNamespace(name string) (*namespace, error) {
	fd, err := nlns.GetFromPath(netns.Path(name))
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", name, err)
	}
	h, err := netlink.NewHandleAt(fd, unix.NETLINK_ROUTE)
	if err != nil {
		fd.Close()
		return nil, fmt.Errorf("open network namespace %s: %w", name, err)
	}
	return &namespace{name, fd, h}, nil
}

func (n *namespace) close() {
	n.handle.Close()
	n.fd.Close()
}

func (n *namespace) up(dev string) error {
	l, err := n.handle.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("find %s: %w", dev, err)
	}
	if err := n.handle.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", dev, err)
	}
	return nil
}

func (n *namespace) addAddr(dev string, p netip.Prefix) error {
	l, err := n.handle.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("find %s: %w", dev, err)
	}
	if err := n.handle.AddrAdd(l, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
		return fmt.Errorf("add address %v to %s: %w", p, dev, err)
	}
	return nil
}

func (n *namespace) addNeighbour(dev string, a netip.Addr, mac net.HardwareAddr) error {
	l, err := n.handle.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("find %s: %w", dev, err)
	}
	err = n.handle.NeighAdd(&netlink.Neigh{
		LinkIndex:    l.Attrs().Index,
		State:        netlink.NUD_PERMANENT,
		IP:           a.AsSlice(),
		HardwareAddr: mac,
	})
	if err != nil {
		return fmt.Errorf("add neighbour %v on %s: %w", a, dev, err)
	}
	return nil
}

// addRoute makes the far side of line k the default gateway of a table.
func (n *namespace) addRoute(table int, device string, k, peer int) error {
	dev := portName(device, k)
	l, err := n.handle.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("find %s: %w", dev, err)
	}
	err = n.handle.RouteAdd(&netlink.Route{
		LinkIndex: l.Attrs().Index,
		Dst:       ipNet(anywhere),
		Gw:        lineAddr(k, peer).AsSlice(),
		Table:     table,
	})
	if err != nil {
		return fmt.Errorf("add default route of table %d through %s: %w", table, dev, err)
	}
	return nil
}

// addRule makes packets from a consult a table.
func (n *namespace) addRule(a netip.Addr, table int) error {
	r := netlink.NewRule()
	r.Family = unix.AF_INET
	r.Src = ipNet(netip.PrefixFrom(a, 32))
	r.Table = table
	// Before the main table (32766), whatever rules a daemon adds without a priority.
	r.Priority = 20000 + table
	if err := n.handle.RuleAdd(r); err != nil {
		return fmt.Errorf("add rule from %v: %w", a, err)
	}
	return nil
}

func (n *namespace) sysctl(name, value string) error {
	return netns.Do(netns.Path(n.name), func() error {
		return os.WriteFile("/proc/sys/"+name, []byte(value), 0)
	})
}

// plain turns the offloads of dev off. A packet socket would see segments that were
// never cut to the MTU, and checksums that were never filled in.
func (n *namespace) plain(dev string) error {
	return netns.Do(netns.Path(n.name), func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("offloads of %s: %w", dev, err)
		}
		defer unix.Close(fd)
		for _, feature := range []uint32{
			unix.ETHTOOL_STSO, unix.ETHTOOL_SGSO, unix.ETHTOOL_SGRO,
			unix.ETHTOOL_SSG, unix.ETHTOOL_STXCSUM, unix.ETHTOOL_SRXCSUM,
		} {
			if err := ethtool(fd, dev, feature, 0); err != nil {
				return fmt.Errorf("offload %#x of %s: %w", feature, dev, err)
			}
		}
		return nil
	})
}

// ethtool issues a SIOCETHTOOL request that takes a struct ethtool_value.
func ethtool(fd int, dev string, cmd, value uint32) error {
	arg := struct{ cmd, value uint32 }{cmd, value}
	// struct ifreq: a name and a union, of which the pointer is used.
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], dev)
	req.data = unsafe.Pointer(&arg)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return errno
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
