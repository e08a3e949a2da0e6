package mlvpn

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/feedback"
	"github.com/multilink-vpn/multilink/internal/metric"
	"github.com/multilink-vpn/multilink/internal/path"
	"github.com/multilink-vpn/multilink/internal/rate"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/tun"
)

// A lane is what is known of a path from what its receiver reports: what is under way,
// how fast it may be sent on, how long it takes.
type lane struct {
	ledger feedback.Ledger[sentPacket]
	rate   *rate.Estimator
	delay  metric.Delay  // one-way, with the receiver's offset
	ack    metric.RTT    // from sending to the report of it
	sent   uint64        // bytes, each datagram with wire.DatagramOverhead
	idle   time.Duration // how long the path was ready and nothing was sent
	spared time.Time     // until then it is not doubted again
	proved uint64        // number of the latest probe that was answered: the path worked until then
	gap    time.Duration // average time between reports
	last   time.Time     // when it was last reported on
	acked  time.Time     // when the newest datagram was sent that was reported
}

func newLane(cfg LinkConfig) *lane {
	c := rate.Config{Start: cfg.Bandwidth}
	if cfg.Pace {
		c.Max = cfg.Bandwidth
	}
	return &lane{rate: rate.New(c), gap: maxReportGap}
}

// A sentPacket is a packet under way, kept to be sent again. A control message and the
// copy of a packet have no buffer: they are not sent again.
type sentPacket struct {
	buf      []byte // of the sender's pool
	first    time.Time
	stamp    uint32
	order    uint16
	time     uint16
	flags    wire.DataFlags
	attempts uint8 // how often it has been sent again
}

func (p *sentPacket) data() wire.Data {
	return wire.Data{Flags: p.flags, Stamp: p.stamp, Order: p.order, Time: p.time}
}

func (p *sentPacket) size() int { return len(p.buf) - tun.Headroom + Overhead }

// forget gives back the buffer of a packet that is not sent again.
func (s *sender) forget(p *sentPacket) {
	if p.buf != nil {
		s.bufs.put(p.buf)
		p.buf = nil
	}
}

// note enters a datagram into the books of its path.
func (s *sender) note(now time.Time, p *pathState, number uint64, size int, quiet bool, kept sentPacket) {
	t := &p.tx
	size += wire.DatagramOverhead
	if p.epoch.session.legacy != nil {
		s.forget(&kept) // nothing is reported
	} else {
		s.enter(now, p, number, size, quiet, kept)
	}
	t.pacer.Sent(now, size)
	v := &p.epoch.tx.views[t.view]
	if at := t.pacer.Ready(); v.Ready.Before(at) {
		v.Ready = at // unless the link is full for longer than that
	}
}

// enter enters a datagram into the ledger.
func (s *sender) enter(now time.Time, p *pathState, number uint64, size int, quiet bool, kept sentPacket) {
	t := &p.tx
	l := t.lane
	if ready := t.pacer.Ready(); now.Sub(ready) > idleAfter && !ready.IsZero() {
		l.idle += now.Sub(ready)
	}
	l.ledger.Sent(now, number, size, quiet, feedback.Marker{Sent: l.sent, Idle: l.idle}, kept, s.scratch.forget)
	l.sent += uint64(size)
}

const (
	// idleAfter is how long a path may be ready before it counts as idle: less is the
	// clock's grain.
	idleAfter = 2 * time.Millisecond
	// keepFor is how long a packet is remembered of which no report tells.
	keepFor = 2 * time.Second
)

// feedback takes in the body of a FEEDBACK frame, which has been checked.
func (s *sender) feedback(now time.Time, ep *epoch, body []byte) {
	r := &s.scratch.report
	for len(body) > 0 {
		var err error
		if body, err = wire.NextLinkReport(body, r); err != nil {
			return
		}
		if int(r.Link) >= len(ep.tx.paths) {
			continue
		}
		if p := ep.tx.paths[r.Link]; p != nil && p.tx.monitor != nil {
			s.reported(now, p, r)
		}
	}
	if now.Sub(ep.tx.even.at) >= equaliseEvery {
		s.equalise(now, ep)
	}
}

// reported takes in what the peer reports of a path.
func (s *sender) reported(now time.Time, p *pathState, r *wire.LinkReport) {
	t := &p.tx
	l := t.lane
	acked, lost := 0, 0
	ack := l.ledger.Apply(r, func(f feedback.Fate, sent time.Time, size int, kept *sentPacket) {
		switch f {
		case feedback.Acked:
			acked++
			s.forget(kept)
		case feedback.Lost:
			lost++
			s.lost(now, p.epoch, kept)
		case feedback.Spurious:
			t.count.spurious++
		}
	})
	if !l.last.IsZero() {
		l.gap += (min(now.Sub(l.last), maxReportGap) - l.gap) / 8
	}
	l.last = now
	l.ledger.Expire(now.Add(-keepFor), s.scratch.forget)
	t.count.lost += uint64(lost)
	if !ack.New {
		return
	}
	l.acked = ack.Sent
	l.ack.Update(now, now.Sub(ack.Sent))
	if now.Sub(ack.Sent) < p.rto()+maxReportGap {
		t.monitor.Answered(ack.Sent)
		s.noteState(now, p, "")
	}
	sample := rate.Sample{
		Arrived: r.Arrived,
		Bytes:   r.Bytes,
		Sent:    ack.Sent,
		Offered: ack.Marker.Sent,
		Idle:    ack.Marker.Idle,
		RTT:     l.ack.Smoothed(),
		Acked:   acked,
		Lost:    lost,
	}
	if r.HasDelay {
		l.delay.Update(now, p.epoch.tx.clock.extend(r.Delay))
		sample.Delay, sample.HasDelay = p.epoch.tx.clock.extend(r.Low), true
	}
	l.rate.Update(now, sample)
	s.repace(p)
	if p.usable() {
		p.updateView()
	}
	s.wake(p.epoch.session)
}

// repace sets a path's pace to the rate that has been estimated.
func (s *sender) repace(p *pathState) {
	t := &p.tx
	if s.e.unpaced || p.epoch.session.legacy != nil {
		return
	}
	t.pacer.SetRate(t.lane.rate.Rate())
}

// doubtAt returns when a path becomes suspect unless its receiver reports what was sent
// last: the time that such a report takes, and a bit more.
func (p *pathState) doubtAt() (at time.Time, ok bool) {
	l := p.tx.lane
	oldest, since, ok := l.ledger.Oldest(l.proved)
	if !ok || !p.trusted() {
		return time.Time{}, false
	}
	patience := p.tx.rtt.Smoothed() + 4*p.tx.rtt.Var()
	if srtt := l.ack.Smoothed(); srtt > 0 {
		patience = max(patience, srtt+4*l.ack.Var())
	}
	if since < doubtPackets {
		patience += 2 * l.gap // so few may not have been worth a report yet, or it was lost
	}
	at = oldest.Add(patience + l.gap + doubtSlack)
	if at.Before(l.spared) {
		at = l.spared
	}
	return at, true
}

const (
	// doubtSlack is for what no measurement has shown yet.
	doubtSlack = 30 * time.Millisecond
	// doubtPackets is after how many packets there must have been a report.
	doubtPackets = 3 * reportShare
)

// trusted reports whether the path is Up.
func (p *pathState) trusted() bool { return p.tx.monitor.State() == path.Up }

// doubt is told that a path's receiver is silent. Its packets go out again by the
// others, if there are any that are not silent, too: then it is not the path.
func (s *sender) doubt(now time.Time, p *pathState) {
	oldest, _, _ := p.tx.lane.ledger.Oldest(p.tx.lane.proved)
	others := false
	for _, o := range p.epoch.tx.active {
		others = others || o != p && o.trusted() && o.tx.lane.speaks(oldest)
	}
	if !others {
		p.tx.lane.spared = now.Add(doubtSlack)
		return
	}
	m, ok := p.tx.monitor.(*path.Monitor)
	if !ok {
		return
	}
	m.Doubt(now)
	s.noteState(now, p, "what is sent is not acknowledged")
	p.updateView()
	s.rescue(now, p)
}

// speaks reports whether something sent after a time has been reported, or nothing is
// outstanding that could be.
func (l *lane) speaks(since time.Time) bool {
	_, _, waiting := l.ledger.Oldest(l.proved)
	return !waiting || l.acked.After(since)
}

// rescue takes what is under way on a path to be sent again by others.
func (s *sender) rescue(now time.Time, p *pathState) {
	p.tx.lane.ledger.Abandon(func(kept *sentPacket) { s.lost(now, p.epoch, kept) })
	p.tx.lane.rate.Restart()
	s.wake(p.epoch.session)
}
