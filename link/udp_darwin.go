package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

func setSystemOptions(s int, is6 bool, cfg *UDPConfig) error {
	if cfg.Mark != 0 {
		return errors.New("this system has no marks: bind to an interface instead")
	}
	if cfg.Interface != "" {
		ifi, err := net.InterfaceByName(cfg.Interface)
		if err != nil {
			return err
		}
		level, opt := unix.IPPROTO_IP, unix.IP_BOUND_IF
		if is6 {
			level, opt = unix.IPPROTO_IPV6, unix.IPV6_BOUND_IF
		}
		if err := unix.SetsockoptInt(s, level, opt, ifi.Index); err != nil {
			return fmt.Errorf("bind to the interface: %w", err)
		}
	}
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
