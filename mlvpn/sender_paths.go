package mlvpn

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/scheduler"
)

// join puts a path into use: from now on it is probed, and carries data once it
// answers.
func (s *sender) join(now time.Time, p *pathState, on *port, addr link.Addr) error {
	ep := p.epoch
	t := &p.tx
	if t.seal == nil {
		// A path that left and joins again keeps its sealer: a second one would use
		// packet numbers, and so nonces, again.
		seal, err := p.newSealer(ep.tx.keys)
		if err != nil {
			return err
		}
		t.seal = seal
	}
	if on.id != 0 {
		t.move.proved = true // this end has been told where the peer is
	}
	t.port, t.addr, t.cfg = on, addr, on.cfg
	t.monitor = p.newMonitor(now, on.cfg.Timeout)
	if t.lane == nil {
		t.lane = newLane(on.cfg)
	}
	if on.cfg.Pace {
		t.pacer.SetRate(on.cfg.Bandwidth)
	}
	s.repace(p)
	t.view = len(ep.tx.views)
	ep.tx.active = append(ep.tx.active, p)
	ep.tx.views = append(ep.tx.views, scheduler.Path{ID: scheduler.PathID(p.link)})
	p.updateView()
	s.wake(ep.session)
	s.timers.set(ep.session, now)
	return nil
}

// leave takes a path out of use.
func (s *sender) leave(now time.Time, p *pathState, reason string) {
	p.tx.monitor.Fail(now)
	s.noteState(now, p, reason)
	s.emptyOutbox(p)
	t := &p.epoch.tx
	last := len(t.active) - 1
	moved := t.active[last]
	t.active[p.tx.view], t.views[p.tx.view] = moved, t.views[last]
	moved.tx.view = p.tx.view
	t.active[last] = nil
	t.active, t.views = t.active[:last], t.views[:last]
	p.tx.monitor = nil
}

// answered is told that the peer has answered a probe.
func (s *sender) answered(now time.Time, p *pathState, m *senderMsg) {
	t := &p.tx
	if t.monitor == nil {
		return
	}
	probe, ok := t.probes.answered(m.pong.Echo)
	if !ok {
		return // answered before, or forgotten
	}
	t.peer.knows = true
	t.move.proved = true
	t.rtt.Update(m.at, m.at.Sub(probe.at))
	t.lane.delay.Update(m.at, p.epoch.tx.clock.extend(m.pong.Delay))
	t.loss.Update(m.at, m.pong.Highest, m.pong.Received)
	t.monitor.Answered(probe.at)
	t.lane.proved = max(t.lane.proved, probe.number)
	s.judge(p)
	s.noteState(now, p, "")
	if p.usable() {
		p.updateView()
	}
	s.equalise(now, p.epoch)
}

// easing is how far below a tolerance a measurement must fall before a path is good
// again, so that one close to the limit does not flap.
const easing = 0.75

// judge compares a path's loss and latency with what its user tolerates.
func (s *sender) judge(p *pathState) {
	t := &p.tx
	loss, latency := t.cfg.LossTolerance, t.cfg.LatencyTolerance
	if t.standing.poor {
		loss, latency = loss*easing, time.Duration(float64(latency)*easing)
	}
	lost, rtt := t.loss.Ratio(), t.rtt.Smoothed()
	switch {
	case t.cfg.LossTolerance > 0 && lost > loss:
		t.standing.poor, t.standing.why = true, fmt.Sprintf("%.1f %% of its packets are lost", 100*lost)
	case t.cfg.LatencyTolerance > 0 && rtt > latency:
		t.standing.poor, t.standing.why = true, fmt.Sprintf("its round trip takes %v", rtt.Round(time.Millisecond))
	default:
		t.standing.poor = false
	}
}

// told learns what the peer says about a path: its rate towards the peer, where this
// end's configuration has none, and its tier.
func (s *sender) told(now time.Time, p *pathState, info wire.PathInfo) {
	t := &p.tx
	if t.monitor == nil {
		return
	}
	if info.Tier == wire.TierNone {
		t.peer.removed = true
		s.leave(now, p, "the peer has removed the link")
		return
	}
	t.peer.name, t.peer.weight, t.peer.tier = info.Name, info.Weight, info.Tier
	s.configure(p)
}

// pathsOf calls fn for each path in use that belongs to a port. fn may take the path
// out of use.
func (s *sender) pathsOf(on *port, fn func(*pathState)) {
	for ses := range s.sessions {
		for _, ep := range ses.tx.epochs() {
			for i := len(ep.tx.active) - 1; i >= 0; i-- {
				if p := ep.tx.active[i]; p.tx.port == on {
					fn(p)
					s.wake(ses)
				}
			}
		}
	}
}

// portGone is told that a port's reader has ended. A client's link may get another
// transport (ReplaceLink), a server's cannot come back.
func (s *sender) portGone(now time.Time, gone *port, err error) {
	reason := (&LinkError{Link: gone.cfg.Name, Op: "receive", Err: err}).Error()
	s.pathsOf(gone, func(p *pathState) {
		if gone.id == 0 {
			s.leave(now, p, reason)
			return
		}
		p.tx.monitor.Fail(now)
		s.noteState(now, p, reason)
	})
}

// dismiss tells the peer that the paths of a port will not be used any more, and takes
// them out of use.
func (s *sender) dismiss(now time.Time, gone *port) {
	c := control{has: hasInfo, info: wire.PathInfo{Tier: wire.TierNone}}
	s.pathsOf(gone, func(p *pathState) {
		for range lastWords {
			s.control(now, p, &c)
		}
		s.flushPath(now, p)
		p.tx.peer.removed = true
		s.leave(now, p, "removed")
	})
}

// substitute puts one port in the place of another, in as many epochs as it returns.
func (s *sender) substitute(now time.Time, was, is *port) (epochs int) {
	s.pathsOf(was, func(p *pathState) {
		epochs++
		s.emptyOutbox(p)
		p.tx.port = is
		p.tx.peer.knows = false // on a server, a new connection is a new port
		p.tx.monitor.ProbeNow(now)
		p.updateView()
		s.timers.set(p.epoch.session, now)
	})
	return epochs
}

// exhausted gives up a path whose key must not be used any more.
func (s *sender) exhausted(now time.Time, p *pathState, err error) {
	p.tx.monitor.Fail(now)
	s.noteState(now, p, err.Error())
}

// flush hands everything sealed to the links.
func (s *sender) flush(now time.Time) {
	for _, p := range s.dirty {
		p.tx.marked = false
		s.flushPath(now, p)
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
}

// flushPath hands a path's outbox to its link. What a full link refuses stays there
// for a while, and the path rests meanwhile.
func (s *sender) flushPath(now time.Time, p *pathState) {
	t := &p.tx
	for waiting := t.out.waiting(); len(waiting) > 0; waiting = t.out.waiting() {
		n, err := t.port.send(waiting, t.addr)
		t.out.sent += n
		if n > 0 {
			t.out.since = time.Time{}
		}
		left := uint64(len(waiting) - n)
		switch {
		case left == 0:
		case errors.Is(err, link.ErrFull):
			if t.out.since.IsZero() {
				t.out.since = now
			}
			if now.Sub(t.out.since) < refusedFor {
				v := &p.epoch.tx.views[t.view]
				if rest := now.Add(refusedPause); v.Ready.Before(rest) {
					v.Ready = rest
				}
				s.timers.set(p.epoch.session, now.Add(refusedPause))
				return
			}
			t.count.refused += left
			s.emptyOutbox(p)
		case errors.Is(err, link.ErrTooLarge):
			t.count.tooLarge++
			if _, number, ok := wire.ParseHeader(waiting[n]); ok {
				t.lane.ledger.Drop(number, s.scratch.forget) // it would be too large again
			}
			t.out.sent++
			p.updateView()
		case t.addr.Local.IsValid() && !errors.Is(err, net.ErrClosed):
			// The local address may have left the host: answer from whichever it has now.
			t.addr.Local, t.addr.Interface = netip.Addr{}, 0
		default:
			t.count.failed += left
			s.emptyOutbox(p)
			s.sendFailed(now, p, err)
		}
	}
	s.emptyOutbox(p)
}

// sendFailed is told that a link refuses to send in its present state.
func (s *sender) sendFailed(now time.Time, p *pathState, err error) {
	if errors.Is(err, net.ErrClosed) {
		return // its reader reports that too
	}
	if p.usable() {
		p.tx.monitor.Fail(now)
		s.noteState(now, p, (&LinkError{Link: p.tx.cfg.Name, Op: "send", Err: err}).Error())
		s.timers.set(p.epoch.session, now) // it is to be probed, sooner than it was before
	}
}

// emptyOutbox drops what waits and gives the slab back.
func (s *sender) emptyOutbox(p *pathState) {
	out := &p.tx.out
	if out.slab != nil {
		s.slabs.put(out.slab)
	}
	clear(out.pkts)
	*out = outbox{pkts: out.pkts[:0]}
}
