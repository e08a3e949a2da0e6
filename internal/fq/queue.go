package fq

import "time"

// NumClasses is the number of classes, from 0 up. Higher ones go first.
const NumClasses = 2

// priorityQuanta is how much of a class goes before a lower one gets a turn.
const priorityQuanta = 4

// A Queue holds packets, which are of any type T, by flow. See the package comment for how
// to use it. Make one with New.
//
// A Queue is not safe for concurrent use. Time never goes back: a now before an earlier
// one counts as that one.
type Queue[T any] struct {
	cfg     Config[T]
	codel   codelParams
	packets pool[T]
	flows   flowTable
	classes [NumClasses]class
	bytes   int
	epoch   time.Time
	now     int64 // ns since epoch

	current flowID // that Head returned the head of; 0 is none
	from    listID // and the list that it is first in

	peak  int   // most packets since
	since int64 // ns since epoch
}

// class has the flows of a class that are not skipped, and in the same lists those that
// are.
type class struct {
	lists   [numLists]flowList
	skipped [numLists]flowList
	packets int
	credit  int // bytes that may go before a lower class gets a turn
	stats   Stats
}

// listID says which of the lists of RFC 8290 is meant.
type listID uint8

const (
	newFlows listID = iota
	oldFlows
	numLists
)

// New returns an empty queue.
func New[T any](cfg Config[T]) *Queue[T] {
	q := &Queue[T]{cfg: cfg.withDefaults()}
	q.SetTarget(cfg.Target, cfg.Interval)
	for c := range q.classes {
		q.classes[c].credit = priorityQuanta * q.cfg.Quantum
	}
	return q
}

// SetTarget changes Config.Target and Config.Interval, with the same defaults.
func (q *Queue[T]) SetTarget(target, interval time.Duration) {
	q.codel = newCodelParams(target, interval)
}

// Push appends v, a packet of size bytes, to the queue of the flow with this hash in this
// class, 0 to NumClasses-1. If the queue is full then, it drops. Push makes invalid what
// Head returned.
func (q *Queue[T]) Push(now time.Time, hash uint32, class, size int, v T) {
	q.tick(now)
	q.current = 0
	c := &q.classes[class]
	key := flowKey{hash, uint8(class)}
	id := q.flows.find(key)
	if id == 0 {
		id = q.flows.add(key)
		q.flows.at(id).deficit = q.cfg.Quantum
		c.lists[newFlows].push(&q.flows, id)
	}
	size = max(size, 1)
	q.packets.push(&q.flows.at(id).fifo, v, size, q.now)
	c.packets++
	c.stats.Pushed++
	q.bytes += size
	q.peak = max(q.peak, q.packets.used)
	for q.packets.used > q.cfg.Packets || q.bytes > q.cfg.Bytes {
		q.overflow()
	}
	if q.packets.used == 0 {
		q.emptied()
	}
}

// overflow drops from the head of the flow that has the most bytes: half of them, or a
// batch of packets, which spares looking for that flow for every packet (RFC 8290, 4.1.1).
func (q *Queue[T]) overflow() {
	const batch = 64
	f := q.flows.largest()
	half := f.bytes / 2
	for n := 0; n < batch && f.packets > 0 && (n == 0 || f.bytes > half); n++ {
		q.drop(f, Overflow)
	}
}

// Begin starts a round: no flow is skipped any more.
func (q *Queue[T]) Begin(now time.Time) {
	q.tick(now)
	q.current = 0
	for i := range q.classes {
		c := &q.classes[i]
		for l := range c.lists {
			c.lists[l].prepend(&q.flows, &c.skipped[l])
		}
	}
}

// Head returns the packet at the head of the flow whose turn it is, among those that are
// not skipped, or false if there is none. It is where CoDel drops and marks. The packet
// may be changed in place; the pointer is valid until the next call of a method that is
// not an accessor.
func (q *Queue[T]) Head(now time.Time) (v *T, ok bool) {
	q.tick(now)
	for i := NumClasses - 1; i >= 0; i-- {
		if i == 0 || q.classes[i].credit > 0 {
			if q.headOf(&q.classes[i]) {
				return q.head()
			}
		}
	}
	for i := NumClasses - 1; i > 0; i-- {
		if q.classes[i].credit <= 0 && q.headOf(&q.classes[i]) {
			return q.head()
		}
	}
	q.current = 0
	return nil, false
}

func (q *Queue[T]) head() (*T, bool) {
	return &q.packets.at(q.flows.at(q.current).head).v, true
}

// headOf makes the flow current that is to be served next in a class (RFC 8290, 4.2). It
// reports false if there is none.
func (q *Queue[T]) headOf(c *class) bool {
	for {
		from := newFlows
		if c.lists[from].head == 0 {
			from = oldFlows
		}
		id := c.lists[from].head
		if id == 0 {
			return false
		}
		f := q.flows.at(id)
		switch {
		case f.deficit <= 0:
			f.deficit += q.cfg.Quantum
			c.lists[from].pop(&q.flows)
			c.lists[oldFlows].push(&q.flows, id)
		case q.control(f):
			q.current, q.from = id, from
			return true
		case from == newFlows:
			// It stays for one turn of the others: a flow that comes back at once
			// must not starve them.
			c.lists[from].pop(&q.flows)
			c.lists[oldFlows].push(&q.flows, id)
		default:
			c.lists[from].pop(&q.flows)
			q.flows.remove(id)
		}
	}
}

// Take removes the packet that Head has just returned, and returns it. It panics if there
// is none.
func (q *Queue[T]) Take() T {
	if q.current == 0 {
		panic("fq: Take without a successful Head before it")
	}
	f := q.flows.at(q.current)
	q.current = 0
	v, size, at := q.packets.pop(&f.fifo)
	f.deficit -= size
	q.bytes -= size
	c := &q.classes[f.key.class]
	c.packets--
	c.stats.take(time.Duration(q.now - at))
	q.charge(int(f.key.class), size)
	if q.packets.used == 0 {
		q.emptied()
	}
	return v
}

// charge notes that a class was served.
func (q *Queue[T]) charge(class, size int) {
	full := priorityQuanta * q.cfg.Quantum
	lower := 0
	for i := range class {
		lower += q.classes[i].packets
	}
	c := &q.classes[class]
	if lower > 0 {
		c.credit -= size
	} else {
		c.credit = full
	}
	for i := class + 1; i < NumClasses; i++ {
		q.classes[i].credit = full
	}
}

// Skip passes over the flow of the packet that Head has just returned: Head goes on with
// others until the next Begin. It panics if there is none.
func (q *Queue[T]) Skip() {
	if q.current == 0 {
		panic("fq: Skip without a successful Head before it")
	}
	c := &q.classes[q.flows.at(q.current).key.class]
	c.lists[q.from].pop(&q.flows)
	c.skipped[q.from].push(&q.flows, q.current)
	q.current = 0
}

// Len returns the number of packets.
func (q *Queue[T]) Len() int { return q.packets.used }

// Bytes returns the sum of the sizes of the packets.
func (q *Queue[T]) Bytes() int { return q.bytes }

// Queued returns the number of packets of a flow in a class.
func (q *Queue[T]) Queued(hash uint32, class int) int {
	id := q.flows.find(flowKey{hash, uint8(class)})
	if id == 0 {
		return 0
	}
	return q.flows.at(id).packets
}

// Stats returns what happened to the packets of a class so far.
func (q *Queue[T]) Stats(class int) Stats { return q.classes[class].stats }

// Clear drops everything.
func (q *Queue[T]) Clear() {
	q.current = 0
	for i := range q.flows.flows {
		for f := &q.flows.flows[i]; f.packets > 0; {
			q.drop(f, Cleared)
		}
	}
	q.emptied()
}

// Shrink gives back the memory for packets and flows if the queue is empty. It is for one
// that has nothing to do: one that is used shrinks by itself.
func (q *Queue[T]) Shrink() {
	if q.packets.used == 0 {
		q.packets, q.flows = pool[T]{}, flowTable{}
	}
}

// emptied forgets the flows after the last packet has left.
func (q *Queue[T]) emptied() {
	for i := range q.classes {
		c := &q.classes[i]
		for l := range c.lists {
			for _, list := range []*flowList{&c.lists[l], &c.skipped[l]} {
				for list.head != 0 {
					q.flows.remove(list.pop(&q.flows))
				}
			}
		}
	}
	const period, least = int64(time.Second), 16
	if q.now-q.since < period {
		return
	}
	if q.packets.cap() > 4*max(q.peak, least) {
		q.Shrink()
	}
	q.peak, q.since = 0, q.now
}

// drop removes the head of a flow.
func (q *Queue[T]) drop(f *flow, why Reason) {
	v, size, _ := q.packets.pop(&f.fifo)
	q.bytes -= size
	c := &q.classes[f.key.class]
	c.packets--
	c.stats.Dropped[why]++
	if q.cfg.Drop != nil {
		q.cfg.Drop(v, why)
	}
}

// tick moves the clock.
func (q *Queue[T]) tick(now time.Time) {
	if q.epoch.IsZero() {
		q.epoch = now
	}
	q.now = max(q.now, int64(now.Sub(q.epoch)))
}
