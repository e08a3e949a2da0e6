package crypto

const (
	windowBlocks = 128 // a power of 2
	blockBits    = 64
	// WindowSize is how far a packet number may lie behind the highest one seen and
	// still be accepted.
	WindowSize = (windowBlocks - 1) * blockBits
)

// A Window remembers which packet numbers were seen: the ring of RFC 6479, 8192 bits
// of which one block is always being cleared. The zero Window has seen none.
type Window struct {
	highest uint64
	ring    [windowBlocks]uint64
}

// Check reports whether counter could be marked: it is new, and not too far behind.
func (w *Window) Check(counter uint64) bool {
	if counter > w.highest {
		return true
	}
	if w.highest-counter > WindowSize {
		return false
	}
	return w.ring[counter/blockBits%windowBlocks]&(1<<(counter%blockBits)) == 0
}

// Mark records counter and moves the window up to it. It returns false, and changes
// nothing, if Check does.
func (w *Window) Mark(counter uint64) bool {
	if !w.Check(counter) {
		return false
	}
	if counter > w.highest {
		from, to := w.highest/blockBits, counter/blockBits
		for i := uint64(1); i <= min(to-from, windowBlocks); i++ {
			w.ring[(from+i)%windowBlocks] = 0
		}
		w.highest = counter
	}
	w.ring[counter/blockBits%windowBlocks] |= 1 << (counter % blockBits)
	return true
}

// Highest returns the highest number marked, and false if none was.
func (w *Window) Highest() (uint64, bool) {
	return w.highest, w.highest > 0 || w.ring[0]&1 != 0
}
