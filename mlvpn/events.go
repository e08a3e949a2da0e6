package mlvpn

import (
	"net/netip"
	"time"
)

// EventKind says what an Event reports.
type EventKind uint8

const (
	// SessionUp: the first link of a session works, packets flow.
	SessionUp EventKind = iota
	// SessionDown: the last link of a session has failed, or the peer has said
	// goodbye.
	SessionDown
	// LinkUp: a link works.
	LinkUp
	// LinkDown: a link that worked does not any more.
	LinkDown
	// LinkDegraded: a link works, but its probes go unanswered or its loss or latency
	// is above what is tolerated.
	LinkDegraded
	// Addressed: the server has given a client other inner addresses than before.
	Addressed
)

// String returns the kind's name.
func (k EventKind) String() string {
	switch k {
	case SessionUp:
		return "session up"
	case SessionDown:
		return "session down"
	case LinkUp:
		return "link up"
	case LinkDown:
		return "link down"
	case LinkDegraded:
		return "link degraded"
	case Addressed:
		return "addressed"
	}
	return "invalid"
}

// An Event reports a change. A LinkUp comes before the SessionUp, and a LinkDown
// before the SessionDown, that it causes.
type Event struct {
	Time   time.Time
	Kind   EventKind
	Peer   string // the session's peer: on a server, the client's name
	Link   string // the link's name, empty in session events
	Reason string // why, for people

	// Addresses are those of an Addressed event, see Client.Addresses.
	Addresses []netip.Prefix
}

// notifier hands events to OnEvent. Its queue is unbounded, but what fills it are
// state changes, which the paths' timers keep rare.
type notifier struct {
	box  mailbox[Event]
	call func(Event)
}

func (n *notifier) post(ev Event) {
	if n.call != nil {
		n.box.put(ev)
	}
}

func (n *notifier) run(done <-chan struct{}) {
	var batch []Event
	for {
		open := true
		select {
		case <-n.box.wake:
		case <-done:
			open = false
		}
		batch = n.box.take(batch)
		for _, ev := range batch {
			n.call(ev)
		}
		if !open {
			return
		}
	}
}
