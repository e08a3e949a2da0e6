package mlvpn

import (
	"net/netip"
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/internal/fq"
	"github.com/multilink-vpn/multilink/internal/path"
	"github.com/multilink-vpn/multilink/internal/wire"
)

// A Session is what one client and one server have established. It outlives its keys
// and paths: a new handshake with the same peer continues it.
type Session struct {
	timerSlot

	e     *engine
	peer  string   // constant: the peer's name
	id    identity // constant: who the peer is
	owner *account // constant: of a client that is known by key; else nil

	legacy *Legacy // constant: that it is of, if the peer is a C daemon: it never ends

	prefixes []netip.Prefix // constant: of a client that is known by password
	leased   []netip.Prefix // addresses from a server's pools; owned by the sender

	tx sessionSender
	rx sessionReceiver
}

// Peer returns the peer's name: on a server, the client's.
func (s *Session) Peer() string { return s.peer }

// sessionSender is owned by the sender.
type sessionSender struct {
	current  *epoch            // carries data; nil before the first path works
	pending  []*epoch          // agreed on, but no path of them works yet; oldest first
	previous *epoch            // replaced lately: what is under way is still received
	inUse    []*epoch          // result of epochs
	queue    *fq.Queue[packet] // nil before the first packet
	resume   time.Time         // when the scheduler wants to be asked again
	working  bool              // in sender.work
	down     time.Time         // since when no path works
	reported bool              // the last session event was SessionUp
	active   time.Time         // when packets were last seen to be sent
	sent     uint64            // how many had been then
	retry    time.Time         // before this, the peer asked not to be called
	count    sessionSendCounters
	limits   limitations // of what it sends
}

// sessionReceiver is owned by the receiver.
type sessionReceiver struct {
	hosts  int        // inner hosts that are known to be behind the session
	last   netip.Addr // where the latest packet came from
	floods floodLimit
	count  sessionReceiveCounters
}

// live reports whether the session has a path that works.
func (t *sessionSender) live() bool { return t.current != nil && t.current.tx.up > 0 }

// epochs returns the epochs whose paths are in use or probed.
func (t *sessionSender) epochs() []*epoch {
	t.inUse = append(t.inUse[:0], t.pending...)
	if t.current != nil {
		t.inUse = append(t.inUse, t.current)
	}
	return t.inUse
}

// has reports whether an epoch is in use.
func (t *sessionSender) has(ep *epoch) bool {
	return ep == t.current || slices.Contains(t.pending, ep)
}

const (
	// pendingFor is how long an epoch may take until its first path works, and
	// maxPending how many of a session's may do so at once: replayed INITs must not push
	// out a genuine one.
	pendingFor = 5 * time.Second
	maxPending = 4
	// previousFor is how long packets of a replaced epoch are still received.
	previousFor = 3 * time.Second
	// lingerFor is how long a server remembers a session that no path of works.
	lingerFor = 60 * time.Second
	// maxPeerRetry bounds how long a peer can ask not to be called.
	maxPeerRetry = time.Minute
	// refusedPause is how long a path rests after its link was full.
	refusedPause = time.Millisecond
	// refusedFor is how long datagrams are kept for a link that stays full.
	refusedFor = 100 * time.Millisecond
)

// propose adds a pending epoch to a session and lets the receiver accept its packets.
func (s *sender) propose(now time.Time, ses *Session, ep *epoch) {
	t := &ses.tx
	if len(t.pending) == maxPending {
		s.drop(t.pending[0])
		t.pending = slices.Delete(t.pending, 0, 1)
	}
	t.pending = append(t.pending, ep)
	ep.expires = now.Add(pendingFor)
	s.sessions[ses] = struct{}{}
	s.e.receiver.box.put(func(time.Time) { s.e.receiver.install(ep) })
}

// promote makes a pending epoch the current one, because its first path works. All
// others go.
func (s *sender) promote(now time.Time, ses *Session, ep *epoch) {
	t := &ses.tx
	for _, other := range t.pending {
		if other != ep {
			s.drop(other)
		}
	}
	t.pending = slices.Delete(t.pending, 0, len(t.pending))
	if ep.init != nil {
		ep.init.confirmed = true
	}
	s.drop(t.previous)
	t.previous, t.current = t.current, ep
	if t.previous == nil {
		return
	}
	t.previous.expires = now.Add(previousFor)
	for _, p := range t.previous.tx.active {
		p.tx.monitor.Fail(now)
		s.noteState(now, p, "replaced by a new session with the peer")
	}
}

// expire drops epochs whose time is over, and reports whether the session is of any
// use still.
func (s *sender) expire(now time.Time, ses *Session) bool {
	t := &ses.tx
	if ses.legacy != nil {
		return true
	}
	for len(t.pending) > 0 && !now.Before(t.pending[0].expires) {
		s.e.side.failed(now, ses)
		s.drop(t.pending[0])
		t.pending = slices.Delete(t.pending, 0, 1)
	}
	if t.previous != nil && !now.Before(t.previous.expires) {
		s.drop(t.previous)
		t.previous = nil
	}
	if t.current == nil {
		return len(t.pending) > 0
	}
	return t.live() || now.Sub(t.down) < lingerFor
}

// drop forgets an epoch: its keys, its indices and what it holds.
func (s *sender) drop(ep *epoch) {
	if ep == nil {
		return
	}
	for _, p := range ep.tx.active {
		s.emptyOutbox(p)
	}
	for _, p := range ep.tx.paths {
		if p != nil && p.tx.lane != nil { // of a path that has left, too
			p.tx.lane.ledger.Clear(s.scratch.forget)
		}
	}
	for ep.tx.repairs.len() > 0 {
		lost := ep.tx.repairs.pop()
		s.forget(&lost)
	}
	if ep.tx.debt.body != nil {
		s.paid(ep)
	}
	s.abandon(ep)
	all := ep.tx.all()
	for _, k := range all {
		s.release(k.own)
	}
	if ep.init != nil {
		ep.init.epoch, ep.init.answer = nil, nil
	}
	s.e.receiver.box.put(func(now time.Time) { s.e.receiver.remove(now, ep, all) })
}

// end removes a session for good.
func (s *sender) end(ses *Session) {
	t := &ses.tx
	s.purge(ses)
	for _, ep := range t.epochs() {
		s.drop(ep)
	}
	s.drop(t.previous)
	t.current, t.pending, t.previous = nil, nil, nil
	s.timers.remove(ses)
	delete(s.sessions, ses)
	s.e.side.ended(ses)
	s.e.receiver.box.put(func(time.Time) { s.e.receiver.forget(ses) })
}

// purge drops the packets that wait: when a path works again, they are too old.
func (s *sender) purge(ses *Session) {
	if ses.tx.queue != nil {
		ses.tx.queue.Clear()
	}
	ses.tx.resume = time.Time{}
}

// closed deals with a peer that has said goodbye.
func (s *sender) closed(now time.Time, ses *Session, c wire.Close) {
	ses.tx.retry = now.Add(min(time.Duration(c.RetryMillis)*time.Millisecond, maxPeerRetry))
	s.abort(now, ses, closeReason(c))
}

// abort ends a session whose paths may work.
func (s *sender) abort(now time.Time, ses *Session, reason string) {
	if ses.tx.live() {
		for _, p := range ses.tx.current.tx.active {
			p.tx.monitor.Fail(now)
			s.noteState(now, p, reason)
		}
	}
	s.end(ses)
}

func closeReason(c wire.Close) string {
	switch c.Reason {
	case wire.ReasonShutdown:
		return "the peer is shutting down"
	case wire.ReasonReplaced:
		return "the peer has a newer session"
	case wire.ReasonRefused:
		return "the peer does not let this end in any more"
	case wire.ReasonProtocol:
		return "the peer reports a protocol error"
	}
	return "the peer has closed the session"
}

// noteState compares a path's state with what was last reported and passes on the
// difference: to the scheduler, to the receiver, to whoever listens to events.
func (s *sender) noteState(now time.Time, p *pathState, reason string) {
	t := &p.tx
	ep, ses := p.epoch, p.epoch.session
	was := t.standing.told
	switch {
	case !p.usable():
		t.standing.told = linkDown
	case t.standing.poor || t.monitor.State() == path.Suspect:
		t.standing.told = linkDegraded
	default:
		t.standing.told = linkUp
	}
	if t.standing.told == was {
		return
	}
	p.updateView()
	kind := LinkUp
	switch t.standing.told {
	case linkDown:
		kind = LinkDown
		s.emptyOutbox(p)
	case linkDegraded:
		kind = LinkDegraded
		if t.standing.poor {
			reason = t.standing.why
		}
	case linkUp:
		reason = ""
	}
	wasUp, isUp := was != linkDown, t.standing.told != linkDown
	if isUp && ep != ses.tx.current {
		s.promote(now, ses, ep)
	}
	if wasUp != isUp {
		if isUp {
			ep.tx.up++
		} else {
			ep.tx.up--
			s.e.receiver.box.put(func(time.Time) { s.e.receiver.linkDown(p) })
		}
	}
	s.e.log.Info(kind.String(), "link", t.cfg.Name, "peer", ses.peer, "reason", reason)
	s.e.notifier.post(Event{Time: now, Kind: kind, Peer: ses.peer, Link: t.cfg.Name, Reason: reason})
	if ep != ses.tx.current || wasUp == isUp {
		return
	}
	switch {
	case isUp && ep.tx.up == 1:
		ses.tx.down = time.Time{}
		s.wake(ses)
		s.report(now, ses, SessionUp, "")
	case !isUp && ep.tx.up == 0:
		ses.tx.down = now
		s.purge(ses)
		s.report(now, ses, SessionDown, reason)
	}
}

// report announces a change of a session once: an epoch that replaces one whose paths
// worked is no change.
func (s *sender) report(now time.Time, ses *Session, kind EventKind, reason string) {
	if up := kind == SessionUp; up == ses.tx.reported {
		return
	}
	ses.tx.reported = kind == SessionUp
	s.e.side.changed(ses, ses.tx.reported)
	s.e.log.Info(kind.String(), "peer", ses.peer, "reason", reason)
	s.e.notifier.post(Event{Time: now, Kind: kind, Peer: ses.peer, Reason: reason})
}

// linkReport is what was last told of a path.
type linkReport uint8

const (
	linkDown linkReport = iota
	linkUp
	linkDegraded
)
