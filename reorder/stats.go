package reorder

import (
	"math/bits"
	"time"
)

// Stats counts what a Buffer did since it was made or reset.
type Stats struct {
	Held       uint64 // packets that were not delivered at once
	Delivered  uint64 // packets delivered in order, at once or later
	Late       uint64 // packets delivered out of order, after they were given up
	Duplicates uint64 // packets dropped because they had come before
	Early      uint64 // packets held, if not only, because they came before their time

	Repaired     uint64 // packets that a repair brought in time
	RepairedLate uint64 // packets that a repair brought too late; they count as Late, too

	// Orders given up, by reason. A packet that comes after all counts as Late, too.
	LostCertain  uint64 // every active link has delivered a later packet
	LostDeadline uint64 // the time to wait for it was over
	LostWindow   uint64 // the window was full
	LostFlush    uint64 // by Flush

	MaxHold time.Duration // longest time that a packet was held

	// Holds[i] counts the packets that were held for less than 1<<i milliseconds and
	// not less than half of that; Holds[0] those of less than 1 ms, and the last one
	// all that were held for longer.
	Holds [11]uint64
}

// HoldQuantile returns a time that the given share (0 to 1) of the held packets did
// not exceed, as exactly as Holds tells: at most twice too long.
func (s *Stats) HoldQuantile(share float64) time.Duration {
	var total, sum uint64
	for _, n := range s.Holds {
		total += n
	}
	for i, n := range s.Holds {
		sum += n
		if n > 0 && float64(sum) >= share*float64(total) {
			return min(time.Millisecond<<i, s.MaxHold)
		}
	}
	return s.MaxHold
}

func (s *Stats) hold(d time.Duration) {
	s.MaxHold = max(s.MaxHold, d)
	i := bits.Len64(uint64(d / time.Millisecond))
	s.Holds[min(i, len(s.Holds)-1)]++
}
