package mlvpn

import (
	"encoding/binary"
	"time"

	"github.com/multilink-vpn/multilink/internal/path"
	"github.com/multilink-vpn/multilink/internal/wire"
)

// control seals a datagram of control messages into a path's outbox.
func (s *sender) control(now time.Time, p *pathState, c *control) {
	t := &p.tx
	if !t.move.proved && !t.move.afford(c.bound()) {
		return // the peer sends again, if it is there
	}
	if !s.room(now, p, maxControl+len(c.rekey.Noise)+len(c.feedback)) {
		t.count.refused++
		return
	}
	start := len(t.out.slab)
	number := t.seal.number()
	out, err := t.seal.sealControl(t.out.slab, c)
	if err != nil {
		s.exhausted(now, p, err)
		return
	}
	t.out.slab = out
	if len(out) == start {
		return // MLVPN's protocol has no such message
	}
	t.out.pkts = append(t.out.pkts, out[start:])
	t.count.control++
	s.note(now, p, number, len(out)-start, true, sentPacket{})
}

// bound returns how long a datagram with c can be, in bytes.
func (c *control) bound() int {
	const overhead, frame = wire.HeaderSize + 16, 3
	n := overhead + len(c.info.Name) + len(c.rekey.Noise) + len(c.feedback)
	for _, x := range [...]struct {
		has  controlSet
		size int
	}{{hasPing, 10}, {hasPong, 18}, {hasInfo, 10}, {hasClose, 5}, {hasRekey, 5}, {hasChallenge, 17}, {hasResponse, 17}, {hasHold, 5}, {hasFeedback, 0}} {
		if c.has&x.has != 0 {
			n += frame + x.size
		}
	}
	return n
}

// maxControl bounds a control datagram, in bytes.
const maxControl = 256

// probe sends a PING, with what the peer should know of the path until it has
// answered once.
func (s *sender) probe(now time.Time, p *pathState) {
	var c control
	s.addProbe(now, p, &c)
	s.control(now, p, &c)
}

// addProbe adds the PING to what is sent anyway.
func (s *sender) addProbe(now time.Time, p *pathState, c *control) {
	var echo [8]byte
	s.rng.Read(echo[:])
	c.has |= hasPing
	c.ping = wire.Ping{Echo: binary.BigEndian.Uint64(echo[:]), Time: s.e.stamp(now)}
	if !p.tx.peer.knows && p.tx.port.id != 0 {
		c.has |= hasInfo
		c.info = wire.PathInfo{Name: p.tx.cfg.Name, Weight: p.tx.cfg.PeerBandwidth, Tier: p.tx.cfg.tier()}
	}
	p.tx.probes.add(c.ping.Echo, p.tx.seal.number(), now)
	p.tx.monitor.Probed(now)
}

const (
	// A server that stops asks its clients to wait this long before they try again, each
	// for another time, so that they do not all come at once when it is back.
	minReturn = 200 * time.Millisecond
	maxReturn = 2 * time.Second
)

// goodbye tells all peers that this end stops. Nothing answers any more, so it is
// said more than once.
func (s *sender) goodbye(now time.Time) {
	for ses := range s.sessions {
		var retry time.Duration
		if s.e.expects == wire.KindInit {
			retry = minReturn + time.Duration(s.rng.Uint64()%uint64(maxReturn-minReturn))
		}
		s.sendClose(now, ses, wire.ReasonShutdown, retry)
	}
}

// lastWords is how often something is said that nobody will ask for again.
const lastWords = 3

// sendClose tells a peer that the session ends, and how long it should wait before it
// asks for another.
func (s *sender) sendClose(now time.Time, ses *Session, reason wire.Reason, retry time.Duration) {
	c := control{has: hasClose, closing: wire.Close{Reason: reason, RetryMillis: uint32(retry.Milliseconds())}}
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
