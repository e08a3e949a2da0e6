package reorder

const (
	// orderSpace is the size of the number space of orders. Extended orders start
	// with it, so that the one before the first exists.
	orderSpace = 1 << 16

	// delivered is how many orders behind the next a flow remembers, a power of two.
	delivered = 1024
)

// A flow is one order domain.
type flow struct {
	next   uint64 // extended order of the next packet to deliver
	newest position

	// done has a bit for each of the last orders before next, and says which were
	// delivered.
	done [delivered / 64]uint64

	// ring has the slots of the held packets by order, from next on. Its length is 0
	// or a power of two.
	ring  []slotID
	held  int    // packets held, far included
	first uint64 // lowest order in ring, if any

	oldest, youngest slotID // held packets by arrival

	// far is a packet that the ring cannot reach until next is at least forced.
	far    slotID
	forced uint64

	keys [numKeys]uint64 // in the heaps
	pos  [numKeys]int    // in the heaps, -1 if not there

	queued    bool // on the ready queue
	nextReady *flow
}

// position is where a sender was: two numbers of the same packet.
type position struct {
	order uint64
	stamp uint64
}

func newFlow() *flow {
	return &flow{
		next:   orderSpace,
		newest: position{order: orderSpace - 1},
		pos:    [numKeys]int{-1, -1, -1},
	}
}

// extend returns the order without wrapping, and notes it.
//
// Within a flow, orders and stamps grow together. So the stamp, which covers a far
// longer time, tells whether the packet is after the newest one, and the order says
// by how much. Serial number arithmetic (RFC 1982) on the order alone would take a
// packet for late when more than 32768 before it were lost.
func (f *flow) extend(order uint16, stamp uint64) uint64 {
	if stamp <= f.newest.stamp {
		return f.newest.order - uint64(uint16(f.newest.order)-order)
	}
	ahead := uint64(order - uint16(f.newest.order))
	if ahead == 0 {
		ahead = orderSpace
	}
	f.newest = position{f.newest.order + ahead, stamp}
	return f.newest.order
}

func (f *flow) wasDelivered(order uint64) bool {
	return f.next-order <= delivered && f.done[order/64%uint64(len(f.done))]>>(order%64)&1 != 0
}

// markDelivered notes the delivery of order, which is next or lower.
func (f *flow) markDelivered(order uint64) {
	if f.next-order <= delivered {
		f.done[order/64%uint64(len(f.done))] |= 1 << (order % 64)
	}
}

// skipTo makes order the next, and returns how many it gave up.
func (f *flow) skipTo(order uint64) uint64 {
	n := order - f.next
	if n >= delivered {
		clear(f.done[:])
	} else {
		for o := f.next; o < order; o++ {
			f.done[o/64%uint64(len(f.done))] &^= 1 << (o % 64)
		}
	}
	f.next = order
	return n
}

// span is how many orders from next on the ring covers.
func (f *flow) span() uint64 { return uint64(len(f.ring)) }

// inRing is how many packets the ring has.
func (f *flow) inRing() int {
	if f.far != 0 {
		return f.held - 1
	}
	return f.held
}

// isForced reports whether the flow must move on to make room for far.
func (f *flow) isForced() bool { return f.held > 0 && f.forced > f.next }

// hasNext reports whether the ring has the next packet.
func (f *flow) hasNext() bool { return f.inRing() > 0 && f.first == f.next }

// ringAt returns the packet with this order, which is not below next, or 0.
func (f *flow) ringAt(order uint64) slotID {
	if order-f.next >= f.span() {
		return 0
	}
	return f.ring[order&(f.span()-1)]
}

// put adds a packet to the ring, which covers its order.
func (f *flow) put(id slotID, order uint64) {
	f.ring[order&(f.span()-1)] = id
	if f.inRing() == 1 || order < f.first {
		f.first = order
	}
}

// takeNext removes the packet next from the ring.
func (f *flow) takeNext() slotID {
	i := f.next & (f.span() - 1)
	id := f.ring[i]
	f.ring[i] = 0
	f.markDelivered(f.next)
	f.next++
	return id
}

// findFirst finds the first packet in the ring after one was taken.
func (f *flow) findFirst() {
	if f.inRing() == 0 {
		return
	}
	for f.first = max(f.first, f.next); f.ringAt(f.first) == 0; f.first++ {
	}
}

// flowQueue is a queue of flows.
type flowQueue struct{ head, tail *flow }

func (q *flowQueue) add(f *flow) {
	f.queued = true
	if q.head == nil {
		q.head = f
	} else {
		q.tail.nextReady = f
	}
	q.tail = f
}

// drop removes the head.
func (q *flowQueue) drop() {
	f := q.head
	q.head = f.nextReady
	f.nextReady, f.queued = nil, false
}
