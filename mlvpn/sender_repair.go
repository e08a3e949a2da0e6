package mlvpn

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/scheduler"
)

const (
	// repairFor is how old a packet may be to be sent again: the peer's reorder buffer
	// has given it up by then.
	repairFor = 300 * time.Millisecond
	// maxAttempts is how often a packet is sent again.
	maxAttempts = 4
	// maxRepairs bounds the packets that wait to be sent again.
	maxRepairs = 4096
)

// lost decides what becomes of a packet that was lost, and takes over its buffer.
func (s *sender) lost(now time.Time, ep *epoch, kept *sentPacket) {
	if kept.buf == nil {
		return
	}
	t := &ep.tx
	if now.Sub(kept.first) > repairFor || kept.attempts >= maxAttempts || t.repairs.len() >= maxRepairs {
		t.count.late++
		s.forget(kept)
		return
	}
	t.repairs.push(*kept)
	kept.buf = nil
	s.wake(ep.session)
}

// repair sends lost packets again, each by the path that delivers it soonest, and
// returns when to go on if it could not send all. What is lost again goes out twice.
func (s *sender) repair(now time.Time, ep *epoch) (resume time.Time) {
	t := &ep.tx
	for t.repairs.len() > 0 {
		p := t.repairs.at(0)
		if now.Sub(p.first) > repairFor {
			t.count.late++
			s.forget(p)
			t.repairs.pop()
			continue
		}
		q := scheduler.Packet{Size: p.size(), Class: scheduler.Interactive}
		d := t.sched.Pick(now, q, t.views, s.scratch.choice[:0])
		s.scratch.choice = d.To
		switch {
		case len(d.To) == 0 && d.Until.IsZero():
			t.count.late++
			s.forget(p)
			t.repairs.pop()
			continue
		case len(d.To) == 0:
			return d.Until
		case !s.reserve(now, ep, d.To, q.Size):
			return now.Add(refusedPause)
		}
		again := t.repairs.pop()
		again.attempts++
		again.flags |= wire.FlagRepair
		to := d.To[0]
		s.seal(now, t.active[to], again.data(), again)
		t.count.repaired++
		if other, ok := s.another(ep, to, q.Size); ok && again.attempts > 1 && s.room(now, t.active[other], q.Size) {
			copied := again
			copied.buf = nil
			s.sealCopy(now, t.active[other], again.data(), again.buf)
		}
	}
	return time.Time{}
}

// another returns a path for the copy of a packet that goes by path to.
func (s *sender) another(ep *epoch, to, size int) (view int, ok bool) {
	for i := range ep.tx.views {
		v := &ep.tx.views[i]
		if i == to || !v.Usable || v.Degraded || v.Tier != ep.tx.views[to].Tier || v.MTU > 0 && size > v.MTU {
			continue
		}
		if !ok || v.Delay < ep.tx.views[view].Delay {
			view, ok = i, true
		}
	}
	return view, ok
}

// A fifo is a queue of packets to be sent again.
type fifo struct {
	items []sentPacket
	head  int
}

func (f *fifo) len() int             { return len(f.items) - f.head }
func (f *fifo) at(i int) *sentPacket { return &f.items[f.head+i] }
func (f *fifo) push(p sentPacket) {
	if f.head > 0 && len(f.items) == cap(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, p)
}

func (f *fifo) pop() sentPacket {
	p := f.items[f.head]
	f.items[f.head] = sentPacket{}
	if f.head++; f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
	return p
}
