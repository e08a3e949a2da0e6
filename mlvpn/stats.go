package mlvpn

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/path"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/reorder"
)

// Stats is a snapshot of a Client or a Server.
type Stats struct {
	Sessions []SessionStats
	Drops    Drops
}

// Drops counts what was dropped outside of any session, by reason.
type Drops struct {
	Malformed     uint64 // datagrams that are none of this protocol
	UnknownIndex  uint64 // datagrams for a session that this end does not have
	Unauthentic   uint64 // datagrams altered, or sealed with another key
	Replayed      uint64 // datagrams opened before
	BadHandshakes uint64 // handshakes by somebody with another password or server key
	Refused       uint64 // handshakes that are not authentic or not allowed
	ReplayedInits uint64 // handshakes seen before
	Flooded       uint64 // handshakes beyond what can be dealt with
	NoRoute       uint64 // packets from the device that no session takes, or with addresses that it may not have
	DeviceErrors  uint64 // packets that the device refused
}

// SessionStats is a snapshot of one session.
type SessionStats struct {
	Peer      string
	Up        bool // at least one link works
	Cipher    string
	Legacy    bool   // the peer speaks MLVPN's own protocol, see Legacy
	Rekeys    uint64 // how often the keys were replaced within the session
	Links     []LinkStats
	Queued    int    // packets that wait for a link
	QueueFull uint64 // packets dropped because the queue was full
	Delayed   uint64 // packets dropped because those of their flow waited too long (CoDel)
	Marked    uint64 // packets marked instead of that (ECN)
	Repaired  uint64 // packets sent again because they were lost
	Copied    uint64 // small packets sent twice in case one is lost
	GaveUp    uint64 // packets known to be lost and not sent again: too late, or no link for them
	Ruled     uint64 // packets dropped by a rule
	NoLink    uint64 // packets dropped because no link worked
	TooLarge  uint64 // packets dropped because no link could carry their size
	Spoofed   uint64 // packets dropped for an inner source that the peer may not use
	Strayed   uint64 // packets dropped for an inner destination that is not this end's
	NotIP     uint64 // packets dropped because they were no IP packets
	Reorder   reorder.Stats

	// Hold is how long the peer is asked to keep packets of the quickest link that shares
	// flows with others, so that they take as long as those: 0 if delays are not evened
	// out. RepairWait is how much longer it is asked to wait for what is certainly lost.
	Hold, RepairWait time.Duration

	Limited       Limits // what kept the session from sending more, since it began
	LimitedLately Limits // and of about the last 10 s
}

// LinkState is the state of a link as its sender sees it.
type LinkState uint8

const (
	// LinkProbing: the peer has not answered yet.
	LinkProbing LinkState = iota
	// LinkIsUp: the link carries data.
	LinkIsUp
	// LinkIsDegraded: the link carries data while no other is better.
	LinkIsDegraded
	// LinkIsDown: the link carries probes only.
	LinkIsDown
)

// String returns the state's name.
func (s LinkState) String() string {
	switch s {
	case LinkProbing:
		return "probing"
	case LinkIsUp:
		return "up"
	case LinkIsDegraded:
		return "degraded"
	case LinkIsDown:
		return "down"
	}
	return "invalid"
}

// LinkStats is a snapshot of one link within a session. Counters begin anew with
// every handshake.
type LinkStats struct {
	path int // position in the epoch

	Name      string
	PeerName  string // what the peer calls it, if that is known
	State     LinkState
	Remote    link.Addr // zero for a link with one peer
	Bandwidth uint64    // configured, in the direction of sending, in bytes per second
	Fallback  bool
	MTU       int // largest datagram, in bytes

	RTT, RTTVar time.Duration
	Loss        float64 // of what this end sends

	// What is measured of the direction of sending, from the peer's reports. It is all zero
	// where the peer makes none (Legacy).
	Capacity  uint64        // what the link is thought to carry, in bytes per second
	Found     bool          // Capacity is known; else it is a guess until the link has once been full
	Pace      uint64        // the rate at which the link is sent on at most; 0 is any
	LinkQueue time.Duration // what packets are thought to wait in the link's queue
	Delay     time.Duration // one way, how much longer than by the quickest link
	Equal     bool          // the peer evens out the link's delay with that of others, see SessionStats.Hold
	Datagrams uint64        // sent, of all kinds
	Lost      uint64        // of these, how many the peer reported missing
	Spurious  uint64        // of these, how many came after all

	SentPackets     uint64 // with an inner packet
	SentBytes       uint64 // of these, Overhead included
	SendRate        float64
	ReceivedPackets uint64 // datagrams of all kinds
	ReceivedBytes   uint64
	ReceiveRate     float64   // in bytes per second over the last second
	LastReceived    time.Time // of the last datagram; zero if there was none

	Refused  uint64 // datagrams dropped because the link stayed full
	Failed   uint64 // datagrams dropped because the link returned an error
	TooLarge uint64 // datagrams larger than the link's MTU
	Replayed uint64 // datagrams received that had been opened before
}

// Stats returns a snapshot. On a Client or Server whose Run has ended it is empty.
func (c *Client) Stats() Stats { return c.e.stats() }

// Stats returns a snapshot. On a Client or Server whose Run has ended it is empty.
func (v *Server) Stats() Stats { return v.e.stats() }

func (e *engine) stats() Stats {
	var out Stats
	var of []*epoch // by session; nil where there is none
	if e.call(func(now time.Time) { of = e.sender.stats(now, &out) }) != nil {
		return Stats{}
	}
	if e.callReceiver(func() { e.receiver.stats(time.Now(), of, &out) }) != nil {
		return Stats{}
	}
	return out
}

// stats fills in what the sender knows.
func (s *sender) stats(now time.Time, out *Stats) (of []*epoch) {
	out.Drops.NoRoute = s.count.noRoute
	out.Drops.Refused = s.count.refused
	out.Drops.ReplayedInits, out.Drops.Flooded = s.count.replays, s.count.flooded
	for ses := range s.sessions {
		t := &ses.tx
		st := SessionStats{
			Peer:      ses.peer,
			Up:        t.live(),
			Legacy:    ses.legacy != nil,
			Queued:    t.queued(),
			QueueFull: t.count.queueFull,
			Delayed:   t.count.delayed,
			Marked:    t.count.marked,
			Ruled:     t.count.ruled,
			NoLink:    t.count.noLink,
			TooLarge:  t.count.tooLarge,
			Rekeys:    t.count.rekeys,
		}
		st.Limited, st.LimitedLately = t.limits.stats(now)
		ep := t.current
		if ep == nil && len(t.pending) > 0 {
			ep = t.pending[0]
		}
		if ep != nil {
			st.Cipher = ep.cipher()
			st.Repaired, st.Copied, st.GaveUp = ep.tx.count.repaired, ep.tx.count.copied, ep.tx.count.late
			for _, p := range ep.tx.active {
				st.Links = append(st.Links, p.stats(now))
			}
			ep.tx.explain(&st)
		}
		of = append(of, ep)
		out.Sessions = append(out.Sessions, st)
	}
	return of
}

func (p *pathState) stats(now time.Time) LinkStats {
	t := &p.tx
	st := LinkStats{
		path:        p.link,
		Name:        t.cfg.Name,
		PeerName:    t.peer.name,
		Remote:      t.addr,
		Bandwidth:   t.cfg.Bandwidth,
		Fallback:    t.cfg.Fallback,
		MTU:         t.port.mtu(),
		RTT:         t.rtt.Smoothed(),
		RTTVar:      t.rtt.Var(),
		Loss:        t.loss.Ratio(),
		SentPackets: t.count.packets,
		SentBytes:   t.count.bytes,
		SendRate:    t.rate.PerSecond(now),
		Refused:     t.count.refused,
		Failed:      t.count.failed,
		TooLarge:    t.count.tooLarge,
	}
	switch {
	case t.standing.told == linkUp:
		st.State = LinkIsUp
	case t.standing.told == linkDegraded:
		st.State = LinkIsDegraded
	case t.monitor.State() == path.Down:
		st.State = LinkIsDown
	}
	return st
}

// stats fills in what the receiver knows of the same epochs.
func (r *receiver) stats(now time.Time, of []*epoch, out *Stats) {
	d := &out.Drops
	d.Malformed, d.UnknownIndex, d.Unauthentic = r.count.malformed, r.count.unknown, r.count.unauthentic
	d.Replayed, d.BadHandshakes = r.count.replayed, r.count.badMAC
	d.Flooded += r.count.flooded
	d.DeviceErrors = r.count.deviceErrors
	for i, ep := range of {
		if ep == nil {
			continue
		}
		st := &out.Sessions[i]
		st.Spoofed, st.Strayed, st.NotIP = ep.session.rx.count.spoofed, ep.session.rx.count.strayed, ep.session.rx.count.malformed
		if ep.rx.buffer != nil { // unless the epoch has not been installed yet
			st.Reorder = ep.rx.buffer.Stats()
		}
		for j := range st.Links {
			p := ep.rx.paths[st.Links[j].path]
			if p == nil {
				continue // not told of yet
			}
			st.Links[j].ReceivedPackets = p.rx.count.datagrams
			st.Links[j].ReceivedBytes = p.rx.count.bytes
			st.Links[j].ReceiveRate = p.rx.rate.PerSecond(now)
			st.Links[j].LastReceived = p.rx.last
			st.Links[j].Replayed = p.rx.count.replayed
		}
	}
}
