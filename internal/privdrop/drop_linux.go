package privdrop

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setIDs sets the real, effective and saved ids of all threads.
func setIDs(uid, gid int) error {
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return err
	}
	return syscall.Setresuid(uid, uid, uid)
}

// prepareCaps has every thread keep its permitted capabilities when the user id
// changes, if any is to be kept.
func prepareCaps(keep []Cap) error {
	if len(keep) == 0 {
		return nil
	}
	if c := slices.Max(keep); c > unix.CAP_LAST_CAP {
		return fmt.Errorf("keep capabilities: there is no capability %d", c)
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0); errno == syscall.ENOTSUP {
		return fmt.Errorf("keep capabilities: this program was built with cgo: build it with CGO_ENABLED=0: %w", errors.ErrUnsupported)
	} else if errno != 0 {
		return fmt.Errorf("keep capabilities: %w", errno)
	}
	return nil
}

// finishCaps reduces the capabilities of all threads to keep and makes the process
// undumpable.
func finishCaps(keep []Cap) error {
	if len(keep) > 0 {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		for _, c := range keep {
			data[c/32].Effective |= 1 << (c % 32)
			data[c/32].Permitted |= 1 << (c % 32)
		}
		_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&data[0])), 0)
		if errno != 0 {
			return fmt.Errorf("reduce capabilities: %w", errno)
		}
	}
	// Dumpability belongs to the address space, so one thread speaks for all.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	return nil
}
