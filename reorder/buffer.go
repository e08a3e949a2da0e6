package reorder

import "time"

// A Buffer puts the packets of each flow back into order.
//
// A Buffer is not safe for concurrent use. It starts no goroutine and reads no
// clock. Time never goes back: a now before an earlier one counts as that one.
//
// After each call of Push, Seen, SetLink and Flush, and when NextDeadline is
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
	verdict, slot := b.core.push(now, p)
	if verdict == Held {
		for len(b.vals) <= int(slot) {
			var zero T
			b.vals = append(b.vals, zero)
		}
		b.vals[slot] = v
	}
	return verdict
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
// link is active and the statistics are zero. It drops what is held; who needs that
// calls Flush and Pop before. The Buffer keeps some of its memory.
func (b *Buffer[T]) Reset() {
	clear(b.vals)
	b.core.reset()
}

// Stats returns what happened so far.
func (b *Buffer[T]) Stats() Stats {
	return b.core.stats
}
