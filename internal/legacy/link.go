package legacy

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/path"
)

// The pace of the protocol.
const (
	// interval is how often a packet is sent by which the peer can tell that the link
	// works, or that asks for it.
	interval = time.Second
	// suspectAfter is how long nothing such may come before the link is only used if no
	// other is better. The C daemon sends one every second, and on ticks of a second.
	suspectAfter = 3500 * time.Millisecond
	// askAfter is how long nothing may come before a client asks anew instead of saying
	// that it is there: the server may have been restarted, and waits for that.
	askAfter = 5 * time.Second

	defaultTimeout = 60 * time.Second
	minTimeout     = 2 * time.Second
)

// A Link is the state of a link at one end. Only KEEPALIVE, and what begins a link, is
// taken as a sign of life. Its methods are those of path.Monitor where they have the same
// names.
type Link struct {
	client  bool
	timeout time.Duration
	state   path.State
	alive   time.Time // when the peer last gave a sign of life
	next    time.Time // when to send the next packet
	replied time.Time // when a KEEPALIVE was last answered
}

// NewLink returns the state of a link that is down, at a client or a server.
func NewLink(now time.Time, client bool, timeout time.Duration) *Link {
	l := &Link{client: client, next: now}
	l.Configure(now, path.Config{Timeout: timeout})
	return l
}

// Configure changes the timeout. 0 means 60 s.
func (l *Link) Configure(_ time.Time, cfg path.Config) {
	l.timeout = max(cfg.Timeout, minTimeout)
	if cfg.Timeout == 0 {
		l.timeout = defaultTimeout
	}
}

// State returns path.Up from the handshake on, path.Suspect when the peer is overdue and
// path.Down when it has been silent for the timeout. Before the first handshake it is
// path.Probing.
func (l *Link) State() path.State { return l.state }

// Up reports whether the link carries data.
func (l *Link) Up() bool { return l.state == path.Up || l.state == path.Suspect }

// Next returns when Advance is due.
func (l *Link) Next(time.Duration) time.Time {
	at := l.next
	switch l.state {
	case path.Up:
		at = earlier(at, earlier(l.alive.Add(suspectAfter), l.alive.Add(l.timeout)))
	case path.Suspect:
		at = earlier(at, l.alive.Add(l.timeout))
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Advance moves the state to what now implies and reports whether it is time for what
// Probe says.
func (l *Link) Advance(now time.Time, _ time.Duration) (probe bool) {
	if l.Up() {
		switch silent := now.Sub(l.alive); {
		case silent >= l.timeout:
			l.state = path.Down
		case silent >= suspectAfter:
			l.state = path.Suspect
		}
	}
	return !now.Before(l.next)
}

// Probe returns the packet to send once a second; not ok is none.
func (l *Link) Probe(now time.Time) (t Type, ok bool) {
	switch {
	case l.client && (!l.Up() || now.Sub(l.alive) >= askAfter):
		return Auth, true
	case l.Up():
		return KeepAlive, true
	}
	return 0, false
}

// Probed reports that it has been sent at now.
func (l *Link) Probed(now time.Time) { l.next = now.Add(interval) }

// ProbeNow makes the next packet due at now.
func (l *Link) ProbeNow(now time.Time) { l.next = earlier(l.next, now) }

// Answered does nothing: no packet of this protocol answers a certain other.
func (l *Link) Answered(time.Time) {}

// Fail reports that the link cannot be used, or that the peer has said so.
func (l *Link) Fail(time.Time) {
	if l.Up() {
		l.state = path.Down
	}
}

// Received is told of a packet that is believed, of any type. It returns the packet to
// answer with; not ok is none.
func (l *Link) Received(now time.Time, t Type) (reply Type, ok bool) {
	switch {
	case t == Auth && !l.client:
		l.state, l.alive = path.Up, now
		return AuthOK, true
	case t == AuthOK && l.client:
		l.state, l.alive = path.Up, now
	case t == KeepAlive && l.Up():
		l.state, l.alive = path.Up, now
		if now.Sub(l.replied) > interval {
			l.replied = now
			l.Probed(now)
			return KeepAlive, true
		}
	case t == Disconnect:
		l.Fail(now)
	}
	return 0, false
}
