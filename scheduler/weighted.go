package scheduler

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

const (
	// tagShift is the fixed point of virtual time: one second is 1<<tagShift units.
	// One byte on a path of 100 Gbit/s is then still more than one unit, and 64 MiB
	// on a path of 1 B/s stay below 2^60.
	tagShift = 34

	// maxCharge bounds one charge, in bytes, so that it fits a tag.
	maxCharge = 1 << 26

	// maxTag is how far ahead of virtual time a path may be: what 64 MiB cost at
	// 1 B/s.
	maxTag = maxCharge << tagShift

	// The credit of a path that was held back is what it would have carried in
	// creditTime, or creditBytes where that is more.
	creditTime  = 10 * time.Millisecond
	creditBytes = 16 << 10

	// maxWeight is what higher weights count as, 8.8 Tbit/s: a packet still moves the
	// tag.
	maxWeight = 1 << 40

	// equalWeight stands in, in bytes per second, when no weight is known.
	equalWeight = 125_000

	// runTime is how long a run may occupy a path, and maxRun how many packets it
	// has at most, which is what one UDP_SEGMENT send takes of full size.
	runsPerSecond = 4000 // 1 / 250 µs
	maxRun        = 44

	// maxAbsent is how many paths that have gone keep their debt in case that they
	// return.
	maxAbsent = 16
)

// Weighted shares bytes among the paths of the best tier in proportion to
// Path.Weight, exactly as configured, by start-time fair queueing. See the package
// documentation for the algorithm.
//
// A path whose weight is unknown counts as the mean of the known weights of the
// usable paths of the tier in use; if none is known, all count as equal.
//
// An Interactive packet goes by the path of the lowest known RTT that is ready, and
// its bytes count like any other.
//
// The zero Weighted is ready to use. It must not be copied after first use. Neither
// Pick nor Sent allocates, except for its own memory when it meets more paths than
// ever before.
type Weighted struct {
	// states has one element for each path of the Pick before the last Sent, in that
	// order, and then those that have gone with a debt. Only Sent changes it.
	states []pathState

	// next is what states becomes when something is sent in answer to the last Pick.
	// It is scratch space: Pick overwrites it and never reads it.
	next    []pathState
	advance int64 // by how much that moves virtual time
	pending bool
}

var _ Unpaced = (*Weighted)(nil)

// Unpaced implements Unpaced: shares are to be as configured, whatever the paths carry.
func (w *Weighted) Unpaced() {}

// pathState is what one path has had.
type pathState struct {
	id PathID

	// tag is the virtual start time of the path's next packet, relative to the
	// virtual time of the scheduler, in units of 2^-34 s.
	tag int64

	// rem is the part of the bytes charged that tag does not show yet, in units of
	// 2^-34 byte; less than weight. It is why shares never drift.
	rem uint64

	weight uint64 // bytes per second that tag and rem refer to
}

// Pick implements Scheduler.
func (w *Weighted) Pick(now time.Time, p Packet, paths []Path, dst []int) Decision {
	w.pending = false
	w.next = w.next[:0]

	best, ok := bestRank(paths, &p)
	if !ok {
		return Decision{To: dst}
	}
	best, spill := overflowRank(now, paths, &p, best)
	unknown := meanWeight(paths, best)

	var (
		chosen = -1
		start  int64 // tag of the earliest ready path
		until  time.Time
	)
	for i := range paths {
		q := &paths[i]
		s := w.state(i, q.ID)
		s.reweigh(q.Weight, unknown)
		w.next = append(w.next, s)
		if !p.candidate(i, q) || q.rank() != best && !q.Overflow || q.rank() < best || spill && !q.Overflow {
			continue
		}
		if q.Ready.After(now) {
			if until.IsZero() || q.Ready.Before(until) {
				until = q.Ready
			}
			continue
		}
		if q.rank() != best {
			continue // may take overflow, but there is none
		}
		if chosen < 0 || s.tag < start {
			start = s.tag
		}
		if chosen < 0 || w.better(paths, i, chosen, p.Class) {
			chosen = i
		}
	}
	if chosen < 0 {
		return Decision{To: dst, Until: until}
	}

	w.advance = max(start, 0)
	w.pending = true
	for i := range w.next {
		s := &w.next[i]
		s.tag -= w.advance
		if s.tag >= 0 {
			continue
		}
		if paths[i].Usable && paths[i].rank() == best {
			s.tag = max(s.tag, -s.credit())
		} else {
			s.tag = 0
		}
	}
	run := paths[chosen].run(p.Size)
	if p.Copies > 0 {
		run = 1
	}
	return Decision{To: w.copies(now, &p, paths, append(dst, chosen), len(dst), spill), Run: run}
}

// copies appends to dst, of which dst[from:] is chosen already, the paths that carry a
// copy of the packet: the quickest of the rank in use that are ready.
func (w *Weighted) copies(now time.Time, p *Packet, paths []Path, dst []int, from int, spill bool) []int {
	rank := paths[dst[from]].rank()
	for range p.Copies {
		next := -1
		for i := range paths {
			q := &paths[i]
			if !p.candidate(i, q) || q.rank() != rank || spill && !q.Overflow || q.Ready.After(now) || slices.Contains(dst[from:], i) {
				continue
			}
			if next < 0 || w.better(paths, i, next, Interactive) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		dst = append(dst, next)
	}
	return dst
}

// Sent implements Scheduler. Bytes on a path that was not in the last Pick are not
// counted.
func (w *Weighted) Sent(_ time.Time, id PathID, size int) {
	if w.pending {
		w.commit()
	}
	for i := range w.states {
		if s := &w.states[i]; s.id == id {
			s.charge(size)
			return
		}
	}
}

// commit makes what the last Pick assumed the state.
func (w *Weighted) commit() {
	w.pending = false
	picked := len(w.next)
	for i, s := range w.states {
		if i < picked && w.next[i].id == s.id {
			continue
		}
		s.tag -= w.advance
		if s.tag <= 0 || len(w.next) >= picked+maxAbsent || find(w.next[:picked], s.id) >= 0 {
			continue
		}
		w.next = append(w.next, s)
	}
	w.states, w.next = w.next, w.states
}

// state returns the state of the path with this ID, which is probably the i'th.
func (w *Weighted) state(i int, id PathID) pathState {
	if i < len(w.states) && w.states[i].id == id {
		return w.states[i]
	}
	if i := find(w.states, id); i >= 0 {
		return w.states[i]
	}
	return pathState{id: id}
}

// better reports whether ready path i is a better choice than ready path j. It reads
// the states in next, and orders all paths strictly, whatever their order in paths.
func (w *Weighted) better(paths []Path, i, j int, c Class) bool {
	if c == Interactive {
		a, b := paths[i].RTT, paths[j].RTT
		if a != b && (a > 0 || b > 0) {
			return a > 0 && (b <= 0 || a < b)
		}
	}
	a, b := &w.next[i], &w.next[j]
	if a.tag != b.tag {
		return a.tag < b.tag
	}
	if a.weight != b.weight {
		return a.weight > b.weight
	}
	return a.id < b.id
}

func find(states []pathState, id PathID) int {
	for i := range states {
		if states[i].id == id {
			return i
		}
	}
	return -1
}

// charge moves the tag by the time that size bytes take at the path's weight.
func (s *pathState) charge(size int) {
	if size <= 0 || s.weight == 0 {
		return
	}
	lo, carry := bits.Add64(uint64(min(size, maxCharge))<<tagShift, s.rem, 0)
	q, rem := bits.Div64(carry, lo, s.weight)
	s.rem = rem
	s.tag = min(s.tag+int64(q), maxTag)
}

// reweigh sets the weight, or what counts for it if it is unknown. A lead or lag
// stays the same number of bytes.
func (s *pathState) reweigh(weight, unknown uint64) {
	if weight == 0 {
		weight = unknown
	}
	weight = min(weight, maxWeight)
	if weight == s.weight {
		return
	}
	if s.tag > 0 {
		s.tag = int64(scale(uint64(s.tag), s.weight, weight))
	} else {
		s.tag = -int64(scale(uint64(-s.tag), s.weight, weight))
	}
	s.rem = 0
	s.weight = weight
}

// credit is how far behind virtual time the path may fall.
func (s *pathState) credit() int64 {
	const least = int64(creditTime) << (tagShift - 9) / (1e9 >> 9)
	return max(least, int64(scale(creditBytes, 1<<tagShift, s.weight)))
}

// scale returns x * num / den, at most maxTag.
func scale(x, num, den uint64) uint64 {
	hi, lo := bits.Mul64(x, num)
	if hi >= den {
		return maxTag
	}
	q, _ := bits.Div64(hi, lo, den)
	return min(q, maxTag)
}

// rank orders paths by preference, lowest first: any path that is not degraded comes
// before one that is, then by tier.
func (p *Path) rank() int {
	r := int(p.Tier)
	if p.Degraded {
		r += math.MaxUint8 + 1
	}
	return r
}

// bestRank returns the best rank that can take packet p.
func bestRank(paths []Path, p *Packet) (best int, ok bool) {
	for i := range paths {
		q := &paths[i]
		if p.candidate(i, q) && (!ok || q.rank() < best) {
			best, ok = q.rank(), true
		}
	}
	return best, ok
}

// overflowRank returns the rank to use: best, unless none of its paths has room now and
// one that may take their overflow has. spill says that it is such a one.
func overflowRank(now time.Time, paths []Path, p *Packet, best int) (rank int, spill bool) {
	for i := range paths {
		q := &paths[i]
		if !p.candidate(i, q) || q.Ready.After(now) {
			continue
		}
		if q.rank() == best {
			return best, false
		}
		if q.Overflow && (!spill || q.rank() < rank) {
			rank, spill = q.rank(), true
		}
	}
	if spill {
		return rank, true
	}
	return best, false
}

// meanWeight returns the mean of the known weights of the usable paths of a rank.
func meanWeight(paths []Path, rank int) uint64 {
	var hi, lo, n uint64
	for i := range paths {
		p := &paths[i]
		if p.Usable && p.Weight > 0 && p.rank() == rank {
			var carry uint64
			lo, carry = bits.Add64(lo, p.Weight, 0)
			hi += carry
			n++
		}
	}
	if n == 0 {
		return equalWeight
	}
	mean, _ := bits.Div64(hi, lo, n)
	return max(mean, 1)
}

// run is how many packets of size bytes the path takes in a row.
func (p *Path) run(size int) int {
	rate := p.Rate
	if rate == 0 {
		rate = p.Weight
	}
	n := rate / runsPerSecond / uint64(max(size, 1))
	return int(min(max(n, 1), maxRun))
}
