package tun

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

const missingHint = " (needs wintun.dll beside the program)"

func systemName(name string) string {
	if name == "" {
		return "Multilink"
	}
	return strings.ReplaceAll(name, "%d", "0")
}

func adoptSystem(f *os.File, _ Config) (system, string, bool, error) {
	f.Close()
	return nil, "", false, fmt.Errorf("tun: adopt %s: devices have no file on Windows: %w", f.Name(), errors.ErrUnsupported)
}
