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
	byTime   holeHeap  // flows with a hole, by the deadline of the hole
	byStamp  holeHeap  // the same flows, by the stamp of the first packet behind it
	ready    flowQueue // flows that pop can take from without giving anything up
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
	c.reset()
}

func (c *core) reset() {
	clear(c.flows)
	c.links = links{}
	c.pool.reset(c.window)
	c.rings = rings{budget: 8 * int(c.maxSpan)}
	c.byTime.reset()
	c.byStamp.reset()
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
}

func (c *core) push(now time.Time, p Packet) (Verdict, slotID) {
	c.tick(now)
	stamp := c.extend(p.Stamp)
	delay := c.links.arrived(c.now, p.Link, stamp, p.Delay)
	f := c.flow(p.Flow)
	order := f.extend(p.Order, stamp)

	if order < f.next {
		if f.wasDelivered(order) {
			c.stats.Duplicates++
			return Duplicate, 0
		}
		f.markDelivered(order)
		c.stats.Late++
		return Late, 0
	}
	if f.held == 0 && order > f.next && (c.maxHold == 0 || stamp <= c.links.passed()) {
		lost := &c.stats.LostCertain
		if c.maxHold == 0 {
			lost = &c.stats.LostDeadline
		}
		*lost += f.skipTo(order)
	}
	if order == f.next && f.ringAt(order) == 0 {
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
	id := c.hold(f, order, stamp, delay)
	if id == 0 {
		c.stats.Late++
		return Late, 0
	}
	return Held, id
}

// hold takes a slot for a packet behind a hole. It returns 0 if there is no room,
// which cannot be if the caller popped what it could.
func (c *core) hold(f *flow, order, stamp uint64, delay int64) slotID {
	fits := c.grow(f, order)
	if !fits && f.far != 0 {
		return 0
	}
	id := c.pool.take()
	if id == 0 {
		return 0
	}
	s := &c.pool.slots[id]
	s.order, s.stamp, s.at = order, stamp, c.now
	s.deadline = c.now + min(max(c.links.slowest(c.now, c.maxHold, delay)-delay, 0)+c.slack, c.maxHold)
	c.pool.link(f, id)
	c.stats.Held++

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
		c.byTime.remove(f)
		c.byStamp.remove(f)
		c.rings.put(f.ring)
		f.ring = nil
	case f.queued:
	case f.isReady():
		c.byTime.remove(f)
		c.byStamp.remove(f)
		c.ready.add(f)
	default:
		c.byTime.set(f, uint64(c.pool.slots[f.oldest].deadline))
		c.byStamp.set(f, c.pool.slots[f.ringAt(f.first)].stamp)
	}
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
	for {
		f := c.ready.head
		switch {
		case f == nil:
			f, lost := c.releasable()
			if f == nil {
				return 0, false
			}
			c.release(f, lost)
		case !f.isReady():
			c.ready.drop()
			c.settle(f)
		case f.inRing() == 0 || f.first != f.next:
			c.release(f, &c.stats.LostWindow)
		default:
			id := f.takeNext()
			c.stats.Delivered++
			c.stats.hold(time.Duration(c.now - c.pool.slots[id].at))
			c.pool.unlink(f, id)
			c.moved(f)
			if !f.isReady() {
				c.ready.drop()
				c.settle(f)
			}
			return id, true
		}
	}
}

// releasable returns a flow whose head hole is to be given up now, and the counter
// for the reason.
func (c *core) releasable() (*flow, *uint64) {
	if len(c.byTime.flows) == 0 {
		c.flushing = false
		return nil, nil
	}
	if c.flushing {
		return c.byTime.flows[0], &c.stats.LostFlush
	}
	if f := c.byStamp.flows[0]; f.keys[keyStamp] <= c.links.passed() {
		return f, &c.stats.LostCertain
	}
	if f := c.byTime.flows[0]; f.keys[keyTime] <= uint64(c.now) {
		return f, &c.stats.LostDeadline
	}
	if c.pool.used == c.window {
		return c.byTime.flows[0], &c.stats.LostWindow
	}
	return nil, nil
}

func (c *core) nextDeadline() (time.Time, bool) {
	if c.pool.used == 0 {
		return time.Time{}, false
	}
	at := c.now
	if c.ready.head == nil {
		if f, _ := c.releasable(); f == nil {
			at = int64(c.byTime.flows[0].keys[keyTime])
		}
	}
	return c.epoch.Add(time.Duration(at)), true
}
