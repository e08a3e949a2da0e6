package manage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// lock makes sure that one process at a time has the journal.
func lock(journal string) (unlock func(), err error) {
	path := journal + ".lock"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another mlvpn manages the network for this interface_name already (%s): stop it, or choose another name: %w", path, err)
	}
	return func() {
		os.Remove(path)
		f.Close()
	}, nil
}

// setMark has a socket's packets go by a line's table.
func setMark(c syscall.RawConn, mark uint32) (err error) {
	if mark == 0 {
		return nil
	}
	cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
	})
	return errors.Join(cerr, err)
}
