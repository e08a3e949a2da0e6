// Package sdnotify tells the service manager how the daemon is, by the protocol of
// sd_notify(3). Without such a manager it does nothing.
package sdnotify

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Manager is the service manager. The zero value is none.
type Manager struct {
	socket string
	// Watchdog is how often the manager wants to hear that the daemon makes progress, at
	// least. 0 is never.
	Watchdog time.Duration
}

// FromEnv returns the manager that the environment names. What it says of the watchdog
// is for this process only if it names it.
func FromEnv() Manager {
	m := Manager{socket: os.Getenv("NOTIFY_SOCKET")}
	if strings.HasPrefix(m.socket, "@") {
		m.socket = "\x00" + m.socket[1:]
	}
	pid := os.Getenv("WATCHDOG_PID")
	if us, err := strconv.ParseUint(os.Getenv("WATCHDOG_USEC"), 10, 63); err == nil && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		m.Watchdog = time.Duration(us) * time.Microsecond
	}
	return m
}

// What a daemon can say.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Alive    = "WATCHDOG=1"
)

// Status returns a message that shows text in the service's status.
func Status(text string) string { return "STATUS=" + strings.ReplaceAll(text, "\n", " ") }

// Notify sends messages. It does not wait for the manager.
func (m Manager) Notify(messages ...string) error {
	if m.socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte(strings.Join(messages, "\n"))); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
