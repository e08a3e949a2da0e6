package mlvpn

import (
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/scheduler"
)

// evening is how the delays of paths are evened out for flows that would suffer from
// their difference (SPEC.md, section 4.4).
type evening struct {
	hold   wire.Hold
	target time.Duration // in the peer's delays
	at     time.Time     // when it was last decided
	told   time.Time     // when the peer was last told
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
// A path takes part if the share of throughput that it adds is worth the delay that it
// adds: at most delayBudget, times the share.
func (s *sender) equalise(now time.Time, ep *epoch) {
	e := &ep.tx.even
	e.at = now
	order := s.scratch.order[:0]
	for i := range ep.tx.views {
		v := &ep.tx.views[i]
		v.Equal = false
		if v.Usable && !v.Degraded && v.Tier == 0 && ep.tx.active[i].tx.lane.delay.Known() {
			order = append(order, i)
		}
	}
	s.scratch.order = order
	high := func(i int) time.Duration { return ep.tx.active[i].tx.lane.delay.High(now) }
	slices.SortFunc(order, func(a, b int) int { return int(high(a) - high(b)) })
	var (
		sum       float64
		low, top  time.Duration
		members   int
		worstLoss float64
		quickest  time.Duration
	)
	for n, i := range order {
		v := &ep.tx.views[i]
		d := high(i)
		gain := float64(v.Rate) / max(sum, 1)
		if n == 0 {
			low, quickest = ep.tx.active[i].tx.lane.delay.Smoothed(), v.RTT
		} else if d-top > time.Duration(min(gain, 1)*float64(delayBudget+quickest)) || d-low > delayBudget {
			continue
		}
		v.Equal = true
		members++
		sum += float64(v.Rate)
		top = max(top, d)
		worstLoss = max(worstLoss, v.Loss)
		low = min(low, ep.tx.active[i].tx.lane.delay.Smoothed())
	}
	h := wire.Hold{Repair: uint16(min(s.repairTime(ep, order), time.Second) / stampUnit)}
	if members > 1 && top-low > evenEnough {
		h.Equal = true
		h.Target = uint16(top / stampUnit)
	}
	changed := h.Equal != e.hold.Equal || h.Equal && int16(h.Target-e.hold.Target) != 0 || h.Repair != e.hold.Repair
	if !changed && now.Sub(e.told) < holdEvery {
		return
	}
	e.hold, e.told, e.target = h, now, top
	s.broadcast(now, ep, &control{has: hasHold, hold: h}, 2)
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
