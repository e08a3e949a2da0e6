package mlvpn

import (
	"context"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/internal/path"
	"github.com/multilink-vpn/multilink/internal/wire"
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
	jobs    chan<- func() func(now time.Time) // of the worker; nil before Run

	classify classifier
	rules    []Rule
	now      time.Time // of this turn
	sessions map[*Session]struct{}
	timers   timers[*Session]
	work     []*Session   // sessions whose queue may move
	dirty    []*pathState // paths whose outbox is to be flushed
	bufs     pool
	slabs    pool
	rng      *mathrand.ChaCha8
	indices  map[uint32]struct{} // our receiver indices in use
	count    senderCounters
	slept    time.Duration // how long the host has been suspended
	sleptAt  time.Time     // when that was asked last

	scratch struct {
		packet packet
		emit   func(*packet)
		choice []int
		order  []int
		report wire.LinkReport
		forget func(*sentPacket)
		routes []*Session
		msgs   []senderMsg

		relayed []relayed
		from    *Session // where a packet that is being relayed comes from

		control []byte // a datagram that goes past a path's outbox
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
	s.rules = slices.Clone(e.cfg.Rules)
	s.scratch.emit = s.emit
	s.scratch.forget = s.forget
	s.sessions = make(map[*Session]struct{})
	s.bufs.size, s.slabs.size = e.bufs, slabSize
	s.rng = newRand()
	s.slept = e.suspended()
	s.indices = make(map[uint32]struct{})
}

func (s *sender) run(ctx context.Context) {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var b *deviceBatch
		select {
		case b = <-s.packets:
		case <-s.box.wake:
		case <-timer.C:
		case <-ctx.Done():
			s.now = time.Now()
			s.goodbye(s.now)
			return
		}
		next := s.turn(time.Now(), b) // the clock is read once per turn
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// turn takes in a batch of packets if there is one, does all that is due at now, and
// returns when it wants to be called again; the zero Time means not before something
// happens.
func (s *sender) turn(now time.Time, b *deviceBatch) (next time.Time) {
	s.now = now
	if b != nil {
		s.ingest(b)
	}
	s.watchSleep(now)
	s.scratch.msgs = s.box.take(s.scratch.msgs)
	for i := range s.scratch.msgs {
		s.handle(now, &s.scratch.msgs[i])
	}
	s.relay()
	for {
		ses, ok := s.timers.due(now)
		if !ok {
			break
		}
		s.tick(now, ses)
	}
	next = s.e.side.advance(now)       // which may be about what has just ended
	for i := 0; i < len(s.work); i++ { // which may grow meanwhile
		ses := s.work[i]
		ses.tx.working = false
		s.transmit(now, ses)
		ses.tx.limits.note(now, ses.tx.limit(now))
		s.reschedule(now, ses)
	}
	clear(s.work)
	s.work = s.work[:0]
	s.flush(now)
	if at, ok := s.timers.next(); ok && (next.IsZero() || at.Before(next)) {
		next = at
	}
	return next
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
	case msgRetry:
		s.e.retries.Add(-1)
		s.sendHandshake(m.port, m.addr, m.data)
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
	if m.size > 0 {
		s.arrived(now, p, m)
	}
	switch m.kind {
	case msgReport:
		s.owe(now, p.epoch, m)
	case msgFeedback:
		s.feedback(now, p.epoch, *m.body)
		s.e.bodies.put(m.body)
	case msgPing:
		if uint64(m.received) >= p.epoch.tx.keys.aead.PacketLimit() {
			p.tx.peer.worn = true
		}
		if p.tx.monitor != nil {
			c := control{has: hasPong, pong: wire.Pong{
				Echo: m.ping.Echo, Received: m.received, Highest: m.highest, Delay: s.e.stamp(m.at) - m.ping.Time,
			}}
			if w, ok := p.tx.monitor.(*path.Monitor); ok && w.Resting() && s.e.expects == wire.KindInit {
				s.addProbe(now, p, &c) // it would follow soon
			}
			s.control(now, p, &c)
		}
	case msgChallenge:
		if p.tx.monitor != nil {
			s.control(now, p, &control{has: hasResponse, response: m.proof})
		}
	case msgResponse:
		s.responded(now, p, m.proof)
	case msgPong:
		s.answered(now, p, m)
	case msgInfo:
		s.told(now, p, m.info)
	case msgClose:
		s.e.log.Info("the peer has closed the session", "peer", ses.peer, "reason", m.closing.Reason)
		s.closed(now, ses, m.closing)
	case msgRekey:
		s.rekeyed(now, p, m.rekey)
	case msgLegacy:
		ses.legacy.received(now, p, m)
	case msgProved:
		s.proved(now, p.epoch, m.keys)
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
	if s.tooOld(now, ses) {
		s.abort(now, ses, "its keys are too old, and the peer has not answered with others")
		return
	}
	s.renewKeys(now, ses)
	s.rest(now, ses)
	for _, ep := range ses.tx.epochs() {
		for _, p := range ep.tx.active {
			due := p.tx.monitor.Advance(now, p.rto())
			s.noteState(now, p, "no answer") // which empties the outbox of a path that is down
			if due {
				s.probe(now, p)
			}
			s.validate(now, p)
			if at, ok := p.doubtAt(); ok && !now.Before(at) {
				s.doubt(now, p)
			}
			if len(p.tx.out.waiting()) > 0 {
				s.mark(p)
			}
		}
	}
	s.wake(ses)
}

// quietAfter is after what time without a packet the paths of a session may rest: a
// server may have a thousand clients that do nothing.
const quietAfter = 10 * time.Second

// packets returns how many packets have been sent on the paths that are in use.
func (t *epochSender) packets() (sent uint64) {
	for _, p := range t.active {
		sent += p.tx.count.packets
	}
	return sent
}

// quiet reports whether the session has sent no packets for quietAfter.
func (t *sessionSender) quiet(now time.Time) bool {
	return t.current != nil && !t.active.IsZero() && now.Sub(t.active) >= quietAfter && t.current.tx.packets() == t.sent
}

// rest has the paths of a session probed less often while it sends no packets.
func (s *sender) rest(now time.Time, ses *Session) {
	t := &ses.tx
	if t.current == nil {
		return
	}
	if sent := t.current.tx.packets(); sent != t.sent || t.active.IsZero() {
		t.sent, t.active = sent, now
	}
	factor := 1
	if t.quiet(now) {
		// A little less often than a client, whose probes this end's can ride along with.
		factor = 8
		if s.e.expects == wire.KindInit {
			factor = 9
		}
	}
	for _, p := range t.current.tx.active {
		if m, ok := p.tx.monitor.(*path.Monitor); ok && (factor == 1 || m.State() == path.Up) {
			m.Rest(now, factor)
		} else if ok {
			m.Rest(now, 1)
		}
	}
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
			if at := p.nextChallenge(); !at.IsZero() {
				sooner(at)
			}
			if at, ok := p.doubtAt(); ok {
				sooner(at)
			}
			if !p.tx.out.since.IsZero() {
				sooner(now.Add(refusedPause))
			}
		}
	}
	if t.current != nil && ses.legacy == nil {
		sooner(s.nextRekey(t.current))
	}
	if len(t.pending) > 0 {
		sooner(t.pending[0].expires)
	}
	if t.previous != nil {
		sooner(t.previous.expires)
	}
	if t.current != nil && !t.live() && ses.legacy == nil {
		sooner(t.down.Add(lingerFor))
	}
	s.timers.set(ses, next)
}
