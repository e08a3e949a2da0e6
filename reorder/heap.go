package reorder

const (
	keyTime  = 0 // deadline of the hole, ns since the epoch
	keyStamp = 1 // stamp of the first packet behind the hole
	keyDue   = 2 // when the first packet is due, ns since the epoch
	numKeys  = 3
)

// flowHeap is a heap of flows, the lowest key first, that knows where each flow is.
type flowHeap struct {
	flows []*flow
	key   int // keyTime, keyStamp or keyDue
}

func (h *flowHeap) reset() {
	clear(h.flows)
	h.flows = h.flows[:0]
}

// set adds a flow or changes its key.
func (h *flowHeap) set(f *flow, key uint64) {
	i := f.pos[h.key]
	if i < 0 {
		i = len(h.flows)
		h.flows = append(h.flows, f)
		f.pos[h.key] = i
	} else if f.keys[h.key] == key {
		return
	}
	f.keys[h.key] = key
	if !h.up(i) {
		h.down(i)
	}
}

// remove takes a flow out, if it is there.
func (h *flowHeap) remove(f *flow) {
	i := f.pos[h.key]
	if i < 0 {
		return
	}
	last := len(h.flows) - 1
	h.swap(i, last)
	h.flows[last] = nil
	h.flows = h.flows[:last]
	f.pos[h.key] = -1
	if i < last && !h.up(i) {
		h.down(i)
	}
}

func (h *flowHeap) less(i, j int) bool {
	return h.flows[i].keys[h.key] < h.flows[j].keys[h.key]
}

func (h *flowHeap) swap(i, j int) {
	h.flows[i], h.flows[j] = h.flows[j], h.flows[i]
	h.flows[i].pos[h.key] = i
	h.flows[j].pos[h.key] = j
}

// up reports whether it moved the flow at i.
func (h *flowHeap) up(i int) bool {
	start := i
	for i > 0 && h.less(i, (i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	return i != start
}

func (h *flowHeap) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.flows); child++ {
			if h.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
