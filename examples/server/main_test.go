package main

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/crypto"
)

// TestFirstRun makes a key file, which the next run reads.
func TestFirstRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.key")
	var first, second strings.Builder
	for _, out := range []*strings.Builder{&first, &second} {
		if err := run(t.Context(), []string{"-key", file}, out); err == nil || !strings.Contains(err.Error(), "no clients") {
			t.Fatalf("run without clients: %v", err)
		}
	}
	if first.String() != second.String() {
		t.Errorf("first run:\n%s\nsecond run:\n%s", &first, &second)
	}
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		t.Errorf("key file has mode %v", fi.Mode())
	}
	key, err := loadKey(file)
	if err != nil || !strings.Contains(first.String(), key.Public().String()) {
		t.Errorf("printed %s, not the public key of the file (%v)", &first, err)
	}
	os.WriteFile(file, []byte("not a key\n"), 0o600)
	if err := run(t.Context(), []string{"-key", file}, io.Discard); err == nil || !strings.Contains(err.Error(), "key") {
		t.Errorf("run with a broken key file: %v", err)
	}
}

func TestParseClient(t *testing.T) {
	key := crypto.GeneratePrivateKey().Public()
	p, err := parseClient("boat=" + key.String() + ",10.9.0.2/32,fd00::/64")
	want := []netip.Prefix{netip.MustParsePrefix("10.9.0.2/32"), netip.MustParsePrefix("fd00::/64")}
	if err != nil || p.Name != "boat" || p.Key != key || len(p.Prefixes) != 2 || p.Prefixes[0] != want[0] || p.Prefixes[1] != want[1] {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "boat", "boat=", "boat=x", "boat=" + key.String() + ",10.9.0.2"} {
		if _, err := parseClient(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
