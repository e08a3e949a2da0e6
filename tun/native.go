package tun

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// DefaultMTU is the MTU of devices that Open makes if Config names none. It is a
// multiple of 128, which AES-GCM seals fastest, and with a tunnel's overhead fits
// paths of 1500 bytes.
const DefaultMTU = 1408

// A Config says what device to open.
type Config struct {
	// Name is the interface's name. A %d in it stands for the first free number
	// (Windows: for 0). Empty is "tun%d", or "tap%d" for a TAP device; "utun%d" on
	// macOS; "Multilink" on Windows. macOS allows only "utun" and OpenBSD only "tun"
	// before the number.
	Name string

	// MTU is the interface's MTU in bytes, without the Ethernet header; 0 is
	// DefaultMTU.
	MTU int

	// TAP asks for a device that carries Ethernet frames instead of IP packets. Only
	// Linux has them.
	TAP bool
}

func (cfg Config) mtu() int {
	if cfg.MTU == 0 {
		return DefaultMTU
	}
	return cfg.MTU
}

func (cfg Config) check() error {
	if cfg.MTU != 0 && (cfg.MTU < 68 || cfg.MTU > 65535) {
		return fmt.Errorf("tun: MTU %d is not between 68 and 65535 bytes", cfg.MTU)
	}
	return nil
}

// A Native is a device of the operating system. It satisfies Device.
type Native struct {
	sys  system
	name string
	tap  bool

	closing  atomic.Bool
	closed   sync.Once
	closeErr error

	// only accessed by the goroutine that calls Read
	spill spill

	// only accessed by the goroutine that calls Write
	out [maxBatch][]byte
}

// system is what Native asks of the operating system's device.
type system interface {
	// read and write do what Device's Read and Write say, but only for a batch of
	// exactly batchSize buffers (read) and 1 to batchSize packets (write). read
	// returns errSkip if it had to drop what it read.
	read(bufs [][]byte, sizes []int, offset int) (int, error)
	write(bufs [][]byte, offset int) error
	mtu() (int, error)
	batchSize() int
	close() error
}

const (
	// maxBatch is the largest batchSize of any system.
	maxBatch = 128
	// maxPacket is the largest packet of any system, in bytes.
	maxPacket = 65535
)

var (
	// errSkip says that a packet was lost and the next read may succeed.
	errSkip = errors.New("packet dropped")

	errRemoved = errors.New("the interface was removed")
)

// Open makes a network interface, or attaches to one that was prepared for the user
// who runs the program (Linux: ip tuntap add), and sets its MTU. It leaves the
// interface down and without addresses. The interface exists until Close unless it
// was prepared.
//
// It fails with an error that matches fs.ErrPermission, fs.ErrNotExist (no TUN driver)
// or errors.ErrUnsupported where these apply.
func Open(cfg Config) (*Native, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	sys, name, err := openSystem(cfg)
	if err != nil {
		return nil, err
	}
	return newNative(sys, name, cfg.TAP), nil
}

// FromFile adopts a TUN or TAP device that another program or library has opened,
// such as a privileged parent or a VPN service. On Linux the device must have been
// opened with IFF_NO_PI, which cannot be checked, and a TAP device without
// IFF_VNET_HDR. Config.Name is ignored. If Config.MTU is 0, Linux keeps the MTU and
// other systems set it to DefaultMTU. A TAP device is recognised as such; Config.TAP
// only refuses a TUN device. FromFile takes the file, also if it fails.
func FromFile(f *os.File, cfg Config) (*Native, error) {
	if err := cfg.check(); err != nil {
		f.Close()
		return nil, err
	}
	sys, name, tap, err := adoptSystem(f, cfg)
	if err != nil {
		return nil, err
	}
	return newNative(sys, name, tap), nil
}

func newNative(sys system, name string, tap bool) *Native {
	return &Native{sys: sys, name: name, tap: tap}
}

// Read does what Device says. It is cheapest with at least BatchSize buffers; with
// fewer, packets are copied once more. Every buffer should have room behind offset for
// the MTU, and on a TAP device for 18 bytes more. A packet that does not fit its
// buffer is dropped or, on a TAP device, cut.
//
// Only errors that will come again are returned, such as that the interface was
// removed; a single packet that cannot be read is dropped. An error matches
// os.ErrClosed after Close and not before.
func (n *Native) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	if len(bufs) == 0 || len(sizes) < len(bufs) || offset < 0 {
		return 0, fmt.Errorf("tun: read %s: %d buffers, %d sizes, offset %d: need at least one buffer and as many sizes",
			n.name, len(bufs), len(sizes), offset)
	}
	batch := n.sys.batchSize()
	for {
		var count int
		var err error
		if len(bufs) >= batch {
			count, err = n.sys.read(bufs[:batch], sizes, offset)
		} else {
			count, err = n.spill.read(n.sys, bufs, sizes, offset)
		}
		if count > 0 {
			return count, nil
		}
		if err != nil && err != errSkip {
			return 0, n.wrap("read", err)
		}
	}
}

// Write does what Device says. A packet that the system refuses does not keep it from
// writing the others. Equal flows' packets in one call are merged on Linux, within the
// buffers' capacity. Write returns the number of packets if there was no error.
func (n *Native) Write(bufs [][]byte, offset int) (int, error) {
	if offset < Headroom {
		return 0, fmt.Errorf("tun: write %s: offset %d is less than the headroom of %d bytes", n.name, offset, Headroom)
	}
	var errs error
	total, batch := len(bufs), n.sys.batchSize()
	for len(bufs) > 0 {
		// The system gets slices of ours: it may swap them. One empty packet would
		// make it refuse all others.
		count := 0
		for len(bufs) > 0 && count < batch {
			if len(bufs[0]) > offset {
				n.out[count] = bufs[0]
				count++
			}
			bufs = bufs[1:]
		}
		if count == 0 {
			break
		}
		err := n.sys.write(n.out[:count], offset)
		clear(n.out[:count])
		if err != nil {
			if n.closing.Load() || err == errRemoved || errors.Is(err, os.ErrClosed) {
				return 0, n.wrap("write", err)
			}
			errs = errors.Join(errs, err)
		}
	}
	if errs != nil {
		return 0, n.wrap("write", errs)
	}
	return total, nil
}

// MTU returns the interface's MTU now. A TAP device's frames are up to 18 bytes
// longer.
func (n *Native) MTU() (int, error) {
	if n.closing.Load() {
		return 0, n.wrap("get MTU", os.ErrClosed)
	}
	mtu, err := n.sys.mtu()
	if err != nil {
		return 0, n.wrap("get MTU", err)
	}
	return mtu, nil
}

// Name returns the name that the interface had when it was opened.
func (n *Native) Name() (string, error) { return n.name, nil }

// TAP reports whether the device carries Ethernet frames.
func (n *Native) TAP() bool { return n.tap }

// BatchSize returns the largest number of packets that one Read yields: 128 for TUN on
// Linux, otherwise 1.
func (n *Native) BatchSize() int { return n.sys.batchSize() }

// Close closes the device. Unless the interface was prepared, it disappears.
func (n *Native) Close() error {
	n.closed.Do(func() {
		n.closing.Store(true)
		if err := n.sys.close(); err != nil {
			n.closeErr = fmt.Errorf("tun: close %s: %w", n.name, err)
		}
	})
	return n.closeErr
}

// wrap says what failed on which device. The reason is os.ErrClosed after Close and
// only then, whatever the system calls it.
func (n *Native) wrap(what string, err error) error {
	if n.closing.Load() {
		err = os.ErrClosed
	} else if errors.Is(err, os.ErrClosed) {
		err = errRemoved
	}
	return fmt.Errorf("tun: %s %s: %w", what, n.name, err)
}

// spill holds the packets of one system read for a caller with fewer buffers than the
// read can fill. Its memory is made at first use.
type spill struct {
	bufs  [][]byte
	sizes []int
	next  int // index of the first packet not handed out
	count int
}

func (s *spill) read(sys system, bufs [][]byte, sizes []int, offset int) (int, error) {
	if s.next == s.count {
		if s.bufs == nil {
			batch := sys.batchSize()
			slab := make([]byte, batch*maxPacket)
			s.sizes = make([]int, batch)
			for i := range batch {
				s.bufs = append(s.bufs, slab[i*maxPacket:(i+1)*maxPacket:(i+1)*maxPacket])
			}
		}
		s.next, s.count = 0, 0
		count, err := sys.read(s.bufs, s.sizes, 0)
		if count == 0 {
			return 0, err
		}
		s.count = count
	}
	n := 0
	for n < len(bufs) && s.next < s.count {
		pkt := s.bufs[s.next][:s.sizes[s.next]]
		s.next++
		if offset+len(pkt) > len(bufs[n]) {
			continue
		}
		sizes[n] = copy(bufs[n][offset:], pkt)
		n++
	}
	if n == 0 {
		return 0, errSkip
	}
	return n, nil
}
