//go:build linux || darwin || freebsd || openbsd || windows

package tun

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"

	wgtun "golang.zx2c4.com/wireguard/tun"
)

// Whatever opens a device of that package may use it as a Device.
var _ Device = wgtun.Device(nil)

// wireguard drives a TUN device of golang.zx2c4.com/wireguard/tun.
type wireguard struct {
	dev wgtun.Device
}

// newWireguard takes dev. The goroutine that it starts ends when dev is closed: dev
// blocks unless somebody takes its events.
func newWireguard(dev wgtun.Device) wireguard {
	go func() {
		for range dev.Events() {
		}
	}()
	return wireguard{dev}
}

func (w wireguard) read(bufs [][]byte, sizes []int, offset int) (n int, err error) {
	// Where the interface's MTU was raised, a segment may be larger than its buffer,
	// and dev slices it beyond its capacity.
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(runtime.Error); !ok {
				panic(r)
			}
			n, err = 0, errSkip
		}
	}()
	n, err = w.dev.Read(bufs, sizes, offset)
	if err != nil && !fatal(err) {
		err = errSkip
	}
	// For the same reason sizes may be larger than the buffers.
	kept := 0
	for i := range max(n, 0) {
		if offset+sizes[i] > len(bufs[i]) {
			continue
		}
		if kept != i {
			copy(bufs[kept][offset:], bufs[i][offset:offset+sizes[i]])
			sizes[kept] = sizes[i]
		}
		kept++
	}
	return kept, err
}

// fatal reports whether a read error will come again. dev returns three kinds: from
// the device's file, which are final; about one packet (too many segments, unknown
// offload, too long); and from its monitor of the interface, once, for events that
// nobody here wants.
func fatal(err error) bool {
	if errors.Is(err, wgtun.ErrTooManySegments) {
		return false
	}
	var file *fs.PathError
	return runtime.GOOS == "windows" || errors.As(err, &file) || errors.Is(err, os.ErrClosed) || errors.Is(err, io.EOF)
}

func (w wireguard) write(bufs [][]byte, offset int) error {
	// What Write counts differs between systems.
	_, err := w.dev.Write(bufs, offset)
	return err
}

func (w wireguard) mtu() (int, error) { return w.dev.MTU() }

func (w wireguard) batchSize() int { return min(w.dev.BatchSize(), maxBatch) }

func (w wireguard) close() error { return w.dev.Close() }
