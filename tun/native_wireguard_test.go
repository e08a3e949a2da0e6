//go:build linux || darwin || freebsd || openbsd || windows

package tun

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"testing"

	wgtun "golang.zx2c4.com/wireguard/tun"
)

// fakeWireguard is a device of which only Read is used.
type fakeWireguard struct {
	wgtun.Device
	read func(bufs [][]byte, sizes []int, offset int) (int, error)
}

func (f fakeWireguard) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	return f.read(bufs, sizes, offset)
}

// TestWireguardCutSegments has a device that reports segments larger than their
// buffers, as it does when the buffers have the capacity.
func TestWireguardCutSegments(t *testing.T) {
	w := wireguard{fakeWireguard{read: func(bufs [][]byte, sizes []int, offset int) (int, error) {
		for i, size := range []int{3, 9, 4, 10} {
			for j := range min(size, len(bufs[i])-offset) {
				bufs[i][offset+j] = byte('a' + i)
			}
			sizes[i] = size
		}
		return 4, nil
	}}}
	bufs, sizes := buffers(5, 10)
	n, err := w.read(bufs, sizes, 2)
	if n != 2 || err != nil || string(bufs[0][2:2+sizes[0]]) != "aaa" || string(bufs[1][2:2+sizes[1]]) != "cccc" {
		t.Fatalf("read = %d, %v: %q, sizes %v", n, err, bufs, sizes)
	}
}

func TestWireguardErrors(t *testing.T) {
	final := runtime.GOOS == "windows"
	for _, tt := range []struct {
		name  string
		n     int
		err   error
		fatal bool
		want  int
	}{
		{"too many segments", 3, wgtun.ErrTooManySegments, false, 3},
		{"too many segments for none", -1, wgtun.ErrTooManySegments, false, 0},
		{"bad packet", 0, errors.New("unsupported virtio GSO type: 7"), final, 0},
		{"file", 0, &fs.PathError{Op: "read", Err: errors.New("input/output error")}, true, 0},
		{"closed", 0, os.ErrClosed, true, 0},
	} {
		w := wireguard{fakeWireguard{read: func([][]byte, []int, int) (int, error) { return tt.n, tt.err }}}
		bufs, sizes := buffers(5, 10)
		n, err := w.read(bufs, sizes, 0)
		if n != tt.want || (err != errSkip) != tt.fatal || err == nil {
			t.Errorf("%s: read = %d, %v", tt.name, n, err)
		}
	}
}

func TestWireguardPanics(t *testing.T) {
	w := wireguard{fakeWireguard{read: func([][]byte, []int, int) (int, error) { panic("not a bounds error") }}}
	defer func() {
		if recover() == nil {
			t.Error("a panic that is no bounds error was swallowed")
		}
	}()
	bufs, sizes := buffers(5, 10)
	w.read(bufs, sizes, 0)
}
