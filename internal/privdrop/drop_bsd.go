//go:build darwin || freebsd || openbsd || netbsd || dragonfly

package privdrop

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
)

// setIDs sets the ids of the process. For root, setgid and setuid set the real,
// effective and saved one.
func setIDs(uid, gid int) error {
	if err := syscall.Setgid(gid); err != nil {
		return err
	}
	return syscall.Setuid(uid)
}

func prepareCaps(keep []Cap) error {
	if len(keep) > 0 {
		return fmt.Errorf("keep capabilities: %s has none: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	return nil
}

func finishCaps([]Cap) error { return nil }
