package linksim

import (
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

const (
	// queueLimit bounds the datagrams on their way in one direction, and those that
	// wait in one receive queue, in bytes.
	queueLimit = 64 << 20

	// datagramCost is what an empty datagram counts towards queueLimit.
	datagramCost = 256

	bufferSize = 2048
	poolLimit  = 4096
)

// A datagram is a copy of what was sent, on its way or waiting to be received.
type datagram struct {
	data []byte
	from link.Addr
	next *datagram // in the pool
}

func (d *datagram) cost() int { return len(d.data) + datagramCost }

// pool keeps up to poolLimit datagrams for reuse.
type pool struct {
	mu   sync.Mutex
	free *datagram
	n    int
}

// get returns a datagram with a copy of data.
func (p *pool) get(data []byte, from link.Addr) *datagram {
	p.mu.Lock()
	d := p.free
	if d != nil {
		p.free, d.next = d.next, nil
		p.n--
	}
	p.mu.Unlock()
	if d == nil {
		d = new(datagram)
	}
	if cap(d.data) < len(data) {
		d.data = make([]byte, 0, max(len(data), bufferSize))
	}
	d.data = append(d.data[:0], data...)
	d.from = from
	return d
}

func (p *pool) put(d *datagram) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n < poolLimit {
		d.next, p.free = p.free, d
		p.n++
	}
}

// flight is the datagrams on their way, a heap by time of arrival. Those that arrive
// at the same time stay in the order in which they were added.
type flight struct {
	heap  []arrival
	added uint64
	cost  int
}

type arrival struct {
	due   time.Time
	order uint64
	dgram *datagram
}

func (a *arrival) before(b *arrival) bool {
	if c := a.due.Compare(b.due); c != 0 {
		return c < 0
	}
	return a.order < b.order
}

// first returns when the next datagram arrives, if there is one.
func (f *flight) first() (due time.Time, ok bool) {
	if len(f.heap) == 0 {
		return time.Time{}, false
	}
	return f.heap[0].due, true
}

func (f *flight) add(due time.Time, d *datagram) {
	f.cost += d.cost()
	f.added++
	a := arrival{due, f.added, d}
	f.heap = append(f.heap, a)
	h, i := f.heap, len(f.heap)-1
	for i > 0 {
		up := (i - 1) / 2
		if !a.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = a
}

// take removes and returns the datagram that arrives first. There must be one.
func (f *flight) take() *datagram {
	d := f.heap[0].dgram
	f.cost -= d.cost()
	last := len(f.heap) - 1
	a := f.heap[last]
	f.heap[last] = arrival{}
	f.heap = f.heap[:last]
	if last == 0 {
		return d
	}
	h, i := f.heap, 0
	for {
		down := 2*i + 1
		if down >= last {
			break
		}
		if right := down + 1; right < last && h[right].before(&h[down]) {
			down = right
		}
		if !h[down].before(&a) {
			break
		}
		h[i] = h[down]
		i = down
	}
	h[i] = a
	return d
}
