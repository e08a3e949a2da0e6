//go:build !linux

package probe

import (
	"context"
	"errors"
	"net/netip"
)

// once returns an error: only Linux leads packets by marks.
func once(context.Context, Line, Target) error { return errors.ErrUnsupported }

// Ping returns an error.
func Ping(context.Context, Line, netip.Addr, int) error { return errors.ErrUnsupported }

// Refused returns false.
func Refused(context.Context, Line, netip.AddrPort) bool { return false }
