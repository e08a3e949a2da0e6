package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPackages builds the packages, and installs and removes each in a system of its own,
// which has BusyBox and nothing else. It takes a minute where nfpm has not been built yet.
func TestPackages(t *testing.T) {
	required := os.Getenv("MULTILINK_REQUIRE_ROOT") == "1"
	switch {
	case os.Geteuid() != 0 && required:
		t.Fatal("MULTILINK_REQUIRE_ROOT=1, but this is not root")
	case os.Geteuid() != 0:
		t.Skip("installing packages needs root")
	case !required && os.Getenv("MULTILINK_LONG") != "1":
		t.Skip("building packages takes long: set MULTILINK_LONG=1")
	}
	for _, tool := range []string{"dpkg", "rpm", "busybox"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("install %s (Debian: busybox-static, rpm): %v", tool, err)
		}
	}
	t.Chdir("..")
	dist := t.TempDir()
	command(t, "go", "run", "./packaging", "-version", "1.2.3", "-out", dist)
	t.Run("deb", func(t *testing.T) {
		root := newSystem(t)
		dpkg := func(args ...string) { command(t, "dpkg", append([]string{"--root=" + root}, args...)...) }
		dpkg("--install", only(t, dist, "*.deb"))
		checkInstalled(t, root)
		dpkg("--install", only(t, dist, "*.deb")) // again, as at an upgrade
		checkInstalled(t, root)
		dpkg("--remove", "mlvpn")
		dpkg("--purge", "mlvpn")
		checkRemoved(t, root)
	})
	t.Run("rpm", func(t *testing.T) {
		root := newSystem(t)
		rpm := func(args ...string) { command(t, "rpm", append([]string{"--root", root}, args...)...) }
		rpm("--initdb")
		rpm("--install", "--nodeps", only(t, dist, "*.rpm"))
		checkInstalled(t, root)
		rpm("--erase", "mlvpn")
		checkRemoved(t, root)
	})
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func only(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages %q, %v, want one", found, err)
	}
	return found[0]
}

// newSystem makes the root directory of a system with a shell and an account.
func newSystem(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	for _, dir := range []string{"bin", "etc", "tmp", "usr/sbin", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/rpm", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"etc/passwd":          "root:x:0:0:root:/root:/bin/sh\n",
		"etc/group":           "root:x:0:\n",
		"etc/shadow":          "root:*:1::::::\n",
		"var/lib/dpkg/status": "",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	command(t, "cp", busybox, filepath.Join(root, "bin/busybox"))
	command(t, "chroot", root, "/bin/busybox", "--install", "-s", "/bin")
	if err := syscall.Mknod(filepath.Join(root, "dev/null"), syscall.S_IFCHR|0o666, 1<<8|3); err != nil {
		t.Fatal(err)
	}
	// Debian's BusyBox has no command for that.
	useradd := "#!/bin/sh\n[ \"$1 $2\" = '--system --user-group' ] && echo mlvpn:x:900:900::/nonexistent:/usr/sbin/nologin >>/etc/passwd\n"
	if err := os.WriteFile(filepath.Join(root, "usr/sbin/useradd"), []byte(useradd), 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

func checkInstalled(t *testing.T, root string) {
	t.Helper()
	if out := command(t, "chroot", root, "/usr/sbin/mlvpn", "--version"); out != "mlvpn 1.2.3\n" {
		t.Errorf("the program says %q", out)
	}
	for name, mode := range map[string]os.FileMode{
		"usr/sbin/mlvpn":                        0o755,
		"etc/mlvpn":                             0o700,
		"usr/lib/systemd/system/mlvpn@.service": 0o644,
		"usr/share/man/man1/mlvpn.1.gz":         0o644,
		"usr/share/man/man5/mlvpn.conf.5.gz":    0o644,
		"usr/share/doc/mlvpn/copyright":         0o644,
	} {
		if fi, err := os.Stat(filepath.Join(root, name)); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want mode %o", name, fi, err, mode)
		}
	}
	passwd, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil || strings.Count(string(passwd), "mlvpn:") != 1 {
		t.Errorf("the account is missing: %v\n%s", err, passwd)
	}
}

func checkRemoved(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		if strings.Contains(rel, "mlvpn") && !strings.HasPrefix(rel, "var/lib/dpkg") && !strings.HasPrefix(rel, "var/lib/rpm") {
			t.Errorf("%s is left", rel)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestScripts checks that the shell understands the scripts.
func TestScripts(t *testing.T) {
	for _, name := range []string{"postinst", "prerm", "postrm", "mlvpn.init"} {
		if out, err := exec.Command("sh", "-n", name).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestUnit has systemd check the unit, where there is systemd.
func TestUnit(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze")
	}
	// The program and the manual pages of the unit are not installed here, which is not
	// what this is about.
	out, _ := exec.Command(tool, "verify", "mlvpn@.service").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "/usr/sbin/mlvpn is not executable") && !strings.Contains(line, "man mlvpn") {
			t.Errorf("systemd-analyze: %s", line)
		}
	}
}
