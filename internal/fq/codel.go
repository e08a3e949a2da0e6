package fq

import (
	"math"
	"time"
)

// codelParams are CoDel's, in ns.
type codelParams struct{ target, interval int64 }

func newCodelParams(target, interval time.Duration) codelParams {
	if target <= 0 {
		target = defaultTarget
	}
	if interval <= 0 {
		interval = defaultInterval
	}
	return codelParams{int64(target), int64(interval)}
}

// next returns the time of the next drop after that at t (RFC 8289, 5.3):
//
//	t + interval / sqrt(count)
func (p codelParams) next(t int64, count uint32) int64 {
	return t + int64(float64(p.interval)/math.Sqrt(float64(count)))
}

// codel is CoDel's state for a flow. The names are those of RFC 8289, 5.1.
type codel struct {
	firstAbove int64 // when to start dropping, if the sojourn stays above target; 0 is not above
	dropNext   int64 // when to drop again
	count      uint32
	lastCount  uint32
	dropping   bool
}

// spare is how many bytes besides its head a flow must have for the head to be dropped.
const spare = 1514

// above reports whether the head of the flow may be dropped: whether all heads have been
// queued for longer than the target for an interval.
func (q *Queue[T]) above(f *flow) bool {
	if f.packets == 0 {
		f.codel.firstAbove = 0
		return false
	}
	p := q.packets.at(f.head)
	switch {
	case q.now-p.at < q.codel.target, f.bytes-p.size <= spare:
		f.codel.firstAbove = 0
	case f.codel.firstAbove == 0:
		f.codel.firstAbove = q.now + q.codel.interval
	default:
		return q.now >= f.codel.firstAbove
	}
	return false
}

// control drops or marks the heads of a flow as CoDel wants (RFC 8289, 5.5), and reports
// whether there is a head.
func (q *Queue[T]) control(f *flow) bool {
	s := &f.codel
	above := q.above(f)
	switch {
	case s.dropping:
		s.dropping = above
		for s.dropping && q.now >= s.dropNext {
			s.count++
			marked := q.punish(f)
			if s.dropping = marked || q.above(f); s.dropping {
				s.dropNext = q.codel.next(s.dropNext, s.count)
			}
			if marked {
				break
			}
		}
	case above:
		if !q.punish(f) {
			q.above(f)
		}
		s.dropping = true
		// What worked the last time is a good start if that is not long ago.
		delta := s.count - s.lastCount
		s.count = 1
		if delta > 1 && q.now-s.dropNext < 16*q.codel.interval {
			s.count = delta
		}
		s.lastCount = s.count
		s.dropNext = q.codel.next(q.now, s.count)
	}
	return f.packets > 0
}

// punish marks the head of the flow, or else drops it. It reports whether it marked it.
func (q *Queue[T]) punish(f *flow) (marked bool) {
	if q.cfg.Mark != nil && q.cfg.Mark(&q.packets.at(f.head).v) {
		q.classes[f.key.class].stats.Marked++
		return true
	}
	q.drop(f, CoDel)
	return false
}
