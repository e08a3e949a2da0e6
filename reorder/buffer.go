package reorder

import "time"

// A Buffer puts the packets of each flow back into order.
//
// A Buffer is not safe for concurrent use. It starts no goroutine and reads no
// clock. Time never goes back: a now before an earlier one counts as that one.
//
// After each call of a method that reports or sets something, and when NextDeadline is
// reached, the caller takes what Pop returns until there is nothing more.
type Buffer[T any] struct {
	core core
	vals []T // by slot
}

// New returns an empty Buffer without active links. It does not retain memory for
// flows, links and packets before it meets them.
func New[T any](cfg Config) *Buffer[T] {
	b := &Buffer[T]{}
	b.core.init(cfg)
	return b
}

// Push reports the arrival of packet p and offers v, which stands for it. The Buffer
// takes v if the verdict is Held; otherwise it stays with the caller.
func (b *Buffer[T]) Push(now time.Time, p Packet, v T) Verdict {
	verdict, slot := b.core.push(now, &p)
	if verdict == Held {
		b.store(slot, v)
	}
	return verdict
}

// Delay does what Seen does and offers v, a packet that has no place in any order and
// wants to arrive when a packet of the target delay would: such as a TCP SYN, from which
// an equalised flow takes its first idea of the round trip. The Buffer takes v if the
// verdict is Held; otherwise it is Next, and the caller delivers v at once. It ignores
// p.Flow, p.Order and p.Hold.
func (b *Buffer[T]) Delay(now time.Time, p Packet, v T) Verdict {
	verdict, slot := b.core.delay(now, &p)
	if verdict == Held {
		b.store(slot, v)
	}
	return verdict
}

func (b *Buffer[T]) store(slot slotID, v T) {
	for len(b.vals) <= int(slot) {
		var zero T
		b.vals = append(b.vals, zero)
	}
	b.vals[slot] = v
}

// SetTarget sets the delay that packets with Packet.Hold shall have, with the offset of
// Packet.Delay, or with on = false that they are not held for that. A new target counts
// for what is already held, too, which takes time in proportion to the flows that wait;
// the same target again costs nothing. At first it is off.
func (b *Buffer[T]) SetTarget(delay time.Duration, on bool) {
	b.core.setTarget(delay, on)
}

// SetRepair says that the sender repairs losses, and how long it takes until a repaired
// copy is here after its loss became certain: so much longer a hole is kept open, and at
// least 150 ms longer if a silent link keeps it uncertain. 0, as at first, and less mean
// that nothing is repaired.
func (b *Buffer[T]) SetRepair(wait time.Duration) {
	b.core.setRepair(wait)
}

// Seen reports that a packet which has no place in any flow's order arrived on a
// link: it moves the link's stamp and delay, with the meaning of Packet.Stamp and
// Packet.Delay.
func (b *Buffer[T]) Seen(now time.Time, link int, stamp uint32, delay time.Duration) {
	b.core.seen(now, link, stamp, delay)
}

// Pop returns the next packet that may be delivered, if there is one. It is the
// caller's from then on.
func (b *Buffer[T]) Pop(now time.Time) (v T, ok bool) {
	slot, ok := b.core.pop(now)
	if !ok {
		return v, false
	}
	v, b.vals[slot] = b.vals[slot], v
	return v, true
}

// NextDeadline returns the time at which Pop will have a packet even if nothing else
// happens. It is not ok if nothing is held.
func (b *Buffer[T]) NextDeadline() (at time.Time, ok bool) {
	return b.core.nextDeadline()
}

// SetLink says whether packets are to be expected on a link, 0 to 63. Only active
// links are waited for. With no active link nothing is held.
func (b *Buffer[T]) SetLink(link int, active bool) {
	b.core.links.setActive(link, active)
}

// Len returns the number of packets held.
func (b *Buffer[T]) Len() int {
	return b.core.pool.used
}

// Flush gives up everything that is missing: Pop returns all that is held, each flow
// in order.
func (b *Buffer[T]) Flush() {
	b.core.flushing = true
}

// Reset makes the Buffer as new, for a new session: all flows start at order 0, no
// link is active, nothing is equalised or repaired and the statistics are zero. It drops
// what is held; who needs that calls Flush and Pop before. The Buffer keeps some of its
// memory.
func (b *Buffer[T]) Reset() {
	clear(b.vals)
	b.core.reset()
}

// Stats returns what happened so far.
func (b *Buffer[T]) Stats() Stats {
	return b.core.stats
}
