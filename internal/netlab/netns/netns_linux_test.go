package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"testing"
)

func require(t *testing.T) {
	if os.Geteuid() != 0 || Supported() != nil {
		t.Skip("needs root")
	}
}

func TestLifetime(t *testing.T) {
	require(t)
	name := fmt.Sprintf("ml-%d-netns", os.Getpid())
	if err := Create(name); err != nil {
		t.Fatal(err)
	}
	defer Remove(name)
	if err := Create(name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	if got, err := List(name); err != nil || len(got) != 1 {
		t.Errorf("list: %v, %v", got, err)
	}
	var inside []net.Interface
	var child *exec.Cmd
	err := Do(Path(name), func() (err error) {
		if inside, err = net.Interfaces(); err != nil {
			return err
		}
		// A child starts in the namespace of the thread that forks it.
		child = exec.Command("/bin/sleep", "60")
		return child.Start()
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(inside) != 1 || inside[0].Name != "lo" {
		t.Errorf("interfaces inside: %v, want only lo", inside)
	}
	if pids, err := Processes(name); err != nil || len(pids) != 1 || pids[0] != child.Process.Pid {
		t.Errorf("processes inside: %v, %v; want %d", pids, err, child.Process.Pid)
	}
	exited := make(chan error, 1)
	go func() { exited <- child.Wait() }()
	if err := Remove(name); err != nil {
		t.Error(err)
	}
	if err := <-exited; err == nil || err.Error() != "signal: killed" {
		t.Errorf("process inside ended with %v, want it killed", err)
	}
	if got, _ := List(name); len(got) != 0 {
		t.Errorf("namespace survived its removal: %v", got)
	}
	if err := Remove(name); err != nil {
		t.Errorf("removed again: %v", err)
	}
}

// TestDoReturns checks that Do leaves the thread where it was, also when fn panics.
func TestDoReturns(t *testing.T) {
	require(t)
	name := fmt.Sprintf("ml-%d-return", os.Getpid())
	if err := Create(name); err != nil {
		t.Fatal(err)
	}
	defer Remove(name)
	here, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was lost")
			}
		}()
		Do(Path(name), func() error {
			if there, _ := os.Readlink("/proc/thread-self/ns/net"); there == here {
				t.Error("Do stayed outside")
			}
			panic("in the namespace")
		})
	}()
	if now, _ := os.Readlink("/proc/thread-self/ns/net"); now != here {
		t.Errorf("thread is in %s, was in %s", now, here)
	}
	if err := Do(Path("no-such"), func() error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("entered a namespace that does not exist: %v", err)
	}
}
