//go:build !linux

package netif

import (
	"errors"
	"strings"
	"testing"
)

func TestUnsupported(t *testing.T) {
	for _, err := range []error{Configure(Config{Name: "tun0"}), Deconfigure(Config{Name: "tun0"}), SetMTU("tun0", 1400)} {
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "statuscommand") {
			t.Errorf("error %v", err)
		}
	}
}
