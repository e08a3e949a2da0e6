package mlvpn

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/suspend"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/tun"
)

// An engine is the machine room that a Client or a Server runs on: the goroutines,
// and what they own. Everything below the constants is a named part with an owner.
type engine struct {
	cfg     Config // constant
	log     *slog.Logger
	side    side      // what differs between a client and a server
	learn   bool      // inner addresses are learnt; constant once running
	expects wire.Kind // of handshake datagram that this end accepts; constant once running
	guard   guard     // constant once running
	bridge  *bridging // of a server with a TAP device, else nil; constant
	bufs    int       // size of a packet buffer, in bytes
	born    time.Time

	suspended    func() time.Duration // how long the host has been; constant once running
	rekeyPackets uint64               // how many packets a key protects; constant once running

	handshakes atomic.Int32  // handshake datagrams that wait for the sender
	retries    atomic.Int32  // RETRYs that do
	ports      atomic.Uint32 // how many there have been
	bodies     bodies        // of reports on their way between the loops
	unpaced    bool          // the scheduler does not want pacing; constant

	sender   sender   // owned by the sender goroutine
	receiver receiver // owned by the receiver goroutine
	notifier notifier // owned by the notifier goroutine
	life     life
}

// side is what differs between a client and a server. Its methods are called by the
// sender goroutine.
type side interface {
	// handshake deals with a handshake datagram that may be authentic: an INIT has the
	// right mac1 and a token.
	handshake(now time.Time, m *senderMsg)
	// route returns the sessions that a packet from the device goes to, appended to
	// dst.
	route(p *packet, dst []*Session) []*Session
	// learned is told that an inner address was seen to come from a session.
	learned(s *Session, from netip.Addr)
	// changed is told that a session has its first working path, or has lost its last.
	changed(s *Session, up bool)
	// failed is told that nothing came of a handshake.
	failed(now time.Time, s *Session)
	// rekeying returns with what another handshake with a session's peer is configured,
	// or an error if the peer is not let in any more.
	rekeying(s *Session) (crypto.HandshakeConfig, error)
	// ended is told that a session has been removed.
	ended(s *Session)
	// advance does what is due and returns when it wants to be called again; the zero
	// Time means not before something else happens.
	advance(now time.Time) time.Time
}

// life is the state of Run: which goroutines there are and how they end.
type life struct {
	mu      sync.Mutex // guards the following
	started bool
	ended   bool
	ports   map[*port]struct{}
	accept  map[*acceptor]struct{}
	carried map[*traffic]string // what was added and not removed, with its name
	first   error               // what ended Run

	cancel  context.CancelFunc // set when started
	ctx     context.Context
	readers sync.WaitGroup // device, port and listener readers
	loops   sync.WaitGroup // sender and receiver
}

// defaultMTU is assumed for a device that cannot tell.
const defaultMTU = 1500

func newEngine(cfg Config, s side) *engine {
	mtu, err := cfg.Device.MTU()
	if err != nil || mtu <= 0 {
		mtu = defaultMTU
	}
	e := &engine{
		cfg:   cfg,
		log:   cfg.logger(),
		side:  s,
		guard: newGuard(cfg.Local, nil),
		bufs:  max(2048, mtu+14+tun.Headroom+2*Overhead),
		born:  time.Now(),

		suspended:    suspend.Total,
		rekeyPackets: rekeyPackets,

		life: life{
			ports:   make(map[*port]struct{}),
			accept:  make(map[*acceptor]struct{}),
			carried: make(map[*traffic]string),
		},
		notifier: notifier{box: newMailbox[Event](), call: cfg.OnEvent},
	}
	_, e.unpaced = cfg.newScheduler().(scheduler.Unpaced)
	e.sender.init(e)
	e.receiver.init(e)
	return e
}

// stamp returns the sender's clock of a DATA frame: units of 100 microseconds, modulo
// 2^16 (SPEC.md, section 4.1).
func (e *engine) stamp(now time.Time) uint16 {
	return uint16(now.Sub(e.born) / stampUnit)
}

const stampUnit = 100 * time.Microsecond

// run is Client.Run and Server.Run: the one place that starts goroutines.
func (e *engine) run(ctx context.Context) error {
	l := &e.life
	l.mu.Lock()
	if l.started {
		l.mu.Unlock()
		return errRunning
	}
	l.started = true
	l.ctx, l.cancel = context.WithCancel(ctx)
	jobs := make(chan func() func(time.Time), maxJobs)
	e.sender.jobs = jobs
	for p := range l.ports {
		e.startPort(p)
	}
	for a := range l.accept {
		e.startAcceptor(a)
	}
	l.mu.Unlock()

	notified := make(chan struct{})
	var notifying sync.WaitGroup
	notifying.Go(func() { e.notifier.run(notified) })
	l.readers.Go(e.readDevice)
	l.loops.Go(func() { e.receiver.run(l.ctx) })
	l.loops.Go(func() { e.sender.run(l.ctx) })
	l.loops.Go(func() { e.sender.workOff(l.ctx, jobs) })

	<-l.ctx.Done()
	// The sender says goodbye over the links before they are closed. Closing is what
	// ends the readers.
	<-e.sender.done
	l.mu.Lock()
	l.ended = true
	err := l.first
	for p := range l.ports {
		p.close()
	}
	for a := range l.accept {
		a.l.Close()
	}
	l.mu.Unlock()
	e.cfg.Device.Close()
	l.readers.Wait()
	l.loops.Wait()
	close(notified)
	notifying.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

// fail ends Run with err, unless it is ending already.
func (e *engine) fail(err error) {
	l := &e.life
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil && l.ctx.Err() == nil {
		l.first = err
	}
	l.cancel()
}

// call runs fn on the sender goroutine and waits for it. Before Run it runs fn at
// once: nothing else touches the sender's state then.
func (e *engine) call(fn func(now time.Time)) error {
	l := &e.life
	l.mu.Lock()
	if !l.started {
		defer l.mu.Unlock()
		fn(time.Now())
		return nil
	}
	l.mu.Unlock()
	done := make(chan struct{})
	e.sender.box.put(senderMsg{kind: msgCall, call: func(now time.Time) {
		fn(now)
		close(done)
	}})
	select {
	case <-done:
		return nil
	case <-e.sender.done:
		return ErrClosed
	}
}

// callReceiver does the same on the receiver goroutine.
func (e *engine) callReceiver(fn func()) error {
	l := &e.life
	l.mu.Lock()
	if !l.started {
		defer l.mu.Unlock()
		fn()
		return nil
	}
	l.mu.Unlock()
	done := make(chan struct{})
	e.receiver.box.put(func(time.Time) {
		fn()
		close(done)
	})
	select {
	case <-done:
		return nil
	case <-e.receiver.done:
		return ErrClosed
	}
}

// readDevice is the device's reader goroutine.
func (e *engine) readDevice() {
	dev := e.cfg.Device
	// Two batches: one is filled while the sender works on the other.
	free := make(chan *deviceBatch, 2)
	for range cap(free) {
		free <- e.newDeviceBatch(dev.BatchSize(), free)
	}
	failures := 0 // in a row
	for {
		b := <-free
		n, err := dev.Read(b.bufs, b.sizes, tun.Headroom)
		if n > 0 {
			failures = 0
			b.n = n
			select {
			case e.sender.packets <- b:
			case <-e.sender.done:
				return
			}
		} else {
			free <- b
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed):
			e.fail(errDeviceClosed)
			return
		case failures == maxDeviceFailures:
			e.fail(fmt.Errorf("mlvpn: reading from the tunnel device: %w", err))
			return
		default:
			// Foreign devices report single bad packets as errors, too.
			if failures++; failures == 1 {
				e.log.Warn("reading from the tunnel device failed, trying again", "err", err)
			}
			select {
			case <-time.After(readRetry):
			case <-e.sender.done:
				return
			}
		}
	}
}

const (
	// readRetry is the pause after a failed read.
	readRetry = 100 * time.Millisecond
	// maxDeviceFailures is after how many failures in a row the device is given up.
	maxDeviceFailures = 50
)

var errDeviceClosed = errors.New("mlvpn: the tunnel device was closed")

// A deviceBatch holds packets on their way from the device to the sender, which hands
// it back through free.
type deviceBatch struct {
	bufs  [][]byte
	sizes []int
	n     int
	free  chan<- *deviceBatch
}

func (e *engine) newDeviceBatch(n int, free chan<- *deviceBatch) *deviceBatch {
	return &deviceBatch{bufs: newBuffers(n, e.bufs), sizes: make([]int, n), free: free}
}

func newBuffers(n, size int) [][]byte {
	slab := make([]byte, n*size)
	bufs := make([][]byte, n)
	for i := range bufs {
		bufs[i] = slab[i*size : (i+1)*size : (i+1)*size]
	}
	return bufs
}

// newRand returns a generator for what must be unpredictable but need not be secret
// for long: probe echoes, indices, jitter.
func newRand() *mathrand.ChaCha8 {
	var seed [32]byte
	rand.Read(seed[:]) // never fails
	return mathrand.NewChaCha8(seed)
}

func randomUint32(r *mathrand.ChaCha8) uint32 {
	var b [4]byte
	r.Read(b[:])
	return binary.BigEndian.Uint32(b[:])
}
