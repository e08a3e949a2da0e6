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
	if cfg.Interface != "" || cfg.Mark != 0 {
		return errors.New("this system can neither bind a socket to an interface nor mark packets")
	}
	return nil
}
