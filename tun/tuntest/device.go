// Package tuntest provides a tun.Device in memory, and builds and checks the packets
// that go through it.
package tuntest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/multilink-vpn/multilink/tun"
)

var _ tun.Device = (*Device)(nil)

// A Config says how a Device behaves. Its zero value is a TUN device.
type Config struct {
	// Name is the interface's name; empty is "test0".
	Name string

	// MTU is the initial MTU in bytes; 0 is tun.DefaultMTU.
	MTU int

	// Queue is the number of packets that wait in each direction; 0 is 1024.
	Queue int

	// BatchSize is the largest number of packets that Read and ReceiveBatch yield; 0
	// is 128.
	BatchSize int

	// TAP allows frames 18 bytes longer than the MTU.
	TAP bool

	// Discard makes Write count packets and throw them away.
	Discard bool
}

func (cfg Config) name() string {
	if cfg.Name == "" {
		return "test0"
	}
	return cfg.Name
}

func (cfg Config) mtu() int   { return orDefault(cfg.MTU, tun.DefaultMTU) }
func (cfg Config) queue() int { return orDefault(cfg.Queue, 1024) }
func (cfg Config) batch() int { return orDefault(cfg.BatchSize, 128) }

func orDefault(v, def int) int {
	if v == 0 {
		return def
	}
	return v
}

// A Device is a tun.Device in memory. The methods of tun.Device are for the tunnel;
// Inject, TryInject, Receive, ReceiveBatch and TryReceive are the host's side.
//
// All waiting is on channels, so it is durably blocking in a testing/synctest bubble,
// provided that the Device was made in the bubble. Packets are copied into pooled
// buffers: once the pool is filled nothing is allocated. All methods may be called
// concurrently, except that Read and Write panic if two goroutines are in them at
// once, which the contract of tun.Device forbids.
type Device struct {
	cfg Config
	mtu atomic.Int64

	toTunnel chan []byte
	toHost   chan []byte
	free     chan []byte

	closed    chan struct{}
	closeOnce sync.Once

	reading, writing atomic.Bool

	stats struct {
		injected, written, dropped, bytes atomic.Uint64
	}
}

// Stats counts packets since New.
type Stats struct {
	Injected uint64 // by the host
	Written  uint64 // by the tunnel, including what was dropped or discarded
	Bytes    uint64 // in the packets counted by Written
	Dropped  uint64 // written by the tunnel while the host's queue was full
}

// New returns a Device. It starts no goroutine.
func New(cfg Config) *Device {
	d := &Device{
		cfg:      cfg,
		toTunnel: make(chan []byte, cfg.queue()),
		toHost:   make(chan []byte, cfg.queue()),
		free:     make(chan []byte, 2*cfg.queue()+2),
		closed:   make(chan struct{}),
	}
	d.mtu.Store(int64(cfg.mtu()))
	return d
}

// Inject sends pkt from the host into the tunnel. It waits while the queue is full. It
// borrows pkt until it returns. It fails if pkt is empty or larger than the host would
// send, and after Close with an error that matches os.ErrClosed.
func (d *Device) Inject(pkt []byte) error {
	if err := d.check(pkt); err != nil {
		return err
	}
	buf := d.copy(pkt)
	select {
	case d.toTunnel <- buf:
		d.stats.injected.Add(1)
		return nil
	case <-d.closed:
		d.release(buf)
		return fmt.Errorf("tuntest: inject: %w", os.ErrClosed)
	}
}

// TryInject is Inject without waiting. It reports whether the queue took pkt.
func (d *Device) TryInject(pkt []byte) bool {
	if d.check(pkt) != nil {
		return false
	}
	buf := d.copy(pkt)
	select {
	case d.toTunnel <- buf:
		d.stats.injected.Add(1)
		return true
	default:
		d.release(buf)
		return false
	}
}

func (d *Device) check(pkt []byte) error {
	select {
	case <-d.closed:
		return fmt.Errorf("tuntest: inject: %w", os.ErrClosed)
	default:
	}
	limit := int(d.mtu.Load())
	if d.cfg.TAP {
		limit += 18
	}
	if len(pkt) == 0 || len(pkt) > limit {
		return fmt.Errorf("tuntest: inject: packet has %d bytes, want 1 to %d", len(pkt), limit)
	}
	return nil
}

// Receive waits for a packet that the tunnel delivered to the host, copies it to buf
// and returns its length. After Close it returns what was delivered before, then an
// error that matches os.ErrClosed. A packet larger than buf is lost with
// io.ErrShortBuffer.
func (d *Device) Receive(buf []byte) (int, error) {
	pkt, err := d.wait(d.toHost, true)
	if err != nil {
		return 0, fmt.Errorf("tuntest: receive: %w", err)
	}
	return d.take(pkt, buf)
}

// TryReceive is Receive without waiting. It returns false if no packet is there or it
// does not fit buf.
func (d *Device) TryReceive(buf []byte) (int, bool) {
	select {
	case pkt := <-d.toHost:
		n, err := d.take(pkt, buf)
		return n, err == nil
	default:
		return 0, false
	}
}

// ReceiveBatch waits for at least one packet that the tunnel delivered and copies up to
// min(len(bufs), BatchSize) of them to bufs and their lengths to sizes. Its errors are
// those of Receive.
func (d *Device) ReceiveBatch(bufs [][]byte, sizes []int) (int, error) {
	return d.batch(d.toHost, bufs, sizes, 0, true)
}

// Read implements tun.Device. A packet that does not fit its buffer is lost with
// io.ErrShortBuffer.
func (d *Device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	enter(&d.reading, "Read")
	defer d.reading.Store(false)
	return d.batch(d.toTunnel, bufs, sizes, offset, false)
}

func (d *Device) batch(queue chan []byte, bufs [][]byte, sizes []int, offset int, drain bool) (int, error) {
	if len(bufs) == 0 || len(sizes) < len(bufs) {
		return 0, errors.New("tuntest: read: need at least one buffer and as many sizes")
	}
	pkt, err := d.wait(queue, drain)
	if err != nil {
		return 0, fmt.Errorf("tuntest: read: %w", err)
	}
	n := 0
	for limit := min(len(bufs), d.BatchSize()); ; {
		size, err := d.take(pkt, bufs[n][min(offset, len(bufs[n])):])
		if err != nil {
			return n, err
		}
		sizes[n] = size
		n++
		if n == limit {
			return n, nil
		}
		select {
		case pkt = <-queue:
		default:
			return n, nil
		}
	}
}

// wait returns the next packet of queue. After Close it returns what is left if drain
// is set.
func (d *Device) wait(queue chan []byte, drain bool) ([]byte, error) {
	select {
	case <-d.closed:
		if !drain {
			return nil, os.ErrClosed
		}
		select {
		case pkt := <-queue:
			return pkt, nil
		default:
			return nil, os.ErrClosed
		}
	default:
	}
	select {
	case pkt := <-queue:
		return pkt, nil
	case <-d.closed:
		return d.wait(queue, drain)
	}
}

// Write implements tun.Device. It never waits: like a kernel, the host drops packets
// while its queue is full, and counts them in Stats. It returns the number of packets.
func (d *Device) Write(bufs [][]byte, offset int) (int, error) {
	enter(&d.writing, "Write")
	defer d.writing.Store(false)
	for i, buf := range bufs {
		select {
		case <-d.closed:
			return i, fmt.Errorf("tuntest: write: %w", os.ErrClosed)
		default:
		}
		if offset < 0 || offset >= len(buf) {
			return i, fmt.Errorf("tuntest: write: packet %d is empty: %d bytes, offset %d", i, len(buf), offset)
		}
		d.stats.written.Add(1)
		d.stats.bytes.Add(uint64(len(buf) - offset))
		if d.cfg.Discard {
			continue
		}
		pkt := d.copy(buf[offset:])
		select {
		case d.toHost <- pkt:
		default:
			d.stats.dropped.Add(1)
			d.release(pkt)
		}
	}
	return len(bufs), nil
}

// enter notes that a goroutine is in a method that only one may be in.
func enter(busy *atomic.Bool, method string) {
	if !busy.CompareAndSwap(false, true) {
		panic("tuntest: " + method + " called by two goroutines at once")
	}
}

// MTU implements tun.Device.
func (d *Device) MTU() (int, error) {
	select {
	case <-d.closed:
		return 0, fmt.Errorf("tuntest: get MTU: %w", os.ErrClosed)
	default:
		return int(d.mtu.Load()), nil
	}
}

// SetMTU changes the MTU.
func (d *Device) SetMTU(mtu int) { d.mtu.Store(int64(mtu)) }

// Name implements tun.Device.
func (d *Device) Name() (string, error) { return d.cfg.name(), nil }

// BatchSize implements tun.Device.
func (d *Device) BatchSize() int { return d.cfg.batch() }

// Close implements tun.Device.
func (d *Device) Close() error {
	d.closeOnce.Do(func() { close(d.closed) })
	return nil
}

// Stats returns the counters.
func (d *Device) Stats() Stats {
	return Stats{
		Injected: d.stats.injected.Load(),
		Written:  d.stats.written.Load(),
		Bytes:    d.stats.bytes.Load(),
		Dropped:  d.stats.dropped.Load(),
	}
}

// copy returns a pooled buffer with the contents of pkt.
func (d *Device) copy(pkt []byte) []byte {
	select {
	case buf := <-d.free:
		return append(buf[:0], pkt...)
	default:
		return append(make([]byte, 0, max(2048, len(pkt))), pkt...)
	}
}

// take moves pkt to buf and its buffer to the pool.
func (d *Device) take(pkt, buf []byte) (int, error) {
	defer d.release(pkt)
	if len(pkt) > len(buf) {
		return 0, fmt.Errorf("tuntest: packet of %d bytes, buffer of %d: %w", len(pkt), len(buf), io.ErrShortBuffer)
	}
	return copy(buf, pkt), nil
}

func (d *Device) release(buf []byte) {
	select {
	case d.free <- buf:
	default:
	}
}
