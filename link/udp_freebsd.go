package link

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

func (w way) set(fd uintptr, _ bool) error {
	s := int(fd)
	if w.iface != "" {
		return errors.New("this system cannot bind a socket to an interface: bind to its address and use a routing table (setfib)")
	}
	if w.mark != 0 {
		if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_USER_COOKIE, int(int32(w.mark))); err != nil {
			return fmt.Errorf("set the mark %#x: %w", w.mark, err)
		}
	}
	if w.table != 0 {
		if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_SETFIB, w.table); err != nil {
			return fmt.Errorf("set the routing table %d: %w: the sysctl net.fibs says how many there are", w.table, err)
		}
	}
	return nil
}

func setSystemOptions(s int, is6 bool, cfg *UDPConfig) error {
	if is6 {
		return nil
	}
	if err := unix.SetsockoptInt(s, unix.IPPROTO_IP, unix.IP_DONTFRAG, 1); err != nil {
		return err
	}
	// IP_SENDSRCADDR is refused on a socket that is bound to one address, where the
	// source is known anyway.
	if cfg.Local.Addr().IsValid() && !cfg.Local.Addr().IsUnspecified() || cfg.Remote.IsValid() {
		return nil
	}
	return unix.SetsockoptInt(s, unix.IPPROTO_IP, unix.IP_RECVDSTADDR, 1)
}

func putSource4(b []byte, local netip.Addr, _ int) int {
	return putControl(b, unix.IPPROTO_IP, unix.IP_SENDSRCADDR, local.As4())
}

func getSource4(a *Addr, typ int32, data []byte) {
	if typ == unix.IP_RECVDSTADDR && len(data) >= 4 {
		a.Local = netip.AddrFrom4([4]byte(data))
	}
}
