package link

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

func (w way) set(fd uintptr, _ bool) error {
	s := int(fd)
	if w.table != 0 {
		return errNoTable
	}
	if w.iface != "" {
		switch err := unix.BindToDevice(s, w.iface); {
		case errors.Is(err, unix.ENODEV):
			return fmt.Errorf("%w: there is no interface of that name now", err)
		case errors.Is(err, unix.EPERM):
			return fmt.Errorf("bind to the interface: %w: run as root or with CAP_NET_RAW", err)
		case err != nil:
			return fmt.Errorf("bind to the interface: %w", err)
		}
	}
	if w.mark != 0 {
		// The option is an int in Go, and the kernel's value a uint32.
		if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_MARK, int(int32(w.mark))); err != nil {
			return fmt.Errorf("set the mark %#x: %w: run as root or with CAP_NET_ADMIN", w.mark, err)
		}
	}
	return nil
}
