package reorder

import "time"

const (
	stampBits = 24

	// maxAhead is how far ahead of the newest stamp a stamp can be; the rest of the
	// number space is behind. A packet that is 2^22 packets late does not exist, but
	// an outage of 2^23 packets may.
	maxAhead = 3 << (stampBits - 2)
)

// core is a Buffer without values: it deals in slots.
type core struct {
	flows    []*flow // by Packet.Flow; nil until used
	window   int
	maxSpan  uint64 // how many orders a flow's ring covers at most, a power of two
	maxHold  int64  // ns
	slack    int64  // ns
	links    links
	pool     pool
	rings    rings
	byTime   flowHeap  // flows with a hole, by the deadline of the hole
	byStamp  flowHeap  // the same flows, by the stamp of the first packet behind it
	byDue    flowHeap  // flows whose first packet is not due yet, by when it will be
	delayed  slotHeap  // packets of no flow that are not due yet
	ready    flowQueue // flows that pop can take from without giving anything up
	target   time.Duration
	equalise bool
	repair   int64 // ns
	moments  moments
	scratch  []*flow // of resettle
	stats    Stats
	newest   uint64 // extended stamp of the newest packet; 0 is none
	epoch    time.Time
	now      int64 // latest time seen, ns since epoch
	flushing bool
}

func (c *core) init(cfg Config) {
	c.flows = make([]*flow, cfg.flows())
	c.window = cfg.window()
	c.maxSpan = uint64(max(ceilPow2(c.window), minRing))
	c.maxHold = int64(cfg.maxHold())
	c.slack = int64(cfg.slack())
	c.byTime.key = keyTime
	c.byStamp.key = keyStamp
	c.byDue.key = keyDue
	c.reset()
}

func (c *core) reset() {
	clear(c.flows)
	c.links = links{}
	c.pool.reset(c.window)
	c.rings = rings{budget: 8 * int(c.maxSpan)}
	c.byTime.reset()
	c.byStamp.reset()
	c.byDue.reset()
	c.delayed.ids = c.delayed.ids[:0]
	c.target, c.equalise = 0, false
	c.repair, c.moments = 0, moments{}
	c.ready = flowQueue{}
	c.stats = Stats{}
	c.newest = 0
	c.epoch = time.Time{}
	c.now = 0
	c.flushing = false
}

// tick moves the clock.
func (c *core) tick(now time.Time) {
	if c.epoch.IsZero() {
		c.epoch = now
	}
	c.now = max(c.now, int64(now.Sub(c.epoch)))
}

// extend returns the stamp without wrapping, and notes it.
func (c *core) extend(stamp uint32) uint64 {
	const space = 1 << stampBits
	s := uint64(stamp) % space
	if c.newest == 0 {
		c.newest = space + s
		return c.newest
	}
	ahead := (s - c.newest) % space
	if ahead >= maxAhead {
		return c.newest - (space - ahead)
	}
	c.newest += ahead
	return c.newest
}

func (c *core) flow(i int) *flow {
	i &= len(c.flows) - 1
	f := c.flows[i]
	if f == nil {
		f = newFlow()
		c.flows[i] = f
	}
	return f
}

func (c *core) seen(now time.Time, link int, stamp uint32, delay time.Duration) {
	c.tick(now)
	c.links.arrived(c.now, link, c.extend(stamp), delay)
	if c.repair > 0 {
		c.progress()
	}
}

// arrived notes a packet and fills in s, a zero slot. A repaired packet says nothing about
// its link: it took its time elsewhere.
func (c *core) arrived(p *Packet, s *slot) {
	s.stamp, s.at, s.timed = c.extend(p.Stamp), c.now, p.Hold
	if !p.Repaired {
		s.sent = c.now - c.links.arrived(c.now, p.Link, s.stamp, p.Delay)
		if c.repair > 0 {
			c.progress()
		}
	}
}

func (c *core) push(now time.Time, p *Packet) (Verdict, slotID) {
	c.tick(now)
	verdict, id := c.place(p)
	switch {
	case !p.Repaired || verdict == Duplicate:
	case verdict == Late:
		c.stats.RepairedLate++
	default:
		c.stats.Repaired++
	}
	return verdict, id
}

// place decides about a packet in the order of its flow.
func (c *core) place(p *Packet) (Verdict, slotID) {
	var s slot
	c.arrived(p, &s)
	f := c.flow(p.Flow)
	order := f.extend(p.Order, s.stamp)
	s.order = order
	if p.Repaired {
		c.timeRepaired(f, &s)
	}

	if order < f.next {
		if f.wasDelivered(order) {
			c.stats.Duplicates++
			return Duplicate, 0
		}
		f.markDelivered(order)
		c.stats.Late++
		return Late, 0
	}
	early := s.timed && c.isEarly(f, &s)
	if f.held == 0 && order > f.next && !early && (c.maxHold == 0 || s.stamp <= c.certain()) {
		lost := &c.stats.LostCertain
		if c.maxHold == 0 {
			lost = &c.stats.LostDeadline
		}
		*lost += f.skipTo(order)
	}
	if order == f.next && f.ringAt(order) == 0 && !early {
		f.markDelivered(order)
		f.next++
		c.stats.Delivered++
		if f.held > 0 {
			c.moved(f)
		}
		return Next, 0
	}
	if f.ringAt(order) != 0 || f.far != 0 && c.pool.slots[f.far].order == order {
		c.stats.Duplicates++
		return Duplicate, 0
	}
	wait := c.slack
	if !p.Repaired {
		delay := s.at - s.sent
		wait += max(c.links.slowest(c.now, c.maxHold, delay)-delay, 0)
	}
	s.deadline = s.at + min(wait, c.maxHold)
	id := c.hold(f, &s)
	if id == 0 {
		c.stats.Late++
		return Late, 0
	}
	c.stats.Held++
	if early {
		c.stats.Early++
	}
	return Held, id
}

// hold takes a slot for a packet that waits for others or for its time. It returns 0
// if there is no room, which cannot be if the caller popped what it could.
func (c *core) hold(f *flow, s *slot) slotID {
	order := s.order
	fits := c.grow(f, order)
	if !fits && f.far != 0 {
		return 0
	}
	id := c.pool.take()
	if id == 0 {
		return 0
	}
	c.pool.slots[id] = *s
	c.pool.link(f, id)

	switch {
	case fits:
		f.put(id, order)
	case f.held == 1:
		c.stats.LostWindow += f.skipTo(order - f.span() + 1)
		f.put(id, order)
	default:
		f.far = id
		f.forced = order - f.span() + 1
	}
	c.settle(f)
	return id
}

// grow makes room in the flow's ring for order, or at least as much as it can. It
// reports whether order fits.
func (c *core) grow(f *flow, order uint64) bool {
	need := min(order-f.next+1, c.maxSpan)
	for f.span() < need {
		r := c.rings.get(ceilPow2(int(need)))
		for size := ceilPow2(int(need)) / 2; r == nil && size > int(f.span()); size /= 2 {
			r = c.rings.get(size)
		}
		if r == nil {
			break
		}
		for id := f.oldest; id != 0; id = c.pool.slots[id].younger {
			if id != f.far {
				o := c.pool.slots[id].order
				r[o&uint64(len(r)-1)] = id
			}
		}
		clear(f.ring)
		c.rings.put(f.ring)
		f.ring = r
	}
	return order-f.next < f.span()
}

// moved brings the flow's state up to date after next moved.
func (c *core) moved(f *flow) {
	if f.far != 0 {
		id := f.far
		if o := c.pool.slots[id].order; o-f.next < f.span() {
			f.far = 0
			f.put(id, o)
		}
	}
	f.findFirst()
	c.settle(f)
}

// settle puts the flow where it belongs: on the ready queue, in the heaps, or
// nowhere. It leaves a flow on the ready queue, where pop looks at it.
func (c *core) settle(f *flow) {
	switch {
	case f.held == 0:
		c.forget(f)
		c.rings.put(f.ring)
		f.ring = nil
	case f.queued:
	case c.isReady(f):
		c.forget(f)
		c.ready.add(f)
	case c.early(c.firstDue(f)):
		c.byTime.remove(f)
		c.byStamp.remove(f)
		c.byDue.set(f, uint64(c.firstDue(f)))
	default:
		c.byDue.remove(f)
		c.byTime.set(f, c.giveUpAt(f))
		c.byStamp.set(f, c.pool.slots[f.ringAt(f.first)].stamp)
	}
}

// resettle brings the state of all waiting flows up to date after a setting has changed.
func (c *core) resettle() {
	c.scratch = append(append(c.scratch[:0], c.byTime.flows...), c.byDue.flows...)
	for _, f := range c.scratch {
		c.settle(f)
	}
	clear(c.scratch)
}

// forget takes the flow out of the heaps.
func (c *core) forget(f *flow) {
	c.byTime.remove(f)
	c.byStamp.remove(f)
	c.byDue.remove(f)
}

// isReady reports whether pop can take from the flow, or skip what it is forced to.
func (c *core) isReady(f *flow) bool {
	return f.isForced() || f.hasNext() && !c.early(c.firstDue(f))
}
