package linktest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// limits are the bounds of all waits of a case.
type limits struct {
	// call bounds a call that must return at once.
	call time.Duration
	// patience bounds the time without progress of something that must happen.
	patience time.Duration
	// quiet is how long a link that may lose datagrams must have delivered none, for
	// those that are missing to count as lost.
	quiet time.Duration
	// pause is a moment that lets other goroutines go on.
	pause time.Duration
}

func limitsFor(tr Traits) limits {
	if tr.Virtual {
		return limits{call: time.Minute, patience: 2 * time.Minute, quiet: 10 * time.Second, pause: 20 * time.Millisecond}
	}
	return limits{call: 2 * time.Second, patience: 3 * time.Second, quiet: 40 * time.Millisecond, pause: 20 * time.Millisecond}
}

// errLate says that a call did not return in time.
var errLate = errors.New("it had not returned")

// bounded calls f in a goroutine and waits for its result for at most d. A call that
// does not return is abandoned; a panic is an error.
func bounded[T any](d time.Duration, f func() T) (result T, err error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if r := recover(); r != nil {
				o.err = fmt.Errorf("panic: %v", r)
			}
			done <- o
		}()
		o.value = f()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.value, o.err
	case <-timer.C:
		return result, fmt.Errorf("%w after %v", errLate, d)
	}
}

// An end is one of the two links of a case, with every call bounded and its results
// checked.
type end struct {
	name   string
	l      link.Link
	mtu    int
	tr     Traits
	lim    limits
	closed bool
}

type sendResult struct {
	n   int
	err error
}

// send calls Send once. bad is the violation found in the call itself.
func (e *end) send(pkts [][]byte) (n int, err, bad error) {
	start := time.Now()
	r, bad := bounded(e.lim.call, func() sendResult {
		n, err := e.l.Send(pkts)
		return sendResult{n, err}
	})
	switch {
	case errors.Is(bad, errLate):
		return 0, nil, violated(sNoWait, "%s.Send of %d datagrams: %v", e.name, len(pkts), bad)
	case bad != nil:
		return 0, nil, violated(sTransmit, "%s.Send of %d datagrams: %v", e.name, len(pkts), bad)
	case e.tr.Virtual && time.Since(start) > 0:
		return 0, nil, violated(sNoWait, "%s.Send of %d datagrams took %v of virtual time", e.name, len(pkts), time.Since(start))
	case r.n < 0 || r.n > len(pkts):
		return 0, nil, violated(sCount, "%s.Send of %d datagrams returned n = %d", e.name, len(pkts), r.n)
	case r.n < len(pkts) && r.err == nil:
		return 0, nil, violated(sCount, "%s.Send of %d datagrams returned n = %d and no error", e.name, len(pkts), r.n)
	case r.n == len(pkts) && r.err != nil:
		return 0, nil, violated(sCount, "%s.Send handed on all %d datagrams, and returned the error %q", e.name, len(pkts), r.err)
	}
	return r.n, r.err, nil
}

// sendAll sends all of pkts, and again what the link had no room for.
func (e *end) sendAll(pkts [][]byte) error {
	progress := time.Now()
	for len(pkts) > 0 {
		n, err, bad := e.send(pkts)
		if bad != nil {
			return bad
		}
		if err != nil && !errors.Is(err, link.ErrFull) {
			return violated(sTransmit, "%s.Send refused a datagram of %d bytes: %v", e.name, len(pkts[n]), err)
		}
		if n > 0 {
			progress = time.Now()
		}
		pkts = pkts[n:]
		if err != nil {
			if time.Since(progress) > e.lim.patience {
				return violated(sFull, "%s.Send took nothing for %v while the peer was receiving", e.name, e.lim.patience)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// close calls Close, for the first time or again.
func (e *end) close() error {
	sentence := sClose
	if e.closed {
		sentence = sTwice
	}
	e.closed = true
	err, bad := bounded(e.lim.call, e.l.Close)
	if bad != nil {
		return violated(sentence, "%s.Close: %v", e.name, bad)
	}
	if err != nil && sentence == sTwice {
		return violated(sentence, "%s.Close failed when called again: %v", e.name, err)
	}
	return nil
}

// canary fills memory that must not change.
const canary = 0x5a

// A pump calls Receive until the link is closed, with new buffers each time, and
// watches over them.
type pump struct {
	e     *end
	done  chan struct{}
	ready chan struct{} // holds an element when queue or err may have changed

	mu    sync.Mutex // guards the following
	queue [][]byte
	err   error // violation
	end   error // what ended the pump, if not a violation
	stop  bool
}

// startPump starts a pump with n buffers of size bytes in each call.
func (e *end) startPump(n, size int) *pump {
	p := &pump{e: e, done: make(chan struct{}), ready: make(chan struct{}, 1)}
	go p.run(n, size)
	return p
}

func (p *pump) run(n, size int) {
	defer close(p.done)
	defer p.wake()
	defer func() {
		if r := recover(); r != nil {
			p.fail(violated(sReceive, "%s.Receive: panic: %v", p.e.name, r))
		}
	}()
	const slack = 16
	var old []byte // memory of the previous call
	for {
		slab := make([]byte, n*(size+slack))
		for i := range slab {
			slab[i] = canary
		}
		bufs, sizes := make([][]byte, n), make([]int, n)
		for i := range bufs {
			bufs[i] = slab[i*(size+slack):][:size] // its capacity invites to write beyond
			sizes[i] = -1
		}
		got, err := p.e.l.Receive(bufs, sizes)
		if !intact(old) {
			p.fail(violated(sKeep, "%s.Receive wrote to a buffer of an earlier call", p.e.name))
			return
		}
		if bad := p.take(bufs, sizes, got, err); bad != nil {
			p.fail(bad)
			return
		}
		for i := range bufs {
			if !intact(slab[i*(size+slack)+size:][:slack]) {
				p.fail(violated(sReceive, "%s.Receive wrote behind the end of a buffer of %d bytes", p.e.name, size))
				return
			}
		}
		for i := range slab {
			slab[i] = canary
		}
		old = slab
		if err != nil && p.over(err) {
			return
		}
	}
}

// take queues copies of what Receive has stored.
func (p *pump) take(bufs [][]byte, sizes []int, got int, err error) error {
	switch {
	case got < 0 || got > len(bufs):
		return violated(sReceive, "%s.Receive with %d buffers returned n = %d", p.e.name, len(bufs), got)
	case got == 0 && err == nil:
		return violated(sReceive, "%s.Receive returned n = 0 and no error", p.e.name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range got {
		if sizes[i] > len(bufs[i]) {
			return violated(sShort, "%s.Receive returned sizes[%d] = %d for a buffer of %d bytes", p.e.name, i, sizes[i], len(bufs[i]))
		}
		if sizes[i] < 0 {
			return violated(sReceive, "%s.Receive returned n = %d and did not set sizes[%d]", p.e.name, got, i)
		}
		p.queue = append(p.queue, append([]byte{}, bufs[i][:sizes[i]]...))
	}
	p.wake()
	return nil
}

// over reports whether err is the end of the link. After other errors it pauses, so
// that a link that does nothing but fail does not keep the processor.
func (p *pump) over(err error) bool {
	final := errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF)
	if !final {
		time.Sleep(p.e.lim.pause)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if final || p.stop {
		p.end = err
	}
	return p.end != nil
}

func (p *pump) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *pump) wake() {
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

// next returns the next datagram, or nil if none came within d.
func (p *pump) next(d time.Duration) ([]byte, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		p.mu.Lock()
		if len(p.queue) > 0 {
			b := p.queue[0]
			p.queue = p.queue[1:]
			p.mu.Unlock()
			return b, nil
		}
		err, end := p.err, p.end
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if end != nil {
			return nil, violated(sReceive, "%s.Receive ended with the error %q, while both links were open", p.e.name, end)
		}
		select {
		case <-p.ready:
		case <-timer.C:
			return nil, nil
		}
	}
}

// finish waits for the pump of a closed link.
func (p *pump) finish() error {
	p.mu.Lock()
	p.stop = true
	p.mu.Unlock()
	timer := time.NewTimer(p.e.lim.call)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		return violated(sRecvClosed, "%s.Receive had not returned %v after Close", p.e.name, p.e.lim.call)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func intact(b []byte) bool {
	for _, c := range b {
		if c != canary {
			return false
		}
	}
	return true
}
