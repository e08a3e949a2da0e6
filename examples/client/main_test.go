package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/crypto"
)

func TestArguments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.key")
	server := crypto.GeneratePrivateKey().Public().String()
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "-server"},
		{[]string{"-server", server, "-remote", "192.0.2.1:5080"}, "-via"},
		{[]string{"-server", server, "-via", "eth0"}, "-remote"},
		{[]string{"-server", "x"}, "public key"},
		{[]string{"-via", "eth0=1"}, "-via"},
		{[]string{"-server", server, "-via", "eth0", "-remote", "192.0.2.1"}, "missing port"},
	} {
		args := append([]string{"-key", file}, test.args...)
		if err := run(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want one with %q", args, err, test.want)
		}
	}
	if _, err := loadKey(file); err != nil {
		t.Errorf("the key file that the first run made: %v", err)
	}
}

func TestParseVia(t *testing.T) {
	for _, test := range []struct {
		in   string
		want via
	}{
		{"eth0", via{name: "eth0"}},
		{"fe80::1", via{name: "fe80::1"}},
		{"192.0.2.7=125000,1250000", via{"192.0.2.7", 125_000, 1_250_000}},
	} {
		if got, err := parseVia(test.in); got != test.want || err != nil {
			t.Errorf("%q: %+v, %v", test.in, got, err)
		}
	}
}
