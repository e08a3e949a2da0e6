package kernel

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

const tunName = "sim0"

// openTUN makes a TUN device in a host, with an address of a /24. It is gone when the
// file is closed.
func openTUN(host *netlab.Host, addr netip.Addr, mtu int) (f *os.File, err error) {
	err = host.Do(func() error {
		// What a connection learned must not change the next.
		if err := os.WriteFile("/proc/sys/net/ipv4/tcp_no_metrics_save", []byte("1"), 0); err != nil {
			return err
		}
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), tunName)
		req, err := unix.NewIfreq(tunName)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			return fmt.Errorf("TUNSETIFF: %w", err)
		}
		return bringUp(addr, mtu)
	})
	if err != nil && f != nil {
		f.Close()
		f = nil
	}
	return f, err
}

func bringUp(addr netip.Addr, mtu int) error {
	dev, err := netlink.LinkByName(tunName)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetMTU(dev, mtu); err != nil {
		return err
	}
	// Room for the burst of a whole window: the queue of the line drops, not this one.
	if err := netlink.LinkSetTxQLen(dev, 5000); err != nil {
		return err
	}
	ip := &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(24, 32)}}
	if err := netlink.AddrAdd(dev, ip); err != nil {
		return err
	}
	return netlink.LinkSetUp(dev)
}
