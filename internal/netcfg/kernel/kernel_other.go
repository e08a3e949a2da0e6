//go:build !linux

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/multilink-vpn/multilink/internal/netcfg"
)

var errUnsupported = fmt.Errorf("managing the host's network works on Linux only: use statuscommand here: %w", errors.ErrUnsupported)

// Observe returns an error.
func Observe(...string) (*netcfg.Host, error) { return nil, errUnsupported }

// Apply returns an error.
func Apply(*netcfg.Changes) error { return errUnsupported }

// Watch returns an error.
func Watch(context.Context) (<-chan struct{}, error) { return nil, errUnsupported }

// Forget returns an error.
func Forget(mark, mask uint32) error { return errUnsupported }

// Lookup returns an error.
func Lookup(src netip.Addr, device string, dst netip.Addr) netcfg.Way {
	return netcfg.Way{Err: errUnsupported}
}

// Boot returns an empty text.
func Boot() string { return "" }

// Namespace returns 0.
func Namespace() uint64 { return 0 }
