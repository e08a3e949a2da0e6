package reorder

// slotHeap is a heap of held packets that are in no flow's order, the lowest deadline
// first.
type slotHeap struct{ ids []slotID }

func (h *slotHeap) push(p *pool, id slotID) {
	h.ids = append(h.ids, id)
	for i := len(h.ids) - 1; i > 0 && h.less(p, i, (i-1)/2); i = (i - 1) / 2 {
		h.ids[i], h.ids[(i-1)/2] = h.ids[(i-1)/2], h.ids[i]
	}
}

func (h *slotHeap) pop(p *pool) slotID {
	id, last := h.ids[0], len(h.ids)-1
	h.ids[0] = h.ids[last]
	h.ids = h.ids[:last]
	h.down(p, 0)
	return id
}

// init restores the order after deadlines have changed.
func (h *slotHeap) init(p *pool) {
	for i := len(h.ids)/2 - 1; i >= 0; i-- {
		h.down(p, i)
	}
}

func (h *slotHeap) less(p *pool, i, j int) bool {
	return p.slots[h.ids[i]].deadline < p.slots[h.ids[j]].deadline
}

func (h *slotHeap) down(p *pool, i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.ids); child++ {
			if h.less(p, child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.ids[i], h.ids[least] = h.ids[least], h.ids[i]
		i = least
	}
}
