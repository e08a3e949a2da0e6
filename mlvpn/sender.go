package mlvpn

import (
	"context"
	"encoding/binary"
	mathrand "math/rand/v2"
	"time"

	"github.com/multilink-vpn/multilink/internal/path"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/tun"
)

// The sender is one goroutine. A packet from the device passes, in this order:
// ingest (classified, routed to a session, queued), transmit (a path is chosen),
// seal (into the path's outbox), flush (handed to the link). Messages and timers are
// dealt with before packets.
type sender struct {
	e    *engine
	done chan struct{} // closed when the sender has ended

	box     mailbox[senderMsg]
	packets chan *deviceBatch

	classify classifier
	sessions map[*Session]struct{}
	timers   timers[*Session]
	work     []*Session   // sessions whose queue may move
	dirty    []*pathState // paths whose outbox is to be flushed
	bufs     pool
	slabs    pool
	rng      *mathrand.ChaCha8
	indices  map[uint32]struct{} // our receiver indices in use
	count    senderCounters

	scratch struct {
		packet packet
		emit   func(*packet)
		choice []int
		routes []*Session
		msgs   []senderMsg
	}
}

// slabSize bounds what is handed to a link at once: the largest segmented send.
const slabSize = 64 << 10

func (s *sender) init(e *engine) {
	s.e = e
	s.done = make(chan struct{})
	s.box = newMailbox[senderMsg]()
	s.packets = make(chan *deviceBatch)
	s.classify = flowClassifier{ethernet: e.cfg.Ethernet}
	s.scratch.emit = s.emit
	s.sessions = make(map[*Session]struct{})
	s.bufs.size, s.slabs.size = e.bufs, slabSize
	s.rng = newRand()
	s.indices = make(map[uint32]struct{})
}

func (s *sender) run(ctx context.Context) {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case b := <-s.packets:
			s.ingest(b)
		case <-s.box.wake:
		case <-timer.C:
		case <-ctx.Done():
			s.goodbye(time.Now())
			return
		}
		// The clock is read once per turn.
		now := time.Now()
		s.scratch.msgs = s.box.take(s.scratch.msgs)
		for i := range s.scratch.msgs {
			s.handle(now, &s.scratch.msgs[i])
		}
		next := s.e.side.advance(now)
		for {
			ses, ok := s.timers.due(now)
			if !ok {
				break
			}
			s.tick(now, ses)
		}
		for _, ses := range s.work {
			ses.tx.working = false
			s.transmit(now, ses)
			s.reschedule(now, ses)
		}
		s.work = s.work[:0]
		s.flush(now)
		if at, ok := s.timers.next(); ok && (next.IsZero() || at.Before(next)) {
			next = at
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

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
	switch {
	case !ses.tx.live():
		ses.tx.count.noLink++
		s.bufs.put(p.buf)
	case !ses.tx.queue.push(p):
		ses.tx.count.queueFull++
		s.bufs.put(p.buf)
	default:
		s.wake(ses)
	}
}

// wake puts a session on the list of those whose queue may move.
func (s *sender) wake(ses *Session) {
	if !ses.tx.working {
		ses.tx.working = true
		s.work = append(s.work, ses)
	}
}

// handle deals with one message.
func (s *sender) handle(now time.Time, m *senderMsg) {
	switch m.kind {
	case msgCall:
		m.call(now)
		return
	case msgHandshake:
		s.e.handshakes.Add(-1)
		s.e.side.handshake(now, m)
		return
	case msgPortGone:
		s.portGone(now, m.port, m.err)
		return
	}
	p := m.path
	ses := p.epoch.session
	if !ses.tx.has(p.epoch) {
		return // of a session or an epoch that has ended since
	}
	switch m.kind {
	case msgHeard:
		s.heard(now, p, m)
	case msgPing:
		if p.tx.monitor != nil {
			s.control(now, p, &control{has: hasPong, pong: wire.Pong{Echo: m.ping.Echo, Received: m.received, Highest: m.highest}})
		}
	case msgPong:
		s.answered(now, p, m)
	case msgInfo:
		s.told(now, p, m.info)
	case msgClose:
		s.e.log.Info("the peer has closed the session", "peer", ses.peer, "reason", m.closing.Reason)
		s.closed(now, ses, m.closing)
	case msgLearned:
		s.e.side.learned(ses, m.learned)
	}
}

// tick does what is due for a session.
func (s *sender) tick(now time.Time, ses *Session) {
	if !s.expire(now, ses) {
		s.end(ses)
		return
	}
	for _, ep := range ses.tx.epochs() {
		for _, p := range ep.tx.active {
			if p.tx.monitor.Advance(now, p.rto()) {
				s.probe(now, p)
			}
			s.noteState(now, p, "no answer")
			if len(p.tx.out.waiting()) > 0 {
				s.mark(p)
			}
		}
	}
	s.wake(ses)
}

// reschedule sets the session's timer to its earliest deadline.
func (s *sender) reschedule(now time.Time, ses *Session) {
	if _, ok := s.sessions[ses]; !ok {
		return
	}
	t := &ses.tx
	next := t.resume
	sooner := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for _, ep := range t.epochs() {
		for _, p := range ep.tx.active {
			sooner(p.tx.monitor.Next(p.rto()))
			if !p.tx.out.since.IsZero() {
				sooner(now.Add(refusedPause))
			}
		}
	}
	if len(t.pending) > 0 {
		sooner(t.pending[0].expires)
	}
	if t.previous != nil {
		sooner(t.previous.expires)
	}
	if t.current != nil && !t.live() {
		sooner(t.down.Add(lingerFor))
	}
	s.timers.set(ses, next)
}

// transmit moves packets from a session's queue to its paths, as far as the scheduler
// lets them go.
func (s *sender) transmit(now time.Time, ses *Session) {
	t := &ses.tx
	t.resume = time.Time{}
	ep := t.current
	if ep == nil {
		return
	}
	blocked := 0
	for head := t.queue.head(); head != nil; head = t.queue.head() {
		q := schedulerPacket(ep, head)
		d := ep.tx.sched.Pick(now, q, ep.tx.views, s.scratch.choice[:0])
		s.scratch.choice = d.To
		if len(d.To) == 0 {
			if d.Until.IsZero() {
				// No path can carry this packet, perhaps none at all.
				p := t.queue.pop()
				s.bufs.put(p.buf)
				if t.live() {
					t.count.tooLarge++
				} else {
					t.count.noLink++
				}
				continue
			}
			t.resume = d.Until
			return
		}
		if !s.reserve(now, ep, d.To, q.Size) {
			// The links are full, and their paths rest. Others may not.
			if blocked++; blocked > len(ep.tx.views) {
				t.resume = now.Add(refusedPause)
				return
			}
			continue
		}
		for run := max(d.Run, 1); ; {
			s.send(now, ep, t.queue.pop(), d.To)
			if run--; run == 0 {
				break
			}
			next := t.queue.head()
			if next == nil || next.class != q.Class || next.size()+Overhead > q.Size || !s.reserve(now, ep, d.To, q.Size) {
				break
			}
		}
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
	return scheduler.Packet{Size: p.size() + Overhead, Class: p.class, Flow: p.info.Hash(ep.tx.seed)}
}

// send seals a packet for each of the chosen paths.
func (s *sender) send(now time.Time, ep *epoch, p packet, to []int) {
	d := wire.Data{Stamp: ep.tx.stamp, Time: s.e.stamp(now)}
	ep.tx.stamp = (ep.tx.stamp + 1) & wire.MaxStamp
	d.Flags = d.Flags.WithECN(p.info.ECN)
	if p.ordered {
		bucket := p.info.Bucket(ep.tx.seed, flowBuckets)
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
	size := len(buf) - tun.Headroom + Overhead
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

// control seals a datagram of control messages into a path's outbox.
func (s *sender) control(now time.Time, p *pathState, c *control) {
	t := &p.tx
	if !s.room(now, p, maxControl) {
		t.count.refused++
		return
	}
	start := len(t.out.slab)
	out, err := t.seal.sealControl(t.out.slab, c)
	if err != nil {
		s.exhausted(now, p, err)
		return
	}
	t.out.slab = out
	t.out.pkts = append(t.out.pkts, out[start:])
	t.count.control++
}

// maxControl bounds a control datagram, in bytes.
const maxControl = 256

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

// probe sends a PING, with what the peer should know of the path until it has
// answered once.
func (s *sender) probe(now time.Time, p *pathState) {
	var echo [8]byte
	s.rng.Read(echo[:])
	c := control{has: hasPing, ping: wire.Ping{Echo: binary.BigEndian.Uint64(echo[:])}}
	if !p.tx.known && p.tx.port.id != 0 {
		c.has |= hasInfo
		c.info = wire.PathInfo{Name: p.tx.cfg.Name, Weight: p.tx.cfg.PeerBandwidth}
		if p.tx.cfg.Fallback {
			c.info.Tier = 1
		}
	}
	p.tx.probes.add(c.ping.Echo, now)
	p.tx.monitor.Probed(now)
	s.control(now, p, &c)
}

// goodbye tells all peers that this end stops. Nothing answers any more, so it is
// said more than once.
func (s *sender) goodbye(now time.Time) {
	for ses := range s.sessions {
		s.sendClose(now, ses, wire.ReasonShutdown)
	}
}

// lastWords is how often something is said that nobody will ask for again.
const lastWords = 3

func (s *sender) sendClose(now time.Time, ses *Session, reason wire.Reason) {
	c := control{has: hasClose, closing: wire.Close{Reason: reason}}
	for _, ep := range ses.tx.epochs() {
		for _, p := range ep.tx.active {
			if p.tx.monitor.State() == path.Down {
				continue
			}
			for range lastWords {
				s.control(now, p, &c)
			}
			s.flushPath(now, p)
		}
	}
}
