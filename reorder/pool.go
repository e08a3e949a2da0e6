package reorder

import "math/bits"

// slotID names a slot; 0 names none.
type slotID uint16

// slot is a held packet. It is in its flow's list of arrivals, or in the slotHeap; there
// deadline is when it is due.
type slot struct {
	order, stamp   uint64
	at, deadline   int64
	sent           int64 // at minus the delay, which is relative to links.origin
	older, younger slotID
	timed          bool // not to be delivered before its time
}

// pool has the slots of all flows.
type pool struct {
	slots []slot // the first is not used
	limit int
	used  int
	free  slotID // list by younger
}

func (p *pool) reset(limit int) {
	p.slots = append(p.slots[:0], slot{})
	p.limit = limit
	p.used = 0
	p.free = 0
}

// take returns a slot, or 0 if there is none.
func (p *pool) take() slotID {
	id := p.free
	switch {
	case id != 0:
		p.free = p.slots[id].younger
	case p.used < p.limit:
		id = slotID(len(p.slots))
		p.slots = append(p.slots, slot{})
	default:
		return 0
	}
	p.used++
	return id
}

// link makes a slot the youngest of a flow.
func (p *pool) link(f *flow, id slotID) {
	s := &p.slots[id]
	s.older, s.younger = f.youngest, 0
	if f.youngest == 0 {
		f.oldest = id
	} else {
		p.slots[f.youngest].younger = id
	}
	f.youngest = id
	f.held++
}

// unlink takes a slot from its flow.
func (p *pool) unlink(f *flow, id slotID) {
	s := &p.slots[id]
	if s.older == 0 {
		f.oldest = s.younger
	} else {
		p.slots[s.older].younger = s.younger
	}
	if s.younger == 0 {
		f.youngest = s.older
	} else {
		p.slots[s.younger].older = s.older
	}
	f.held--
}

// put frees a slot.
func (p *pool) put(id slotID) {
	p.slots[id].younger = p.free
	p.free = id
	p.used--
}

const (
	minRing     = 16
	ringClasses = 12 // minRing to maxWindow
)

// rings hands out the rings of flows. A flow has one only while it holds packets.
type rings struct {
	budget int // what all rings but those of minimal size may have together
	used   int
	free   [ringClasses][][]slotID
}

// get returns a zeroed ring of n slots, a power of two, or nil if that is too much.
func (r *rings) get(n int) []slotID {
	n = max(n, minRing)
	class := bits.Len(uint(n)) - bits.Len(uint(minRing))
	if free := r.free[class]; len(free) > 0 {
		r.free[class] = free[:len(free)-1]
		return free[len(free)-1]
	}
	if class > 0 {
		if r.used+n > r.budget {
			r.trim()
		}
		if r.used+n > r.budget {
			return nil
		}
		r.used += n
	}
	return make([]slotID, n)
}

// put takes back a zeroed ring.
func (r *rings) put(ring []slotID) {
	if len(ring) == 0 {
		return
	}
	class := bits.Len(uint(len(ring))) - bits.Len(uint(minRing))
	r.free[class] = append(r.free[class], ring)
}

// trim forgets the free rings that count against the budget.
func (r *rings) trim() {
	for class := 1; class < ringClasses; class++ {
		r.used -= len(r.free[class]) * minRing << class
		clear(r.free[class])
		r.free[class] = r.free[class][:0]
	}
}
