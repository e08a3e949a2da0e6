//go:build darwin || freebsd || openbsd || windows

package tun

import (
	"errors"
	"fmt"
	"io/fs"

	wgtun "golang.zx2c4.com/wireguard/tun"
)

func openSystem(cfg Config) (system, string, error) {
	if cfg.TAP {
		return nil, "", fmt.Errorf("tun: open %q: TAP devices exist on Linux only: %w", cfg.Name, errors.ErrUnsupported)
	}
	dev, err := wgtun.CreateTUN(systemName(cfg.Name), cfg.mtu())
	if err != nil {
		hint := ""
		switch {
		case errors.Is(err, fs.ErrPermission):
			hint = " (needs root or administrator rights)"
		case errors.Is(err, fs.ErrNotExist):
			hint = missingHint
		}
		return nil, "", fmt.Errorf("tun: open %q%s: %w", cfg.Name, hint, err)
	}
	name, err := dev.Name()
	if err != nil {
		dev.Close()
		return nil, "", fmt.Errorf("tun: open %q: get its name: %w", cfg.Name, err)
	}
	return newWireguard(dev), name, nil
}
