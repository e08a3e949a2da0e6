package link

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

func setSystemOptions(s int, _ bool, cfg *UDPConfig) error {
	if cfg.Interface != "" {
		return errors.New("this system cannot bind a socket to an interface: bind to its address and use a routing table (Mark)")
	}
	if cfg.Mark != 0 {
		if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RTABLE, int(cfg.Mark)); err != nil {
			return fmt.Errorf("set the routing table %d: %w", cfg.Mark, err)
		}
	}
	return nil
}

func putSource4([]byte, netip.Addr, int) int { return 0 }

func getSource4(*Addr, int32, []byte) {}
