package mlvpn

import "time"

// explain fills in what is measured of the links, in the order of active, and what follows
// from it.
func (t *epochSender) explain(st *SessionStats) {
	h := &t.even.hold
	st.RepairWait = time.Duration(h.Repair) * stampUnit
	low, known := t.lowest(func(int) bool { return true })
	for i, p := range t.active {
		if p.epoch.session.legacy != nil {
			continue // its lane is not told of anything
		}
		out, l := &st.Links[i], p.tx.lane
		out.Capacity, out.Found = l.rate.Capacity(), l.rate.Found()
		out.Pace, out.LinkQueue = p.tx.pacer.Rate(), l.rate.Queue()
		if known && l.delay.Known() {
			out.Delay = l.delay.Smoothed() - low
		}
		out.Equal = h.Equal && t.views[i].Equal
		out.Datagrams = p.tx.count.packets + p.tx.count.control
		out.Lost, out.Spurious = p.tx.count.lost, p.tx.count.spurious
	}
	if low, ok := t.lowest(func(i int) bool { return t.views[i].Equal }); ok && h.Equal {
		st.Hold = max(0, t.clock.at(h.Target)-low)
	}
}

// lowest returns the lowest one-way delay of the active paths that of accepts, with the
// peer's offset, if one is known.
func (t *epochSender) lowest(of func(i int) bool) (low time.Duration, known bool) {
	for i, p := range t.active {
		if d := &p.tx.lane.delay; d.Known() && of(i) && (!known || d.Smoothed() < low) {
			low, known = d.Smoothed(), true
		}
	}
	return low, known
}
