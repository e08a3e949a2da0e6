//go:build unix

package conf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const minimal = "[general]\nmode = \"server\"\npassword = \"not a published one\"\n[dsl]\nbindport = 5080\n"

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mlvpn 0.conf")
	if err := os.WriteFile(path, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode fs.FileMode
		want string // in the error; empty: none
	}{
		{0o600, ""},
		{0o400, ""},
		{0o700, ""},
		{0o640, "(mode 0640)"},
		{0o604, "run chmod 600 '" + path + "'"},
		{0o620, "chmod"},
		{0o601, "chmod"},
	} {
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		c, _, err := Load(path)
		switch {
		case tt.want == "" && (err != nil || c == nil || c.File != path || c.Links[0].BindPort != 5080):
			t.Errorf("mode %o: %+v, %v", tt.mode, c, err)
		case tt.want != "" && (err == nil || c != nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("mode %o: error %v, want %q", tt.mode, err, tt.want)
		}
	}
}

func TestLoadOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("MULTILINK_REQUIRE_ROOT") == "1" {
			t.Fatal("not root")
		}
		t.Skip("only root can give a file away")
	}
	path := filepath.Join(t.TempDir(), "mlvpn0.conf")
	if err := os.WriteFile(path, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 65534, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(path); err == nil || !strings.Contains(err.Error(), "belongs to uid 65534: run chown 0 "+path) {
		t.Errorf("a stranger's file: %v", err)
	}
}

func TestLoadIrregular(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(fifo); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a FIFO: %v", err)
	}
	if _, _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"/etc/mlvpn/mlvpn0.conf": "/etc/mlvpn/mlvpn0.conf",
		"/a b":                   "'/a b'",
		"/it's":                  `'/it'\''s'`,
		"-r":                     "'-r'",
		"":                       "''",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
}
