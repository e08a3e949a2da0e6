package reorder

import (
	"math"
	"time"
)

// take removes the next packet of the flow, which hasNext.
func (c *core) take(f *flow) slotID {
	id := f.takeNext()
	c.stats.Delivered++
	c.stats.hold(time.Duration(c.now - c.pool.slots[id].at))
	c.pool.unlink(f, id)
	c.pool.put(id)
	c.moved(f)
	return id
}

// release gives up the hole at the flow's head, or as much of it as the flow is
// forced to, and counts it in lost.
func (c *core) release(f *flow, lost *uint64) {
	to := f.first
	if f.forced > f.next && (f.inRing() == 0 || f.forced < to) {
		to = f.forced
	}
	*lost += f.skipTo(to)
	c.moved(f)
}

func (c *core) pop(now time.Time) (slotID, bool) {
	c.tick(now)
	if c.repair > 0 {
		c.progress() // a link may have become active, or no longer
	}
	if c.pool.used == 0 {
		c.flushing = false
		return 0, false
	}
	for {
		f := c.ready.head
		switch {
		case f == nil:
			n := c.nextStep()
			switch {
			case n.delayed:
				return c.takeDelayed(), true
			case n.flow == nil:
				return 0, false
			case n.lost == nil:
				c.settle(n.flow)
			case n.flow.hasNext():
				return c.take(n.flow), true
			default:
				c.release(n.flow, n.lost)
			}
		case !c.isReady(f):
			c.ready.drop()
			c.settle(f)
		case !f.hasNext():
			c.release(f, &c.stats.LostWindow)
		default:
			id := c.take(f)
			if !c.isReady(f) {
				c.ready.drop()
				c.settle(f)
			}
			return id, true
		}
	}
}

// A step is what to do when no flow is ready; the zero step is to wait.
type step struct {
	delayed bool  // deliver the first of delayed
	flow    *flow // else go on with this flow, whose first packet is due

	// lost, if not nil, says to give up the hole before the flow's first packet, for
	// this reason, or if there is none, not to wait until the packet is due.
	lost *uint64
}

// nextStep says what to do next with what is held, which is something.
func (c *core) nextStep() step {
	if c.flushing {
		return c.forcedStep(&c.stats.LostFlush)
	}
	if s := c.dueStep(); s != (step{}) {
		return s
	}
	if len(c.byTime.flows) > 0 {
		if f := c.byStamp.flows[0]; f.keys[keyStamp] <= c.certain() {
			return step{flow: f, lost: &c.stats.LostCertain}
		}
		if f := c.byTime.flows[0]; f.keys[keyTime] <= uint64(c.now) {
			return step{flow: f, lost: &c.stats.LostDeadline}
		}
	}
	if c.pool.used == c.window {
		return c.forcedStep(&c.stats.LostWindow)
	}
	return step{}
}

// dueStep goes on with what has waited for its time for long enough.
func (c *core) dueStep() step {
	if len(c.delayed.ids) > 0 && !c.early(c.pool.slots[c.delayed.ids[0]].deadline) {
		return step{delayed: true}
	}
	if len(c.byDue.flows) > 0 && !c.early(int64(c.byDue.flows[0].keys[keyDue])) {
		return step{flow: c.byDue.flows[0]}
	}
	return step{}
}

// forcedStep goes on where it does least harm: with what only waits for its time, then
// with the hole that has the earliest deadline.
func (c *core) forcedStep(lost *uint64) step {
	due := c.byDue.flows
	switch {
	case len(c.delayed.ids) > 0 && (len(due) == 0 || c.pool.slots[c.delayed.ids[0]].deadline <= int64(due[0].keys[keyDue])):
		return step{delayed: true}
	case len(due) > 0:
		return step{flow: due[0], lost: lost}
	}
	return step{flow: c.byTime.flows[0], lost: lost}
}

func (c *core) nextDeadline() (time.Time, bool) {
	if c.pool.used == 0 {
		return time.Time{}, false
	}
	at := c.now
	if c.ready.head == nil && c.nextStep() == (step{}) {
		at = c.waitUntil()
	}
	return c.epoch.Add(time.Duration(at)), true
}

// waitUntil returns the time of the next step.
func (c *core) waitUntil() int64 {
	at := int64(math.MaxInt64)
	if len(c.byTime.flows) > 0 {
		at = int64(c.byTime.flows[0].keys[keyTime])
		if certain, ok := c.moments.at(c.byStamp.flows[0].keys[keyStamp]); ok {
			at = min(at, certain+c.repair)
		}
	}
	if len(c.byDue.flows) > 0 {
		at = min(at, int64(c.byDue.flows[0].keys[keyDue]))
	}
	if len(c.delayed.ids) > 0 {
		at = min(at, c.pool.slots[c.delayed.ids[0]].deadline)
	}
	return at
}
