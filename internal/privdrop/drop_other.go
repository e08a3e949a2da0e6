//go:build !(linux || darwin || freebsd || openbsd || netbsd || dragonfly)

package privdrop

import (
	"errors"
	"fmt"
	"runtime"
)

func (u *User) drop([]Cap) error {
	return fmt.Errorf("become user %s: not possible on %s: %w", u.Name, runtime.GOOS, errors.ErrUnsupported)
}
