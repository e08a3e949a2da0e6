package wan

import "time"

// A frame is a slot of the pool and what to do with it.
type frame struct {
	due  time.Duration
	slot int32
	size int32
}

// flight holds the frames of one direction that are on their way, by due time. It is
// a ring that grows by doubling.
type flight struct {
	ring       []frame // a power of two long
	head, tail uint32
}

func (f *flight) len() int {
	return int(f.head - f.tail)
}

func (f *flight) at(i int) *frame {
	return &f.ring[(f.tail+uint32(i))&uint32(len(f.ring)-1)]
}

// push adds fr behind all frames that are due no later.
func (f *flight) push(fr frame) {
	if f.len() == len(f.ring) {
		grown := make([]frame, max(256, 2*len(f.ring)))
		n := f.len()
		for i := range n {
			grown[i] = *f.at(i)
		}
		f.ring, f.tail, f.head = grown, 0, uint32(n)
	}
	f.head++
	i := f.len() - 1
	for ; i > 0 && f.at(i-1).due > fr.due; i-- {
		*f.at(i) = *f.at(i - 1)
	}
	*f.at(i) = fr
}

// drop removes the n oldest frames.
func (f *flight) drop(n int) {
	f.tail += uint32(n)
}

// Frames live in slots of slotSize bytes, which hold any frame of a 1500-byte link.
const (
	slotSize  = 2048
	slotChunk = 256
	slotLimit = 1 << 15 // 64 MiB for all directions together
)

// pool hands out slots, the most recently freed first, so that a quiet bridge works
// in cached memory.
type pool struct {
	chunks [][]byte
	free   []int32
}

func (p *pool) get() (slot int32, ok bool) {
	if len(p.free) == 0 {
		n := len(p.chunks) * slotChunk
		if n >= slotLimit {
			return 0, false
		}
		p.chunks = append(p.chunks, make([]byte, slotChunk*slotSize))
		for i := slotChunk - 1; i >= 0; i-- {
			p.free = append(p.free, int32(n+i))
		}
	}
	slot = p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	return slot, true
}

func (p *pool) put(slot int32) {
	p.free = append(p.free, slot)
}

func (p *pool) bytes(slot int32) []byte {
	i := int(slot) % slotChunk * slotSize
	return p.chunks[int(slot)/slotChunk][i : i+slotSize : i+slotSize]
}
