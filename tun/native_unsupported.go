//go:build !linux && !darwin && !freebsd && !openbsd && !windows

package tun

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

func openSystem(cfg Config) (system, string, error) {
	return nil, "", fmt.Errorf("tun: open %q: no support for %s: %w", cfg.Name, runtime.GOOS, errors.ErrUnsupported)
}

func adoptSystem(f *os.File, _ Config) (system, string, bool, error) {
	f.Close()
	return nil, "", false, fmt.Errorf("tun: adopt %s: no support for %s: %w", f.Name(), runtime.GOOS, errors.ErrUnsupported)
}
