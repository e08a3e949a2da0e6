package mlvpn

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
)

// debt is a report that is to be sent to the peer. It goes along with a packet if there
// is one soon, and else in a datagram of its own, of which there may be no more than a
// share of the packets reported on.
type debt struct {
	body   *[]byte // of engine.bodies; nil if nothing is owed
	due    time.Time
	credit int // in packets
	alone  uint64
}

const (
	// reportShare is the number of packets for each report in a datagram of its own.
	reportShare = 60
	// maxReportCredit bounds what may be saved, and maxReportDebt what may be borrowed.
	maxReportCredit = 8 * reportShare
	maxReportDebt   = 2 * reportShare
	// reportWait is how long a report waits for a packet to go along with, and urgentWait
	// one that tells of a loss.
	reportWait = 10 * time.Millisecond
	urgentWait = 2 * time.Millisecond
	// maxReportGap is how long a report is withheld at most.
	maxReportGap = 200 * time.Millisecond
)

// owe takes over a report from the receiver. For each path a later one says all that an
// earlier one did.
func (s *sender) owe(now time.Time, ep *epoch, m *senderMsg) {
	d := &ep.tx.debt
	d.credit = min(d.credit+int(m.received), maxReportCredit)
	wait := reportWait
	if m.urgent {
		wait = urgentWait
	}
	if d.credit < 0 {
		wait = maxReportGap
	}
	if at := now.Add(wait); d.body == nil || at.Before(d.due) {
		d.due = at
	}
	if d.body != nil {
		s.merge(m.body, d.body)
		s.e.bodies.put(d.body)
	}
	d.body = m.body
	s.wake(ep.session)
}

// merge adds to a report what an earlier one, which has not been sent, tells of paths that
// have brought nothing since.
func (s *sender) merge(later, earlier *[]byte) {
	var has [256 / 64]uint64 // links in later
	r := &s.scratch.report
	for body := *later; len(body) > 0; {
		var err error
		if body, err = wire.NextLinkReport(body, r); err != nil {
			return
		}
		has[r.Link/64] |= 1 << (r.Link % 64)
	}
	for body := *earlier; len(body) > 0 && len(*later) < maxReportBody; {
		rest, err := wire.NextLinkReport(body, r)
		if err != nil {
			return
		}
		if has[r.Link/64]&(1<<(r.Link%64)) == 0 {
			*later = append(*later, body[:len(body)-len(rest)]...)
		}
		body = rest
	}
}

// along returns the report that is to go along with a packet in buf on a path, or nil.
func (s *sender) along(p *pathState, size, room int) []byte {
	d := &p.epoch.tx.debt
	if d.body == nil || !p.epoch.tx.prompt(p.tx.view) {
		return nil
	}
	need := len(*d.body) + wire.FrameOverhead + wire.LengthSize
	if mtu := p.epoch.tx.views[p.tx.view].MTU; need > room || mtu > 0 && size+need > mtu {
		return nil
	}
	return *d.body
}

// prompt reports whether what goes by a path arrives little later than by another.
func (t *epochSender) prompt(view int) bool {
	for i := range t.views {
		if t.views[i].Usable && t.views[view].Delay-t.views[i].Delay >= delayBudget {
			return false
		}
	}
	return true
}

// paid forgets the report, because it has been sent.
func (s *sender) paid(ep *epoch) {
	s.e.bodies.put(ep.tx.debt.body)
	ep.tx.debt.body = nil
}

// pay sends the report in a datagram of its own if it is due. These alternate between the
// two quickest paths, so that a dead path does not take all of them.
func (s *sender) pay(now time.Time, ep *epoch) {
	d := &ep.tx.debt
	if d.body == nil || now.Before(d.due) {
		return
	}
	first, second := -1, -1
	for i := range ep.tx.views {
		switch {
		case !ep.tx.views[i].Usable:
		case first < 0 || slower(ep.tx.views, first, i):
			first, second = i, first
		case second < 0 || slower(ep.tx.views, second, i):
			second = i
		}
	}
	if first >= 0 {
		if d.alone++; second >= 0 && d.alone%2 == 1 && ep.tx.prompt(second) {
			first = second
		}
		s.control(now, ep.tx.active[first], &control{has: hasFeedback, feedback: *d.body})
		d.credit = max(d.credit-reportShare, -maxReportDebt)
	}
	s.paid(ep)
}
