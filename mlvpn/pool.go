package mlvpn

// A pool is a free list of equally sized buffers with one owner. It is emptied by
// nobody: its size follows the largest number of buffers that were in use at once,
// which the queues bound.
type pool struct {
	size int
	free [][]byte
}

// get returns a buffer of the pool's size.
func (p *pool) get() []byte {
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		return b
	}
	return make([]byte, p.size)
}

// put takes a buffer back, or part of one that begins where it began.
func (p *pool) put(b []byte) {
	if cap(b) >= p.size {
		p.free = append(p.free, b[:p.size])
	}
}
