package link

import (
	"fmt"
	"math/bits"
	"net"

	"golang.org/x/sys/windows"
)

// Options of ws2ipdef.h that x/sys does not have. Those of IPv6 have the same values.
const (
	ipDontFragment = 14 // IP_DONTFRAGMENT, IPV6_DONTFRAG
	ipUnicastIf    = 31 // IP_UNICAST_IF, IPV6_UNICAST_IF
)

const msgTrunc = 0 // a truncated datagram is the error WSAEMSGSIZE

func setUDPOptions(fd uintptr, is6 bool, cfg *UDPConfig) error {
	s := windows.Handle(fd)
	if cfg.dual() && is6 {
		if err := windows.SetsockoptInt(s, windows.IPPROTO_IPV6, windows.IPV6_V6ONLY, 0); err != nil {
			return fmt.Errorf("take IPv4 as well: %w", err)
		}
	}
	if err := cfg.way().set(fd, is6); err != nil {
		return err
	}
	// A buffer smaller than asked for is no error.
	if n := cfg.readBuffer(); n >= 0 {
		_ = windows.SetsockoptInt(s, windows.SOL_SOCKET, windows.SO_RCVBUF, n)
	}
	if n := cfg.writeBuffer(); n >= 0 {
		_ = windows.SetsockoptInt(s, windows.SOL_SOCKET, windows.SO_SNDBUF, n)
	}
	level := windows.IPPROTO_IP
	if is6 {
		level = windows.IPPROTO_IPV6
	}
	if err := windows.SetsockoptInt(s, level, ipDontFragment, 1); err != nil {
		return fmt.Errorf("forbid fragmentation: %w", err)
	}
	return nil
}

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
	level, index := windows.IPPROTO_IPV6, uint32(ifi.Index)
	if !is6 {
		level, index = windows.IPPROTO_IP, bits.ReverseBytes32(index) // network byte order, for IPv4 only
	}
	if err := windows.SetsockoptInt(windows.Handle(fd), level, ipUnicastIf, int(index)); err != nil {
		return fmt.Errorf("bind to the interface: %w", err)
	}
	return nil
}
