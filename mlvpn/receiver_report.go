package mlvpn

import (
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
)

const (
	// reportPackets is how many packets a report is made for at least, if enough arrive and
	// nothing is missing; reportEvery the time between two such reports.
	reportPackets = 60
	reportEvery   = 15 * time.Millisecond
	// gapEvery is the time between two reports if something is missing, and urgentReports
	// how many follow a gap soon: one of them may be lost, too.
	gapEvery      = 4 * time.Millisecond
	urgentReports = 2
	// reportAfter is how long a packet waits for its report at most.
	reportAfter = 25 * time.Millisecond
	// maxReportBody bounds the reports of one datagram, in bytes.
	maxReportBody = 900
)

// reporting decides when to report what arrived in an epoch.
type reporting struct {
	fresh  int       // packets since the last report
	since  time.Time // when the first of them arrived
	urgent int       // something is missing: how many reports are to say so soon
	last   time.Time // when the last report was made
	busy   bool      // in receiver.busy
}

// arrived notes a datagram with packets.
func (c *reporting) arrived(now time.Time, gap bool) {
	if c.fresh == 0 {
		c.since = now
	}
	c.fresh++
	if gap {
		c.urgent = urgentReports
	}
}

// at returns when the next report is due; the zero Time if nothing has arrived.
func (c *reporting) at() time.Time {
	switch {
	case c.urgent > 0:
		return c.last.Add(gapEvery)
	case c.fresh == 0:
		return time.Time{}
	case c.fresh >= reportPackets:
		return c.last.Add(reportEvery)
	}
	return c.since.Add(reportAfter)
}

// reported notes that a report was made.
func (c *reporting) reported(now time.Time) {
	c.fresh, c.urgent = 0, max(c.urgent-1, 0)
	c.last = now
}

// record notes what has arrived on a path, to be reported.
func (r *receiver) record(now time.Time, stamp uint16, p *pathState, size int) {
	c := &p.epoch.rx.reporting
	gap := p.rx.recorder.Arrived(now, r.in.number, size)
	if gap && c.fresh > 0 {
		c.urgent = urgentReports
	}
	if len(r.in.packets) == 0 {
		return
	}
	for i := range r.in.packets {
		if in := &r.in.packets[i]; in.Flags&wire.FlagRepair == 0 {
			p.rx.recorder.Delay(stamp - in.Time)
		}
	}
	c.arrived(now, gap)
	if !c.busy {
		c.busy = true
		r.busy = append(r.busy, p.epoch)
	}
}

// bodies is a pool of what the two loops hand each other.
type bodies struct{ pool sync.Pool }

func (b *bodies) get() *[]byte {
	if body, ok := b.pool.Get().(*[]byte); ok {
		return body
	}
	body := make([]byte, 0, maxReportBody+wire.MaxLinkReport)
	return &body
}

func (b *bodies) put(body *[]byte) { b.pool.Put(body) }

// report makes a report on all paths that have brought something, if one is due.
func (r *receiver) report(now time.Time, ep *epoch) {
	c := &ep.rx.reporting
	at := c.at()
	if at.IsZero() || at.After(now) {
		return
	}
	fresh, urgent := uint32(c.fresh), c.urgent > 0
	c.reported(now)
	body := r.e.bodies.get()
	b := (*body)[:0]
	var rep wire.LinkReport
	clock := uint32(now.Sub(r.e.born) / time.Microsecond)
	var by *pathState
	for _, p := range ep.rx.paths {
		if p == nil || !p.rx.recorder.Worth() || len(b) >= maxReportBody {
			continue
		}
		p.rx.recorder.Report(now, clock, &rep)
		rep.Link = uint8(p.link)
		by = p
		b = wire.AppendLinkReport(b, &rep)
	}
	if by == nil {
		r.e.bodies.put(body)
		return
	}
	*body = b
	r.tell = append(r.tell, senderMsg{kind: msgReport, path: by, at: now, body: body, received: fresh, urgent: urgent})
}

// stamps remembers the packets without an order that came lately, by stamp, to drop
// copies of them.
type stamps struct {
	bits   []uint64 // ring; nil before the first
	newest uint32
}

// stampWindow is how many stamps are remembered.
const stampWindow = 1 << 13

// first reports whether a packet with this stamp has not come before. A packet too old
// to be remembered is taken for a new one.
func (s *stamps) first(stamp uint32) bool {
	if s.bits == nil {
		s.bits = make([]uint64, stampWindow/64)
		s.newest = stamp
	}
	switch ahead := int32(stamp-s.newest) << 8 >> 8; {
	case ahead >= stampWindow:
		clear(s.bits)
		s.newest = stamp
	case ahead > 0:
		for ; s.newest != stamp; s.newest = (s.newest + 1) & wire.MaxStamp {
			next := (s.newest + 1) % stampWindow
			s.bits[next/64] &^= 1 << (next % 64)
		}
	case ahead <= -stampWindow:
		return true
	}
	at := stamp % stampWindow
	old := s.bits[at/64]
	s.bits[at/64] |= 1 << (at % 64)
	return old != s.bits[at/64]
}

// hold is told how long the peer wants its packets to be kept.
func (r *receiver) hold(now time.Time, ep *epoch, h wire.Hold) {
	ep.rx.buffer.SetTarget(ep.rx.clock.at(h.Target), h.Equal)
	ep.rx.buffer.SetRepair(time.Duration(h.Repair) * stampUnit)
	r.release(now, ep)
}
