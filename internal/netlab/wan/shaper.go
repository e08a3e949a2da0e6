package wan

import (
	"math"
	"time"
)

// A Shaper is the state of one direction of a line. It is not safe for concurrent
// use.
type Shaper struct {
	params Params
	key    uint64
	seq    uint64        // frames seen, the index of the random draws
	bad    bool          // state of the burst model
	free   time.Duration // when the line has serialized all that it was given
	last   time.Duration // due time of the frame before
	count  Counters
}

// NewShaper returns a direction with the given parameters. Its random draws are a
// pure function of seed, line, direction and the frame's index, so that a frame's
// fate does not depend on when other frames arrive.
func NewShaper(seed uint64, line, direction int, p Params) Shaper {
	key := mix(mix(mix(seed)+uint64(line)) + uint64(direction))
	return Shaper{params: p, key: key}
}

// Set replaces the parameters. Frames already admitted keep their due times.
func (s *Shaper) Set(p Params) {
	s.params = p
}

// Counters returns the counts so far.
func (s *Shaper) Counters() Counters {
	return s.count
}

// Admit decides the fate of a frame of size bytes (Ethernet header included, FCS
// excluded) that arrives at now, a reading of a monotonic clock that does not
// decrease between calls. It returns when the frame is due at the far end, or false
// if it never arrives.
//
// The line is busy from the end of the previous frame, not from when the caller found
// the time to ask, so a late caller costs no rate.
func (s *Shaper) Admit(now time.Duration, size int) (due time.Duration, ok bool) {
	p := &s.params
	wire := size - headerLen + FrameOverhead
	n := s.seq
	s.seq++
	s.count.Packets++
	s.count.Bytes += uint64(wire)

	// The burst model steps on every arrival, or its state would depend on the queue.
	burst := s.stepBurst(n)
	switch {
	case p.Blackhole:
		s.count.Swallowed++
		return 0, false
	case p.MTU > 0 && size-headerLen > p.MTU:
		s.count.TooBig++
		return 0, false
	}

	done := now
	if p.Rate > 0 {
		wait := max(s.free-now, 0)
		if wait > p.queue() {
			s.count.QueueDrops++
			return 0, false
		}
		s.count.MaxQueue = max(s.count.MaxQueue, wait)
		done = now + wait + time.Duration(math.Round(float64(wire)*8e9/p.Rate))
		s.free = done
	}
	if burst || s.draw(n, drawLoss) < p.Loss {
		s.count.Lost++
		return 0, false
	}

	due = done + p.Delay
	if p.Jitter > 0 {
		due += time.Duration(s.draw(n, drawJitter) * float64(p.Jitter))
	}
	if !p.Reorder {
		due = max(due, s.last)
	}
	s.last = due
	return due, true
}

// delivered counts a frame of size bytes that left late after its due time.
func (s *Shaper) delivered(size int, late time.Duration) {
	s.count.Delivered++
	s.count.DeliveredBytes += uint64(size - headerLen + FrameOverhead)
	s.count.Late += late
	s.count.MaxLate = max(s.count.MaxLate, late)
}

func (s *Shaper) stepBurst(n uint64) (lost bool) {
	b := s.params.Burst
	if b.Enter == 0 {
		s.bad = false
		return false
	}
	if s.bad {
		s.bad = s.draw(n, drawBurst) >= b.Leave
	} else {
		s.bad = s.draw(n, drawBurst) < b.Enter
	}
	return s.bad
}

// The draws of one frame are independent.
const (
	drawLoss = iota
	drawBurst
	drawJitter
	draws
)

// draw returns the n-th frame's number of the given kind, uniform in [0, 1).
func (s *Shaper) draw(n uint64, kind uint64) float64 {
	return float64(mix(s.key+n*draws+kind)>>11) / (1 << 53)
}

// mix is the step of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
// Number Generators, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
