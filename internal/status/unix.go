package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// ListenUnix opens a Unix socket that only its owner and root can use: this process's
// user, or the one with the ids uid and gid if uid is not 0. It takes the place of a
// socket that nobody answers on, and of nothing else. The directory is made if it is
// missing.
func ListenUnix(path string, uid, gid int) (net.Listener, error) {
	switch fi, err := os.Lstat(path); {
	case os.IsNotExist(err):
	case err != nil:
		return nil, fmt.Errorf("status socket: %w", err)
	case fi.Mode()&fs.ModeSocket == 0:
		return nil, fmt.Errorf("status socket: %s is not a socket: remove it, or choose another control_unix_path", path)
	default:
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return nil, fmt.Errorf("status socket: another program answers on %s: stop it, or choose another control_unix_path", path)
		}
	}
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("status socket: %w: create the directory, or choose another control_unix_path", err)
	}
	// It gets its owner and mode in a directory that nobody else can enter, and its place
	// afterwards: nobody can connect in between.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".mlvpn-")
	if err != nil {
		return nil, fmt.Errorf("status socket: %w", err)
	}
	defer os.RemoveAll(dir)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("status socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	tmp := l.Addr().String()
	err = os.Chmod(tmp, 0o600)
	if err == nil && uid != 0 {
		err = os.Lchown(tmp, uid, gid)
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("status socket: %w", err)
	}
	return &unixListener{Listener: l, path: path}, nil
}

// A unixListener removes its socket when it is closed, if it may.
type unixListener struct {
	net.Listener
	path string
}

func (l *unixListener) Close() error {
	os.Remove(l.path)
	return l.Listener.Close()
}

// Fetch asks the daemon that listens on a Unix socket for its state.
func Fetch(ctx context.Context, path string) (*Document, error) {
	client := http.Client{Timeout: answerTime, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon at %s: %w: is it running?", path, err)
	}
	defer resp.Body.Close()
	d := new(Document)
	if err := json.NewDecoder(resp.Body).Decode(d); err != nil {
		return nil, fmt.Errorf("the answer of the daemon at %s makes no sense: %w", path, err)
	}
	return d, nil
}
