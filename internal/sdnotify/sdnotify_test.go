//go:build unix

package sdnotify

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	m := FromEnv()
	if m.Watchdog != 30*time.Second {
		t.Errorf("the watchdog's time is %v", m.Watchdog)
	}
	if err := m.Notify(Ready, Status("two\nlines")); err != nil {
		t.Fatal(err)
	}
	l.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 100)
	n, err := l.Read(buf)
	if got, want := string(buf[:n]), "READY=1\nSTATUS=two lines"; got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}

	t.Setenv("WATCHDOG_PID", "1")
	if m := FromEnv(); m.Watchdog != 0 {
		t.Error("the watchdog of another process is taken for one's own")
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	if FromEnv().Notify(Alive) == nil {
		t.Error("a manager that is not there gives no error")
	}
}

func TestNoManager(t *testing.T) {
	if err := (Manager{}).Notify(Ready); err != nil {
		t.Error(err)
	}
}
