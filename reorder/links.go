package reorder

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

const (
	maxLinks = 64

	// A link's delay is sampled at most once per sampleEvery, and its statistics are
	// over the last maxSamples samples, those older than sampleAge excepted: 0.5 s
	// of a busy link, and 2 s of a quiet one.
	sampleEvery = int64(4 * time.Millisecond)
	sampleAge   = int64(2 * time.Second)
	maxSamples  = 128

	// unknownFor is how long an active link that has delivered nothing is taken to be
	// as slow as can be.
	unknownFor = int64(time.Second)

	// maxDelay bounds delays so that no sum overflows.
	maxDelay = int64(1) << 60
)

// links is what the links delivered.
type links struct {
	active uint64 // set of active links
	state  [maxLinks]*linkState

	// origin is the first delay seen. All others are relative to it, which makes
	// them small whatever the clocks' offset is.
	origin    time.Duration
	hasOrigin bool
}

type linkState struct {
	stamp uint64 // newest extended stamp delivered; 0 is none
	since int64  // when the link was first asked about, -1 if not yet
	delay delayStats
}

func (l *links) get(link int) *linkState {
	s := l.state[link]
	if s == nil {
		s = &linkState{since: -1}
		l.state[link] = s
	}
	return s
}

func (l *links) setActive(link int, active bool) {
	if uint(link) >= maxLinks {
		return
	}
	l.active &^= 1 << link
	if active {
		l.active |= 1 << link
		l.get(link)
	}
}

// relative returns a delay relative to the origin.
func (l *links) relative(delay time.Duration) int64 {
	d := int64(delay - l.origin)
	if (d < 0) != (delay < l.origin) {
		d = ^d // overflow: the other sign is the right one
	}
	return min(max(d, -maxDelay), maxDelay)
}

// arrived notes a packet and returns its delay relative to the origin.
func (l *links) arrived(now int64, link int, stamp uint64, delay time.Duration) int64 {
	if !l.hasOrigin {
		l.origin, l.hasOrigin = delay, true
	}
	d := l.relative(delay)
	if uint(link) < maxLinks {
		s := l.get(link)
		s.stamp = max(s.stamp, stamp)
		s.delay.add(now, d)
	}
	return d
}

// passed returns the newest stamp that every active link has reached: what has a
// lower one and is not here will not come any more, because links are FIFO.
func (l *links) passed() uint64 {
	passed := uint64(math.MaxUint64)
	for set := l.active; set != 0; set &= set - 1 {
		passed = min(passed, l.state[bits.TrailingZeros64(set)].stamp)
	}
	return passed
}

// slowest returns the highest delay to expect on any active link. A link about which
// nothing is known counts for unknown more than delay, but not for ever.
func (l *links) slowest(now, unknown, delay int64) int64 {
	slowest := int64(math.MinInt64 / 2)
	for set := l.active; set != 0; set &= set - 1 {
		s := l.state[bits.TrailingZeros64(set)]
		if s.delay.n > 0 {
			slowest = max(slowest, s.delay.high(now))
			continue
		}
		if s.since < 0 {
			s.since = now
		}
		if now-s.since < unknownFor {
			slowest = max(slowest, delay+unknown)
		}
	}
	return slowest
}

// delayStats knows the recent delays of a link.
type delayStats struct {
	n       int               // samples
	next    int               // where the next goes in ring
	ring    [maxSamples]int64 // samples by age
	times   [maxSamples]int64 // when they were taken
	sorted  [maxSamples]int64 // the same samples by size
	last    int64             // when the last packet arrived
	average int64             // over about the last 8 packets
}

// add notes the delay of a packet.
func (s *delayStats) add(now, d int64) {
	if s.n == 0 {
		s.average = d
	} else {
		s.average += (d - s.average) / 8
	}
	s.last = now
	if s.n > 0 && now-s.times[(s.next+maxSamples-1)%maxSamples] < sampleEvery {
		return
	}
	for s.n > 0 {
		oldest := (s.next + maxSamples - s.n) % maxSamples
		if s.n < maxSamples && now-s.times[oldest] <= sampleAge {
			break
		}
		i, _ := slices.BinarySearch(s.sorted[:s.n], s.ring[oldest])
		copy(s.sorted[i:], s.sorted[i+1:s.n])
		s.n--
	}
	i, _ := slices.BinarySearch(s.sorted[:s.n], d)
	copy(s.sorted[i+1:], s.sorted[i:s.n])
	s.sorted[i] = d
	s.ring[s.next], s.times[s.next] = d, now
	s.next = (s.next + 1) % maxSamples
	s.n++
}

// fewSamples is how many do not make a distribution.
const fewSamples = 32

// high returns the delay that nine of ten packets do not exceed, or the average of
// the last few if that is more, so that a step up is followed at once. Of a link that
// has few samples, or has been quiet, the highest delay known counts: to wait a little
// too long costs less than to give up what is on its way.
func (s *delayStats) high(now int64) int64 {
	if s.n < fewSamples || now-s.last > sampleAge {
		return s.sorted[s.n-1]
	}
	return max(s.sorted[s.n*9/10], s.average)
}
