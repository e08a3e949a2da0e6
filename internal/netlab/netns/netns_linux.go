// Package netns makes, enters and removes named network namespaces, in the way of
// ip-netns(8), so that "ip netns" and "ip -n" know them too.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const dir = "/run/netns"

// Path returns the file that stands for the namespace called name.
func Path(name string) string {
	return filepath.Join(dir, name)
}

// Create makes an empty namespace. The error is fs.ErrExist if the name is taken.
func Create(name string) error {
	if err := prepareDir(); err != nil {
		return fmt.Errorf("create network namespace %s: %w", name, err)
	}
	f, err := os.OpenFile(Path(name), os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("create network namespace %s: %w", name, err)
	}
	f.Close()
	err = away(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := unix.Mount("/proc/thread-self/ns/net", Path(name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount on %s: %w", Path(name), err)
		}
		return nil
	})
	if err != nil {
		os.Remove(Path(name))
		return fmt.Errorf("create network namespace %s: %w", name, err)
	}
	return nil
}

// Supported reports why the process may not create namespaces, if so.
func Supported() error {
	return away(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot create a network namespace: %w", err)
		}
		return nil
	})
}

// prepareDir makes the directory of namespaces a shared mount, so that a namespace
// removed here is gone in all mount namespaces. The lock is the one that ip-netns
// takes for the same purpose.
func prepareDir() error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", dir, err)
	}
	err = unix.Mount("", dir, "", unix.MS_SHARED|unix.MS_REC, "")
	if err == unix.EINVAL {
		if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
		err = unix.Mount("", dir, "", unix.MS_SHARED|unix.MS_REC, "")
	}
	if err != nil {
		return fmt.Errorf("share %s: %w", dir, err)
	}
	return nil
}

// Remove kills the processes in the namespace and removes it. A namespace that does
// not exist is no error. It spares the calling process and its parent, which may have a
// thread there for a moment.
func Remove(name string) error {
	if err := kill(name); err != nil {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	if err := unix.Unmount(Path(name), unix.MNT_DETACH); err != nil && err != unix.ENOENT && err != unix.EINVAL {
		return fmt.Errorf("remove network namespace %s: unmount: %w", name, err)
	}
	if err := os.Remove(Path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	return nil
}

// kill ends the processes whose main thread is in the namespace, and waits until none
// is left.
func kill(name string) error {
	for range 100 {
		pids, err := Processes(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := killIn(pid, name); err != nil {
				return err
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("processes in it survive SIGKILL")
}

// killIn kills a process unless its number has meanwhile passed to one outside the
// namespace.
func killIn(pid int, name string) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if in, err := isIn(pid, name); !in {
		return err
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return nil
}

// Processes returns the processes whose main thread is in the namespace, without the
// calling process and its parent.
func Processes(name string) ([]int, error) {
	if _, err := os.Stat(Path(name)); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || pid == os.Getppid() {
			continue
		}
		if in, _ := isIn(pid, name); in {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func isIn(pid int, name string) (bool, error) {
	want, err := os.Stat(Path(name))
	if err != nil {
		return false, err
	}
	got, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		// The process has ended, or is a zombie.
		return false, nil
	}
	return os.SameFile(want, got), nil
}

// List returns the names of the namespaces that begin with prefix.
func List(prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Enter moves the calling thread into the namespace at path. The caller has locked
// the thread.
func Enter(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return nil
}

// Do calls fn on a thread that is in the namespace at path meanwhile, in the calling
// goroutine. Goroutines that fn starts run outside.
func Do(path string, fn func() error) error {
	return away(func() error {
		if err := Enter(path); err != nil {
			return err
		}
		return fn()
	})
}

// away calls fn, which may move the calling thread into other namespaces, and returns to
// the present one. To let the thread end with a locked goroutine instead would not do:
// the main thread cannot end, and a process counts as being where its main thread is.
func away(fn func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("present network namespace: %w", err)
	}
	defer home.Close()
	defer func() {
		// A thread that cannot return stays locked.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}
