// Package privdrop gives up root for the rest of a process's life.
package privdrop

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
)

// A User is an account to run as.
type User struct {
	Name string
	UID  int
	GID  int // the account's primary group
}

// A Cap is a capability that a process can keep on Linux.
type Cap uint

// The numbers are those of capabilities(7).
const (
	NetBindService Cap = 10 // bind ports below 1024
	NetAdmin       Cap = 12 // configure interfaces, set socket marks and large buffers
	NetRaw         Cap = 13 // bind a socket to another interface once more
)

// Lookup returns the account called name, which may also be a numeric user id. It is
// an error if the account is root's.
func Lookup(name string) (*User, error) {
	u, err := user.Lookup(name)
	if errors.As(err, new(user.UnknownUserError)) {
		if _, nerr := strconv.ParseUint(name, 10, 31); nerr == nil {
			u, err = user.LookupId(name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("look up user %q: %w: create it or name another one", name, err)
	}
	uid, uerr := strconv.Atoi(u.Uid)
	gid, gerr := strconv.Atoi(u.Gid)
	if err := errors.Join(uerr, gerr); err != nil {
		return nil, fmt.Errorf("user %q has no numeric ids on this system: %w", name, err)
	}
	if uid == 0 || gid == 0 {
		return nil, fmt.Errorf("user %q has root's user or group id (%d, %d): name another one", name, uid, gid)
	}
	return &User{Name: u.Username, UID: uid, GID: gid}, nil
}

// Drop makes all threads of the process run as the user called name, in its primary
// group and no other, and checks that root cannot be regained.
//
// On Linux all capabilities go, except those in keep, and the process can no longer be
// dumped or traced by the user's other processes. Keeping a capability needs a program
// that is built with CGO_ENABLED=0; without it, and on other systems, asking for one is
// an error, before anything is changed.
//
// Files and sockets that are open stay usable. Programs that are started later run as
// the user, too, without capabilities.
//
// A process that runs as the user already is left as it is, with the capabilities that
// it was started with. After an error the process may have lost some privileges and
// should exit.
func Drop(name string, keep ...Cap) error {
	u, err := Lookup(name)
	if err != nil {
		return err
	}
	return u.drop(keep)
}
