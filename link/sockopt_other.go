//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !windows

package link

import (
	"errors"
	"fmt"
	"syscall"
)

const msgTrunc = 0 // not reported

func setUDPOptions(fd uintptr, is6 bool, cfg *UDPConfig) error {
	if cfg.dual() && is6 {
		if err := syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0); err != nil {
			return fmt.Errorf("take IPv4 as well: %w", err)
		}
	}
	return cfg.way().set(fd, is6)
}

func (w way) set(uintptr, bool) error {
	if w.iface != "" {
		return errors.New("this system cannot bind a socket to an interface: bind to its address instead")
	}
	if w.mark != 0 || w.table != 0 {
		return errNoTable
	}
	return nil
}
