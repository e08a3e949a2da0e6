package linksim

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// direction carries datagrams over a Line, in the time of package time, to an inbox.
// A timer runs while datagrams are on their way, and no goroutine otherwise.
//
// Locks are taken in the order direction, Network, inbox, pool.
type direction struct {
	pool *pool
	mtu  atomic.Int64

	// The inbox at the far end, or the network that knows who is at address now.
	inbox   *inbox
	network *Network
	address netip.AddrPort

	mu     sync.Mutex
	line   *Line
	flight flight
	stats  Stats
	timer  *time.Timer
	armed  time.Time // when timer fires, zero if it has
	closed bool      // the far end is
}

func newDirection(l *Line, p *pool) *direction {
	d := &direction{line: l, pool: p}
	d.mtu.Store(int64(l.profile.mtu()))
	return d
}

func (d *direction) stream() uint64 { return d.line.stream }

func (d *direction) send(pkts [][]byte, from link.Addr) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	mtu := d.line.profile.mtu()
	for n < len(pkts) && len(pkts[n]) <= mtu {
		d.push(now, pkts[n], from)
		n++
	}
	d.deliver(now)
	if n < len(pkts) {
		return n, link.ErrTooLarge
	}
	return n, nil
}

func (d *direction) push(now time.Time, data []byte, from link.Addr) {
	d.stats.Sent++
	d.stats.Bytes += uint64(len(data))
	fate := d.line.Push(now, len(data))
	switch fate.Verdict {
	case Lost:
		d.stats.Lost++
	case QueueFull:
		d.stats.QueueDropped++
	case Swallowed:
		d.stats.Swallowed++
	}
	d.stats.Duplicated += uint64(max(0, fate.Copies-1))
	for _, due := range fate.Due[:fate.Copies] {
		switch {
		case d.closed:
			d.stats.Swallowed++
		case d.flight.cost+len(data)+datagramCost > queueLimit:
			d.stats.QueueDropped++
		default:
			d.flight.add(due, d.pool.get(data, from))
		}
	}
}

// deliver hands over everything that is due, and sets the timer for what is not. The
// caller holds mu.
func (d *direction) deliver(now time.Time) {
	due, ok := d.flight.first()
	if ok && !due.After(now) {
		if in := d.destination(); in != nil {
			d.handOver(now, in)
		} else {
			for ; ok && !due.After(now); due, ok = d.flight.first() {
				d.stats.Swallowed++
				d.pool.put(d.flight.take())
			}
		}
		due, ok = d.flight.first()
	}
	if ok && (d.armed.IsZero() || due.Before(d.armed)) {
		d.arm(now, due)
	}
}

func (d *direction) handOver(now time.Time, in *inbox) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for due, ok := d.flight.first(); ok && !due.After(now); due, ok = d.flight.first() {
		dgram := d.flight.take()
		size := uint64(len(dgram.data))
		switch {
		case in.closed:
			d.stats.Swallowed++
			d.pool.put(dgram)
		case !in.put(dgram):
			d.stats.ReceiveDropped++
			d.pool.put(dgram)
		default:
			d.stats.Delivered++
			d.stats.DeliveredBytes += size
		}
	}
	in.arrived.Signal()
}

func (d *direction) destination() *inbox {
	if d.network == nil {
		return d.inbox
	}
	if s := d.network.socket(d.address); s != nil {
		return s.inbox
	}
	return nil
}

func (d *direction) arm(now, due time.Time) {
	d.armed = due
	if d.timer == nil {
		d.timer = time.AfterFunc(due.Sub(now), d.fire)
	} else {
		d.timer.Reset(due.Sub(now))
	}
}

func (d *direction) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = time.Time{}
	d.deliver(time.Now())
}

// close drops what is on its way, because the far end is closed.
func (d *direction) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.stats.Swallowed += uint64(len(d.flight.heap))
	d.flight = flight{}
	if d.timer != nil {
		d.timer.Stop()
		d.armed = time.Time{}
	}
}

func (d *direction) setProfile(p Profile) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.line.SetProfile(p)
	d.mtu.Store(int64(p.mtu()))
}

func (d *direction) setDown(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.line.profile.Down = down
}

func (d *direction) profile() Profile {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.line.profile
}

func (d *direction) counters() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}
