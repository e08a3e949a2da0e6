package mlvpn

import (
	"cmp"
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/scheduler"
)

// evening is how the delays of paths are evened out for flows that would suffer from
// their difference (SPEC.md, section 4.9).
type evening struct {
	hold wire.Hold
	at   time.Time // when it was last decided
	told time.Time // when the peer was last told
}

const (
	// equaliseEvery is how often the paths are looked at.
	equaliseEvery = 50 * time.Millisecond
	// holdEvery is how often the peer is told what it should know already.
	holdEvery = 500 * time.Millisecond
	// delayBudget is the most delay that a path may add for the throughput that it adds.
	delayBudget = 100 * time.Millisecond
	// repairSlack is for gathering the report and for queueing, and maxRepairTime what no
	// flow should wait longer for.
	repairSlack   = 25 * time.Millisecond
	maxRepairTime = 150 * time.Millisecond
	// evenEnough is a difference of delays that no receiver minds.
	evenEnough = 5 * time.Millisecond
)

// equalise chooses the paths whose delays are evened out, and tells the peer up to which
// delay it should hold packets.
//
// A path takes part if the throughput that it adds is worth the delay that it adds:
// twice the throughput is worth delayBudget and a round trip of the quickest path, and
// less in proportion.
func (s *sender) equalise(now time.Time, ep *epoch) {
	e := &ep.tx.even
	e.at = now
	order := s.byDelay(now, ep)
	h := wire.Hold{Repair: uint16(s.repairTime(ep, order) / stampUnit)}
	if low, high, members := ep.chooseEqual(now, order); members > 1 && high-low > evenEnough {
		h.Equal, h.Target = true, uint16(high/stampUnit)
	}
	if ep.session.tx.quiet(now) {
		// Nobody needs to know: a server may have a thousand such clients. No packet asks to
		// be held from now on, and the first report on packets makes this end speak again.
		e.hold.Equal = false
		return
	}
	if h == e.hold && now.Sub(e.told) < holdEvery {
		return
	}
	e.hold, e.told = h, now
	s.broadcast(now, ep, &control{has: hasHold, hold: h}, 2)
}

// byDelay returns the views of the paths that could take part, the quickest first.
func (s *sender) byDelay(now time.Time, ep *epoch) []int {
	order := s.scratch.order[:0]
	for i := range ep.tx.views {
		v := &ep.tx.views[i]
		v.Equal = false
		if v.Usable && !v.Degraded && v.Tier == 0 && ep.tx.active[i].tx.lane.delay.Known() {
			order = append(order, i)
		}
	}
	s.scratch.order = order
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(ep.high(now, a), ep.high(now, b)) })
	return order
}

// high returns the delay that nearly all packets on a path do not exceed.
func (ep *epoch) high(now time.Time, view int) time.Duration {
	return ep.tx.active[view].tx.lane.delay.High(now)
}

// chooseEqual marks the views that take part, of those in order, and returns their usual
// delays at the low end and their high ones at the high end.
func (ep *epoch) chooseEqual(now time.Time, order []int) (low, high time.Duration, members int) {
	var sum float64 // of their rates
	var rtt time.Duration
	for n, i := range order {
		v := &ep.tx.views[i]
		usual, d := ep.tx.active[i].tx.lane.delay.Smoothed(), ep.high(now, i)
		if n == 0 {
			low, high, rtt = usual, d, v.RTT
		}
		worth := time.Duration(min(float64(v.Rate)/max(sum, 1), 1) * float64(delayBudget+rtt))
		if n > 0 && (d-high > worth || d-low > delayBudget) {
			continue
		}
		v.Equal = true
		members++
		sum += float64(v.Rate)
		low, high = min(low, usual), max(high, d)
	}
	return low, high, members
}

// repairTime returns how long a packet that has certainly been lost takes to come again:
// the report takes one of the two quickest paths back, and the packet the quickest one.
func (s *sender) repairTime(ep *epoch, order []int) time.Duration {
	if len(order) == 0 {
		return 0
	}
	there := ep.tx.views[order[0]].RTT / 2
	back := there
	if len(order) > 1 {
		back = max(back, ep.tx.views[order[1]].RTT/2)
	}
	return min(there+back+4*ep.tx.views[order[0]].RTTVar+repairSlack, maxRepairTime)
}

// broadcast sends a control message by the n quickest paths.
func (s *sender) broadcast(now time.Time, ep *epoch, c *control, n int) {
	last := -1
	for range n {
		best := -1
		for i := range ep.tx.views {
			v := &ep.tx.views[i]
			if !v.Usable || last >= 0 && !slower(ep.tx.views, i, last) {
				continue
			}
			if best < 0 || slower(ep.tx.views, best, i) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		s.control(now, ep.tx.active[best], c)
		last = best
	}
}

// slower orders paths: degraded ones last, the others by delay.
func slower(views []scheduler.Path, a, b int) bool {
	x, y := &views[a], &views[b]
	switch {
	case x.Degraded != y.Degraded:
		return x.Degraded
	case x.Delay != y.Delay:
		return x.Delay > y.Delay
	}
	return x.ID > y.ID
}
