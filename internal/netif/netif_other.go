//go:build !linux

package netif

import (
	"errors"
	"fmt"
	"runtime"
)

func unsupported(name string) error {
	return fmt.Errorf("interface %s cannot be configured on %s: do it in the script of statuscommand: %w", name, runtime.GOOS, errors.ErrUnsupported)
}

// Configure is not supported on this system.
func Configure(c Config) error { return unsupported(c.Name) }

// SetMTU is not supported on this system.
func SetMTU(name string, mtu int) error { return unsupported(name) }

// Deconfigure is not supported on this system.
func Deconfigure(c Config) error { return unsupported(c.Name) }
