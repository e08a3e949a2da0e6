//go:build linux || darwin || freebsd || openbsd || netbsd || dragonfly

package privdrop

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
)

func (u *User) drop(keep []Cap) error {
	if uid := os.Geteuid(); uid == u.UID && os.Getuid() == uid {
		return nil
	} else if uid != 0 {
		return fmt.Errorf("become user %s: only root can, and this process runs as uid %d", u.Name, uid)
	}
	if err := prepareCaps(keep); err != nil {
		return err
	}
	// The groups first: once the user id is changed, they cannot be.
	if err := syscall.Setgroups([]int{u.GID}); err != nil {
		return fmt.Errorf("give up root's groups: %w", err)
	}
	if err := setIDs(u.UID, u.GID); err != nil {
		return fmt.Errorf("become user %s: %w", u.Name, err)
	}
	if err := finishCaps(keep); err != nil {
		return err
	}
	return u.verify()
}

// verify fails if anything of root is left or can be had back.
func (u *User) verify() error {
	if os.Getuid() != u.UID || os.Geteuid() != u.UID || os.Getgid() != u.GID || os.Getegid() != u.GID {
		return fmt.Errorf("become user %s: the ids are %d, %d, %d, %d afterwards", u.Name, os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid())
	}
	groups, err := os.Getgroups()
	if err != nil {
		return fmt.Errorf("check groups: %w", err)
	}
	if slices.ContainsFunc(groups, func(g int) bool { return g != u.GID }) {
		return fmt.Errorf("become user %s: the groups are %v afterwards", u.Name, groups)
	}
	if syscall.Setuid(0) == nil || syscall.Setgid(0) == nil {
		return errors.New("root could be regained after it was given up")
	}
	return nil
}
