package scheduler

import "time"

// Redundant sends every packet by several paths at once, for traffic that must not miss
// one: the receiver takes the first copy that comes. It costs so many times the bytes, so that
// the sum of the paths carries no more than one of them.
//
// A packet goes out as soon as one path of the best rank is ready, by the quickest that are
// ready then. The zero Redundant uses all paths of that rank.
type Redundant struct {
	// Paths is how many paths carry each packet, if so many are ready. 0 means all.
	Paths int
}

var _ Scheduler = (*Redundant)(nil)

// Pick implements Scheduler.
func (r *Redundant) Pick(now time.Time, p Packet, paths []Path, dst []int) Decision {
	best, ok := bestRank(paths, &p)
	if !ok {
		return Decision{To: dst}
	}
	rank, spill := overflowRank(now, paths, &p, best)
	n := r.Paths
	if n <= 0 {
		n = len(paths)
	}
	from := len(dst)
	to := appendReady(now, &p, paths, rank, spill, dst, from, max(n, 1+p.Copies))
	if len(to) > from {
		return Decision{To: to, Run: 1}
	}
	var until time.Time
	for i := range paths {
		q := &paths[i]
		if p.candidate(i, q) && (q.rank() == best || q.rank() > best && q.Overflow) && (until.IsZero() || q.Ready.Before(until)) {
			until = q.Ready
		}
	}
	return Decision{To: dst, Until: until}
}

// Sent implements Scheduler.
func (*Redundant) Sent(time.Time, PathID, int) {}
