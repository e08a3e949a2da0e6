package scheduler

import (
	"math"
	"slices"
	"time"
)

// Sticky keeps each flow on one path, for traffic that loses more by disorder or by a
// changing delay than it gains from the sum of the paths. Flows are spread over the
// usable paths of the best rank in proportion to Path.Weight, or to Path.Rate as long as
// none has a weight, by weighted rendezvous hashing (Schindelhauer and Schomaker,
// "Weighted Distributed Hash Tables", SPAA 2005): a path that comes or goes moves only the
// flows that it gets or had.
//
// The zero Sticky is ready to use.
type Sticky struct{}

var _ Scheduler = (*Sticky)(nil)

// Pick implements Scheduler. A packet waits for its flow's path.
func (*Sticky) Pick(now time.Time, p Packet, paths []Path, dst []int) Decision {
	best, ok := bestRank(paths, &p)
	if !ok {
		return Decision{To: dst}
	}
	weighted := false
	for i := range paths {
		q := &paths[i]
		weighted = weighted || q.Weight > 0 && p.candidate(i, q) && q.rank() == best
	}
	chosen, top := -1, 0.0
	for i := range paths {
		q := &paths[i]
		if !p.candidate(i, q) || q.rank() != best {
			continue
		}
		share := q.Rate
		if weighted {
			share = q.Weight
		}
		if s := score(p.Flow, q.ID, share); chosen < 0 || s > top || s == top && q.ID < paths[chosen].ID {
			chosen, top = i, s
		}
	}
	q := &paths[chosen]
	if q.Ready.After(now) {
		return Decision{To: dst, Until: q.Ready}
	}
	if p.Copies > 0 {
		return Decision{To: appendReady(now, &p, paths, best, false, append(dst, chosen), len(dst), p.Copies), Run: 1}
	}
	return Decision{To: append(dst, chosen), Run: 1}
}

// Sent implements Scheduler.
func (*Sticky) Sent(time.Time, PathID, int) {}

// score returns how much a flow wants a path: -share / ln(u), where u is a hash of the
// pair, even over (0, 1). Of paths whose scores are so made, each has the highest in
// proportion to its share.
func score(flow uint32, id PathID, share uint64) float64 {
	h := uint64(flow)<<16 | uint64(id)
	// The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
	h += 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	u := (float64(h>>11) + 0.5) / (1 << 53)
	return -float64(max(share, 1)) / math.Log(u)
}

// appendReady appends to dst, of which dst[from:] is chosen already, the n quickest of the
// paths of a rank that are ready, and take overflow if that is what the packet is.
func appendReady(now time.Time, p *Packet, paths []Path, rank int, overflow bool, dst []int, from, n int) []int {
	for range n {
		next := -1
		for i := range paths {
			q := &paths[i]
			if !p.candidate(i, q) || q.rank() != rank || overflow && !q.Overflow || q.Ready.After(now) || slices.Contains(dst[from:], i) {
				continue
			}
			if next < 0 || q.quicker(&paths[next]) {
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
