package mlvpn

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
)

// A server believes an address only when the peer has shown that it receives there
// (SPEC.md, section 6.6): datagrams can be stopped, and sent on from elsewhere, by
// anybody on their way. Until then nothing goes there but what little finds it out.

const (
	// challengeFor is for how long at least an address may take to answer.
	challengeFor = 3 * time.Second
	// movePause is the least time between two addresses that are tried, and maxMovePause
	// what it grows to while a peer turns out to be where it was.
	movePause    = 250 * time.Millisecond
	maxMovePause = 4 * time.Second
	// settleFor is for how long after a move the address before can still show that it
	// works.
	settleFor = time.Second
	// amplification is how many times as much as has come from an address may be sent to it
	// before it is known to be the peer's (RFC 9000, section 8).
	amplification = 3
)

// An origin is where a peer's datagrams come from.
type origin struct {
	port *port
	addr link.Addr
}

// movement is what is known of a path's address. It is owned by the sender.
type movement struct {
	proved bool // the peer receives at the path's address
	credit int  // bytes that may be sent there while it is not

	candidate origin // where the peer seems to be now; port is nil if nowhere else
	allowance int    // bytes that may be sent there
	challenge wire.Proof
	asked     time.Time // when it was sent last
	until     time.Time // when the candidate is given up, or the move is settled

	before origin     // after a move: where the peer was
	old    wire.Proof // what was asked of it there

	next  time.Time // before this, no other candidate is considered
	pause time.Duration
}

// arrived is told where an authentic datagram of a path came from, size bytes long. Only
// the newest of a path's can be about a move.
func (s *sender) arrived(now time.Time, p *pathState, m *senderMsg) {
	if p.tx.peer.removed || m.port.id != 0 {
		return // a client's paths stay on the links that it has given them
	}
	if l := p.epoch.session.legacy; l != nil {
		l.arrived(now, p, m)
		return
	}
	t := &p.tx
	if t.monitor == nil {
		p.epoch.tx.paths[p.link] = p
		t.move = movement{credit: amplification * m.size}
		if err := s.join(now, p, m.port, m.addr); err != nil {
			s.e.log.Error("cannot use a path", "link", m.port.cfg.Name, "err", err)
		}
		return
	}
	v := &t.move
	from := origin{m.port, m.addr}
	switch {
	case m.port == t.port && m.addr.Remote == t.addr.Remote:
		if m.newest {
			t.addr = m.addr // which may be reached from another address of this host now
			if v.candidate.port != nil {
				s.stay(now, p)
			}
		}
		if !v.proved {
			v.credit += amplification * m.size
		}
	case from == v.candidate:
		v.allowance += amplification * m.size
	case m.newest && !now.Before(v.next):
		v.candidate, v.allowance = from, amplification*m.size
		v.next = now.Add(max(v.pause, movePause))
		v.until = now.Add(max(challengeFor, 3*p.rto()))
		v.before = origin{}
		s.rng.Read(v.challenge[:])
		s.rng.Read(v.old[:])
		s.challenge(now, p)
	}
}

// challenge asks the peer to repeat what was sent to the candidate, and what was sent to
// where it was.
func (s *sender) challenge(now time.Time, p *pathState) {
	v := &p.tx.move
	v.asked = now
	s.timers.set(p.epoch.session, now) // so that it is heeded that asked has changed
	s.control(now, p, &control{has: hasChallenge, challenge: v.old})
	if v.allowance < proofDatagram {
		return
	}
	number := p.tx.seal.number()
	out, err := p.tx.seal.sealControl(s.scratch.control[:0], &control{has: hasChallenge, challenge: v.challenge})
	if err != nil {
		s.exhausted(now, p, err)
		return
	}
	s.scratch.control = out
	v.allowance -= len(out)
	p.tx.count.control++
	s.note(now, p, number, len(out), true, sentPacket{})
	if _, err := v.candidate.port.send([][]byte{out}, v.candidate.addr); err != nil {
		s.e.log.Debug("cannot send to a link's new address", "link", p.tx.cfg.Name, "to", v.candidate.addr, "err", err)
	}
}

// proofDatagram is the length of a datagram with a PATH CHALLENGE and nothing else.
const proofDatagram = wire.HeaderSize + 3 + 1 + wire.ProofSize + 16

// responded is told that the peer has repeated what it was asked to.
func (s *sender) responded(now time.Time, p *pathState, proof wire.Proof) {
	t := &p.tx
	v := &t.move
	switch {
	case t.monitor == nil || now.After(v.until):
	case v.candidate.port != nil && proof == v.challenge:
		v.before = origin{t.port, t.addr}
		s.relocate(now, p, v.candidate)
		v.candidate, v.until = origin{}, now.Add(settleFor)
	case v.candidate.port != nil && proof == v.old:
		s.stay(now, p)
	case v.before.port != nil && proof == v.old:
		// Somebody on the way forwards datagrams, and was faster than the network.
		s.relocate(now, p, v.before)
		s.stay(now, p)
	}
}

// stay forgets a candidate because the peer is where it was.
func (s *sender) stay(now time.Time, p *pathState) {
	v := &p.tx.move
	v.candidate, v.before = origin{}, origin{}
	v.pause = min(max(2*v.pause, 2*movePause), maxMovePause)
	v.next = now.Add(v.pause)
}

// relocate sends to another address of the peer from now on.
func (s *sender) relocate(now time.Time, p *pathState, to origin) {
	t := &p.tx
	s.e.log.Info("a link has moved", "link", t.cfg.Name, "peer", p.epoch.session.peer, "from", t.addr, "to", to.addr)
	t.port, t.addr = to.port, to.addr
	t.move.proved = true
	s.configure(p)
	t.monitor.ProbeNow(now)
	s.timers.set(p.epoch.session, now)
}

// validate repeats what was asked of a candidate, and gives it up.
func (s *sender) validate(now time.Time, p *pathState) {
	v := &p.tx.move
	if v.candidate.port == nil {
		if v.pause > 0 && now.Sub(v.next) > v.pause {
			v.pause = 0
		}
		return
	}
	switch {
	case !now.Before(v.until):
		v.candidate = origin{}
	case !now.Before(v.asked.Add(p.rto())):
		s.challenge(now, p)
	}
}

// nextChallenge returns when validate has something to do, or zero.
func (p *pathState) nextChallenge() time.Time {
	v := &p.tx.move
	if v.candidate.port == nil {
		return time.Time{}
	}
	if at := v.asked.Add(p.rto()); at.Before(v.until) {
		return at
	}
	return v.until
}

// afford reports whether so many bytes may be sent to the path's address, and counts
// them.
func (v *movement) afford(size int) bool {
	if v.proved {
		return true
	}
	if v.credit < size {
		return false
	}
	v.credit -= size
	return true
}
