package link

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

func (w way) set(fd uintptr, _ bool) error {
	if w.iface != "" {
		return errors.New("this system cannot bind a socket to an interface: bind to its address and use a routing table")
	}
	table := w.table
	if table == 0 {
		table = int(w.mark)
	}
	if table == 0 {
		return nil
	}
	if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RTABLE, table); err != nil {
		return fmt.Errorf("set the routing table %d: %w", table, err)
	}
	return nil
}

func setSystemOptions(int, bool, *UDPConfig) error { return nil }

func putSource4([]byte, netip.Addr, int) int { return 0 }

func getSource4(*Addr, int32, []byte) {}
