//go:build dragonfly || netbsd

package link

import (
	"errors"
	"net/netip"
)

func setSystemOptions(_ int, _ bool, cfg *UDPConfig) error {
	if cfg.Interface != "" {
		return errors.New("this system cannot bind a socket to an interface: bind to its address instead")
	}
	if cfg.Mark != 0 {
		return errors.New("this system has no marks: bind to an address instead")
	}
	return nil
}

func putSource4([]byte, netip.Addr, int) int { return 0 }

func getSource4(*Addr, int32, []byte) {}
