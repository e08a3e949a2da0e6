//go:build darwin || freebsd || openbsd

package tun

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	wgtun "golang.zx2c4.com/wireguard/tun"
)

const missingHint = " (no free TUN device: load the driver or create its device node)"

// systemName returns the name as wireguard/tun wants it, where no number means the
// first free one.
func systemName(name string) string {
	name = strings.TrimSuffix(name, "%d")
	switch runtime.GOOS {
	case "darwin":
		if name == "" {
			return "utun"
		}
	case "openbsd":
		if name == "" {
			return "tun"
		}
	case "freebsd":
		if name == "tun" {
			return ""
		}
	}
	return name
}

func adoptSystem(f *os.File, cfg Config) (system, string, bool, error) {
	if cfg.TAP {
		f.Close()
		return nil, "", false, fmt.Errorf("tun: adopt %s: TAP devices exist on Linux only: %w", f.Name(), errors.ErrUnsupported)
	}
	dev, err := wgtun.CreateTUNFromFile(f, cfg.mtu()) // closes f if it fails
	if err != nil {
		return nil, "", false, fmt.Errorf("tun: adopt %s: %w", f.Name(), err)
	}
	name, err := dev.Name()
	if err != nil {
		dev.Close()
		return nil, "", false, fmt.Errorf("tun: adopt %s: get its name: %w", f.Name(), err)
	}
	return newWireguard(dev), name, false, nil
}
