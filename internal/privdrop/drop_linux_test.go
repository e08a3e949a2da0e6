package privdrop

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// child plays the part in a copy of the test binary and returns its output.
func child(t *testing.T, part string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("MULTILINK_REQUIRE_ROOT") == "1" {
			t.Fatal("not root")
		}
		t.Skip("giving up root needs root")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+part)
	cmd.Dir = "/"
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || !strings.HasSuffix(string(out), "DONE\n") {
		t.Fatalf("%s: %v\n%s%s", part, err, out, stderr.String())
	}
	return string(out)
}

func TestDrop(t *testing.T)        { child(t, "drop") }
func TestDropTwice(t *testing.T)   { child(t, "twice") }
func TestDropNotRoot(t *testing.T) { child(t, "notroot") }
func TestDropBadCap(t *testing.T)  { child(t, "badcap") }

func TestDropKeep(t *testing.T) {
	if out := child(t, "keep"); strings.Contains(out, "SKIP") {
		t.Skip("built with cgo: run with CGO_ENABLED=0")
	}
}

func play(part string) error {
	release := manyThreads()
	defer release()
	switch part {
	case "drop":
		if err := Drop("nobody"); err != nil {
			return err
		}
		return errors.Join(checkThreads("0000000000000000"), checkDropped())
	case "twice":
		if err := Drop("nobody"); err != nil {
			return err
		}
		if err := Drop("65534"); err != nil {
			return fmt.Errorf("once more: %w", err)
		}
		if err := Drop("daemon"); err == nil || !strings.Contains(err.Error(), "only root can") {
			return fmt.Errorf("to another user: %v", err)
		}
		return checkDropped()
	case "notroot":
		if err := syscall.Seteuid(1); err != nil {
			return err
		}
		if err := Drop("nobody"); err == nil || !strings.Contains(err.Error(), "only root can") {
			return fmt.Errorf("error %v", err)
		}
		return nil
	case "badcap":
		if err := Drop("nobody", 64); err == nil || !strings.Contains(err.Error(), "no capability 64") {
			return fmt.Errorf("error %v", err)
		}
		if os.Getuid() != 0 {
			return errors.New("root was given up nevertheless")
		}
		return nil
	case "keep":
		err := Drop("nobody", NetAdmin, NetBindService)
		if errors.Is(err, errors.ErrUnsupported) {
			fmt.Println("SKIP")
			if os.Getuid() != 0 {
				return errors.New("root was given up nevertheless")
			}
			return nil
		} else if err != nil {
			return err
		}
		if err := errors.Join(checkThreads("0000000000001400"), checkDropped()); err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 7); err != nil {
			return fmt.Errorf("CAP_NET_ADMIN was not kept: %w", err)
		}
		return nil
	}
	return fmt.Errorf("no part %q", part)
}

// manyThreads has several threads exist until release is called.
func manyThreads() (release func()) {
	stop := make(chan struct{})
	started := make(chan struct{})
	for range 5 {
		go func() {
			runtime.LockOSThread()
			started <- struct{}{}
			<-stop
		}()
		<-started
	}
	return func() { close(stop) }
}

// checkThreads checks the ids and capabilities of every thread.
func checkThreads(caps string) error {
	files, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(files) < 5 {
		return fmt.Errorf("%d threads: %v", len(files), err)
	}
	want := map[string]string{
		"Uid:": "65534 65534 65534 65534", "Gid:": "65534 65534 65534 65534", "Groups:": "65534",
		"CapPrm:": caps, "CapEff:": caps, "CapInh:": "0000000000000000", "CapAmb:": "0000000000000000",
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		found := 0
		for s := bufio.NewScanner(f); s.Scan(); {
			words := strings.Fields(s.Text())
			if w, ok := want[words[0]]; ok {
				found++
				if got := strings.Join(words[1:], " "); got != w {
					err = errors.Join(err, fmt.Errorf("%s: %s is %s, want %s", file, words[0], got, w))
				}
			}
		}
		if found != len(want) {
			err = errors.Join(err, fmt.Errorf("%s: %d lines found", file, found))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkDropped tries what only root may.
func checkDropped() error {
	if err := syscall.Setresuid(-1, 0, -1); err == nil {
		return errors.New("root was regained")
	}
	if err := syscall.Setgroups([]int{0}); err == nil {
		return errors.New("root's group was regained")
	}
	if f, err := os.Open("/etc/shadow"); err == nil {
		f.Close()
		return errors.New("/etc/shadow can be read")
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || n != 0 {
		return fmt.Errorf("dumpable is %d, %v", n, err)
	}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("the network is unusable: %w", err)
	}
	return c.Close()
}
