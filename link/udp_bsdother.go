//go:build dragonfly || netbsd

package link

import (
	"errors"
	"net/netip"
)

func (w way) set(uintptr, bool) error {
	if w.iface != "" {
		return errors.New("this system cannot bind a socket to an interface: bind to its address instead")
	}
	if w.mark != 0 || w.table != 0 {
		return errNoTable
	}
	return nil
}

func setSystemOptions(int, bool, *UDPConfig) error { return nil }

func putSource4([]byte, netip.Addr, int) int { return 0 }

func getSource4(*Addr, int32, []byte) {}
