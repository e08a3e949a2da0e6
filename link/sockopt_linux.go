package link

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func setUDPOptions(fd uintptr, is6 bool, cfg *UDPConfig) error {
	s := int(fd)
	if cfg.dual() && is6 {
		if err := unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return fmt.Errorf("take IPv4 as well: %w", err)
		}
	}
	if err := cfg.way().set(fd, is6); err != nil {
		return err
	}
	setBuffer(s, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, cfg.readBuffer())
	setBuffer(s, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, cfg.writeBuffer())

	// PROBE sets the don't-fragment bit and ignores the system's path MTU, which any
	// forged ICMP message can lower. On a socket for both families, either half may
	// be refused by a kernel that has only the other.
	err4 := unix.SetsockoptInt(s, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	if !is6 {
		if err4 != nil {
			return fmt.Errorf("forbid fragmentation: %w", err4)
		}
		return unix.SetsockoptInt(s, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}
	if err := unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE); err != nil {
		return fmt.Errorf("forbid fragmentation: %w", err)
	}
	return unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
}

// setBuffer tries the option that may exceed the system's limit first. A smaller
// buffer than asked for is no error.
func setBuffer(s, force, opt, size int) {
	if size < 0 {
		return
	}
	if unix.SetsockoptInt(s, unix.SOL_SOCKET, force, size) != nil {
		_ = unix.SetsockoptInt(s, unix.SOL_SOCKET, opt, size)
	}
}
