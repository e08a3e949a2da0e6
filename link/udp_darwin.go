package link

import (
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

func (w way) set(fd uintptr, is6 bool) error {
	if w.mark != 0 || w.table != 0 {
		return errNoTable
	}
	if w.iface == "" {
		return nil
	}
	ifi, err := net.InterfaceByName(w.iface)
	if err != nil {
		return err
	}
	level, opt := unix.IPPROTO_IP, unix.IP_BOUND_IF
	if is6 {
		level, opt = unix.IPPROTO_IPV6, unix.IPV6_BOUND_IF
	}
	if err := unix.SetsockoptInt(int(fd), level, opt, ifi.Index); err != nil {
		return fmt.Errorf("bind to the interface: %w", err)
	}
	return nil
}

func setSystemOptions(s int, is6 bool, _ *UDPConfig) error {
	if is6 {
		return nil
	}
	// Systems before macOS 11 lack IP_DONTFRAG.
	_ = unix.SetsockoptInt(s, unix.IPPROTO_IP, unix.IP_DONTFRAG, 1)
	return unix.SetsockoptInt(s, unix.IPPROTO_IP, unix.IP_RECVPKTINFO, 1)
}

func putSource4(b []byte, local netip.Addr, index int) int {
	return putControl(b, unix.IPPROTO_IP, unix.IP_PKTINFO,
		unix.Inet4Pktinfo{Ifindex: uint32(index), Spec_dst: local.As4()})
}

func getSource4(a *Addr, typ int32, data []byte) {
	if typ == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo {
		p := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
		a.Local, a.Interface = netip.AddrFrom4(p.Addr), int(p.Ifindex)
	}
}
