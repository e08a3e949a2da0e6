package mlvpn

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/flow"
	"github.com/multilink-vpn/multilink/internal/fq"
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
		s.enqueue(s.now, ses, dup)
	}
	s.enqueue(s.now, to[last], *p)
}

// enqueue queues a packet for one session, or drops it.
func (s *sender) enqueue(now time.Time, ses *Session, p packet) {
	t := &ses.tx
	if !t.live() {
		t.count.noLink++
		s.bufs.put(p.buf)
		return
	}
	p.seed = t.current.tx.seed
	if !s.apply(ses, &p) {
		t.count.ruled++
		s.bufs.put(p.buf)
		return
	}
	if t.queue == nil {
		t.queue = s.newQueue(ses)
	}
	t.push(now, p)
	s.wake(ses)
}

// transmit moves packets from a session's queue to its paths, as far as the scheduler
// lets them go: first what was lost, then flow by flow. A flow that has to wait does not
// hold up others.
func (s *sender) transmit(now time.Time, ses *Session) {
	t := &ses.tx
	t.resume = time.Time{}
	ep := t.current
	if ep == nil {
		return
	}
	s.pay(now, ep)
	if d := &ep.tx.debt; d.body != nil {
		t.resumeAt(d.due)
	}
	if t.queue == nil {
		return
	}
	t.resumeAt(s.repair(now, ep))
	t.queue.Begin(now)
	for {
		if at := ep.tx.ready(now); at.After(now) {
			if t.queue.Len() > 0 {
				t.resumeAt(at)
			}
			return
		}
		head, ok := t.queue.Head(now)
		if !ok {
			return
		}
		if !s.dispatch(now, ses, head) {
			t.queue.Skip()
		}
	}
}

// ready returns when the first path can take a packet, at the latest now if there is no
// usable one.
func (t *epochSender) ready(now time.Time) (at time.Time) {
	for i := range t.views {
		v := &t.views[i]
		switch {
		case !v.Usable:
		case !v.Ready.After(now):
			return now
		case at.IsZero() || v.Ready.Before(at):
			at = v.Ready
		}
	}
	return at
}

// dispatch sends the packet at the head of the queue, and those that follow it on the same
// way, or drops it. It reports false if the packet has to wait.
func (s *sender) dispatch(now time.Time, ses *Session, head *packet) bool {
	t, ep := &ses.tx, ses.tx.current
	q := question(ep, t.queue, head)
	only := head.only
	if only != "" {
		q.Only = ep.named(only)
	}
	d := ep.tx.sched.Pick(now, q, ep.tx.views, s.scratch.choice[:0])
	if len(d.To) == 0 && d.Until.IsZero() && q.Only != 0 {
		q.Only = 0 // better by another link than not at all
		d = ep.tx.sched.Pick(now, q, ep.tx.views, s.scratch.choice[:0])
	}
	s.scratch.choice = d.To
	switch {
	case len(d.To) > 0:
	case d.Until.IsZero():
		// No path can carry this packet, perhaps none at all.
		s.bufs.put(t.queue.Take().buf)
		if t.live() {
			t.count.tooLarge++
		} else {
			t.count.noLink++
		}
		return true
	default:
		t.resumeAt(d.Until)
		return false
	}
	for run := max(d.Run, 1); ; {
		if !s.reserve(now, ep, d.To, q.Size) {
			// The links are full, and their paths rest.
			t.resumeAt(now.Add(refusedPause))
			return false
		}
		s.send(now, ep, t.queue.Take(), d.To)
		if run--; run == 0 {
			return true
		}
		next, ok := t.queue.Head(now)
		if !ok || next.class != q.Class || next.equal != q.Equal || next.only != only ||
			int(next.copies) != q.Copies || next.size()+Overhead > q.Size {
			return true
		}
	}
}

// resumeAt sets when the scheduler is asked again, unless that is earlier anyway. The
// zero Time means that it need not be.
func (t *sessionSender) resumeAt(at time.Time) {
	if !at.IsZero() && (t.resume.IsZero() || at.Before(t.resume)) {
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

// question is what the scheduler is asked about a packet.
func question(ep *epoch, from *fq.Queue[packet], p *packet) scheduler.Packet {
	return scheduler.Packet{
		Size:    p.size() + ep.tx.overhead,
		Class:   p.class,
		Flow:    p.flowHash(ep.tx.seed),
		Equal:   p.equal,
		Copies:  int(p.copies),
		Backlog: from.Bytes() - p.size(),
	}
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
	if p.equal && ep.tx.even.hold.Equal {
		d.Flags |= wire.FlagHold
	}
	for _, view := range to[1:] {
		c := d
		c.Flags |= wire.FlagRepair // all but the first are copies
		if path := ep.tx.active[view]; s.sealCopy(now, path, c, p.buf) {
			ep.tx.count.copied++
		}
	}
	s.seal(now, ep.tx.active[to[0]], d, sentPacket{
		buf: p.buf, first: now, stamp: d.Stamp, order: d.Order, time: d.Time, flags: d.Flags,
	})
}

// seal puts one DATA frame into a path's outbox, and its packet into the path's books,
// which take over its buffer.
func (s *sender) seal(now time.Time, p *pathState, d wire.Data, kept sentPacket) {
	if !s.sealFrame(now, p, d, kept.buf, kept) {
		s.forget(&kept)
	}
}

// sealCopy puts a copy of a DATA frame into a path's outbox, and leaves buf alone.
func (s *sender) sealCopy(now time.Time, p *pathState, d wire.Data, buf []byte) bool {
	return s.sealFrame(now, p, d, buf, sentPacket{})
}

func (s *sender) sealFrame(now time.Time, p *pathState, d wire.Data, buf []byte, kept sentPacket) bool {
	t := &p.tx
	size := len(buf) - tun.Headroom + p.epoch.tx.overhead
	report := s.along(p, size, cap(buf)-len(buf))
	if report != nil {
		size += len(report) + wire.FrameOverhead + wire.LengthSize
	}
	if !s.room(now, p, size) {
		t.count.refused++
		return false
	}
	start, number := len(t.out.slab), t.seal.number()
	out, err := t.seal.sealData(t.out.slab, d, buf, report)
	if err != nil {
		s.exhausted(now, p, err)
		return false
	}
	if report != nil {
		s.paid(p.epoch)
	}
	t.out.slab = out
	t.out.pkts = append(t.out.pkts, out[start:])
	t.count.packets++
	t.count.bytes += uint64(size)
	t.rate.Add(now, size)
	s.note(now, p, number, size, false, kept)
	p.epoch.tx.sched.Sent(now, p.epoch.tx.views[t.view].ID, size)
	return true
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
