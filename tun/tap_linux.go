package tun

import (
	"os"

	"golang.org/x/sys/unix"
)

// tapDevice moves Ethernet frames, one per system call.
type tapDevice struct {
	file *os.File // non-blocking, with the runtime's poller
}

func (t *tapDevice) read(bufs [][]byte, sizes []int, offset int) (int, error) {
	if offset >= len(bufs[0]) {
		return 0, unix.EINVAL
	}
	n, err := t.file.Read(bufs[0][offset:])
	if err != nil {
		return 0, err
	}
	sizes[0] = n
	return 1, nil
}

func (t *tapDevice) write(bufs [][]byte, offset int) error {
	_, err := t.file.Write(bufs[0][offset:])
	return err
}

func (t *tapDevice) batchSize() int { return 1 }

func (t *tapDevice) close() error { return t.file.Close() }
