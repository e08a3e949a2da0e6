package reorder

import "time"

// dueSlack is how much too early a packet may be delivered: to wait for less is not
// worth a timer, and what is due within it goes out in one batch.
const dueSlack = int64(500 * time.Microsecond)

func (c *core) setTarget(delay time.Duration, on bool) {
	if delay == c.target && on == c.equalise {
		return
	}
	c.target, c.equalise = delay, on
	c.resettle()
	for _, id := range c.delayed.ids {
		s := &c.pool.slots[id]
		s.deadline = c.dueAt(s.sent, s.at)
	}
	c.delayed.init(&c.pool)
}

// dueAt returns the time at which a packet would have arrived had its delay been the
// target, but no later than MaxHold after arrived. Without a target that is long ago, and
// still in the order in which the packets were sent.
func (c *core) dueAt(sent, arrived int64) int64 {
	if !c.equalise {
		return sent - 1<<62
	}
	return min(sent+c.links.relative(c.target), arrived+c.maxHold)
}

// early reports whether a packet that is due at a time has to wait.
func (c *core) early(due int64) bool { return due-c.now >= dueSlack }

// firstDue returns when the first packet in the flow's ring is due. It does not detain
// any packet of the flow for more than MaxHold.
func (c *core) firstDue(f *flow) int64 {
	s := &c.pool.slots[f.ringAt(f.first)]
	if !s.timed {
		return c.now
	}
	return c.dueAt(s.sent, c.pool.slots[f.oldest].at)
}

// isEarly reports whether s, which is timed and has just arrived, would have to wait for its time at
// the head of its flow.
func (c *core) isEarly(f *flow, s *slot) bool {
	arrived := s.at
	if f.held > 0 {
		arrived = c.pool.slots[f.oldest].at
	}
	return c.early(c.dueAt(s.sent, arrived))
}

// delay deals with a packet that has no place in any order.
func (c *core) delay(now time.Time, p *Packet) (Verdict, slotID) {
	c.tick(now)
	var s slot
	c.arrived(p, &s)
	due := c.dueAt(s.sent, s.at)
	if p.Repaired || !c.early(due) {
		return Next, 0
	}
	id := c.pool.take()
	if id == 0 {
		return Next, 0
	}
	s.deadline = due
	c.pool.slots[id] = s
	c.delayed.push(&c.pool, id)
	c.stats.Held++
	c.stats.Early++
	return Held, id
}

// takeDelayed removes the first packet of no order.
func (c *core) takeDelayed() slotID {
	id := c.delayed.pop(&c.pool)
	c.stats.hold(time.Duration(c.now - c.pool.slots[id].at))
	c.pool.put(id)
	return id
}
