package mlvpn

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/flow"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/tun"
)

// ingest takes the packets out of a device batch, which gets other buffers for them,
// and hands the batch back.
func (s *sender) ingest(b *deviceBatch) {
	p := &s.scratch.packet
	for i, size := range b.sizes[:b.n] {
		if size == 0 {
			continue
		}
		*p = packet{buf: b.bufs[i][:tun.Headroom+size]}
		b.bufs[i] = s.bufs.get()
		s.classify.classify(p, s.scratch.emit)
	}
	b.free <- b
}

// emit queues a packet for each session that it is for, and takes its buffer over.
func (s *sender) emit(p *packet) {
	to := s.e.side.route(p, s.scratch.routes[:0])
	s.scratch.routes = to
	if len(to) == 0 {
		s.count.noRoute++
		s.bufs.put(p.buf)
		return
	}
	last := len(to) - 1
	for _, ses := range to[:last] {
		dup := *p
		dup.buf = append(s.bufs.get()[:0], p.buf...)
		s.enqueue(ses, dup)
	}
	s.enqueue(to[last], *p)
}

// enqueue queues a packet for one session, or drops it.
func (s *sender) enqueue(ses *Session, p packet) {
	if !ses.tx.live() {
		ses.tx.count.noLink++
		s.bufs.put(p.buf)
		return
	}
	p.seed = ses.tx.current.tx.seed
	q := s.apply(ses, &p)
	if q == nil {
		ses.tx.count.ruled++
		s.bufs.put(p.buf)
		return
	}
	if !q.push(p) {
		ses.tx.count.queueFull++
		s.bufs.put(p.buf)
		return
	}
	s.wake(ses)
}

// transmit moves packets from a session's queues to its paths, as far as the scheduler
// lets them go.
func (s *sender) transmit(now time.Time, ses *Session) {
	t := &ses.tx
	t.resume = time.Time{}
	if t.current == nil {
		return
	}
	for _, p := range t.pinned {
		s.drain(now, ses, &p.queue, p.link)
	}
	s.drain(now, ses, &t.queue, "")
}

// drain does so for one queue, whose packets are kept to a link if only is not empty.
func (s *sender) drain(now time.Time, ses *Session, from *queue, only string) {
	t, ep := &ses.tx, ses.tx.current
	blocked := 0
	for head := from.head(); head != nil; head = from.head() {
		q := schedulerPacket(ep, head)
		if only != "" {
			q.Only = ep.named(only)
		}
		d := ep.tx.sched.Pick(now, q, ep.tx.views, s.scratch.choice[:0])
		if len(d.To) == 0 && d.Until.IsZero() && q.Only != 0 {
			q.Only = 0 // better by another link than not at all
			d = ep.tx.sched.Pick(now, q, ep.tx.views, s.scratch.choice[:0])
		}
		s.scratch.choice = d.To
		if len(d.To) == 0 {
			if d.Until.IsZero() {
				// No path can carry this packet, perhaps none at all.
				p := from.pop()
				s.bufs.put(p.buf)
				if t.live() {
					t.count.tooLarge++
				} else {
					t.count.noLink++
				}
				continue
			}
			t.resumeAt(d.Until)
			return
		}
		if !s.reserve(now, ep, d.To, q.Size) {
			// The links are full, and their paths rest. Others may not.
			if blocked++; blocked > len(ep.tx.views) {
				t.resumeAt(now.Add(refusedPause))
				return
			}
			continue
		}
		for run := max(d.Run, 1); ; {
			s.send(now, ep, from.pop(), d.To)
			if run--; run == 0 {
				break
			}
			next := from.head()
			if next == nil || next.class != q.Class || int(next.copies) != q.Copies || next.size()+ep.tx.overhead > q.Size || !s.reserve(now, ep, d.To, q.Size) {
				break
			}
		}
	}
}

// resumeAt sets when the scheduler is asked again, unless that is earlier anyway.
func (t *sessionSender) resumeAt(at time.Time) {
	if t.resume.IsZero() || at.Before(t.resume) {
		t.resume = at
	}
}

// reserve reports whether at least one of the chosen paths has room for a packet.
func (s *sender) reserve(now time.Time, ep *epoch, to []int, size int) (ok bool) {
	for _, view := range to {
		ok = s.room(now, ep.tx.active[view], size) || ok
	}
	return ok
}

func schedulerPacket(ep *epoch, p *packet) scheduler.Packet {
	return scheduler.Packet{Size: p.size() + ep.tx.overhead, Class: p.class, Flow: p.flowHash(ep.tx.seed), Copies: int(p.copies)}
}

// send seals a packet for each of the chosen paths.
func (s *sender) send(now time.Time, ep *epoch, p packet, to []int) {
	d := wire.Data{Stamp: ep.tx.stamp, Time: s.e.stamp(now)}
	ep.tx.stamp = (ep.tx.stamp + 1) & wire.MaxStamp
	d.Flags = d.Flags.WithECN(p.info.ECN)
	if p.ordered {
		bucket := flow.Bucket(p.flowHash(ep.tx.seed), flowBuckets)
		d.Flags |= wire.FlagOrdered
		d.Order = ep.tx.orders[bucket]
		ep.tx.orders[bucket]++
	}
	for _, view := range to {
		s.seal(now, ep.tx.active[view], d, p.buf)
		d.Flags |= wire.FlagRepair // all but the first are copies
	}
	s.bufs.put(p.buf)
}

// seal puts one DATA frame into a path's outbox.
func (s *sender) seal(now time.Time, p *pathState, d wire.Data, buf []byte) {
	t := &p.tx
	size := len(buf) - tun.Headroom + p.epoch.tx.overhead
	if !s.room(now, p, size) {
		t.count.refused++
		return
	}
	start := len(t.out.slab)
	out, err := t.seal.sealData(t.out.slab, d, buf)
	if err != nil {
		s.exhausted(now, p, err)
		return
	}
	t.out.slab = out
	t.out.pkts = append(t.out.pkts, out[start:])
	t.count.packets++
	t.count.bytes += uint64(size)
	t.rate.Add(now, size)
	t.pacer.Sent(now, size)
	v := &p.epoch.tx.views[t.view]
	if at := t.pacer.Ready(); v.Ready.Before(at) {
		v.Ready = at // unless the link is full for longer than that
	}
	p.epoch.tx.sched.Sent(now, v.ID, size)
}

// room makes sure that size bytes fit in the path's outbox, and marks it for flush.
func (s *sender) room(now time.Time, p *pathState, size int) bool {
	out := &p.tx.out
	if out.slab == nil {
		out.slab = s.slabs.get()[:0]
	}
	if len(out.slab)+size > cap(out.slab) {
		s.flushPath(now, p)
		if out.slab == nil {
			out.slab = s.slabs.get()[:0]
		} else if len(out.slab)+size > cap(out.slab) {
			return false
		}
	}
	s.mark(p)
	return true
}

// mark puts a path on the list of those to flush.
func (s *sender) mark(p *pathState) {
	if !p.tx.marked {
		p.tx.marked = true
		s.dirty = append(s.dirty, p)
	}
}
