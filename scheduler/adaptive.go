package scheduler

import (
	"slices"
	"time"
)

// Adaptive sends each packet by the path on which it will arrive soonest, and keeps all
// paths busy while there is enough to send. It needs no configuration: it goes by what
// has been measured of the paths, and ignores Path.Weight.
//
// Interactive packets take the path of earliest arrival (Chebrolu and Rao, "Bandwidth
// Aggregation for Real-Time Applications in Heterogeneous Wireless Networks", IEEE TMC
// 2006): lowest wait + size/Rate + Delay, waiting for a held-back path if it is worth
// it. Where that path loses packets, a small packet goes out a second time by the next
// best one, within a budget of copies.
//
// Bulk packets go by the first path that is ready, the quickest of several. Which
// paths may take part depends on the packet. If the receiver evens out the delays of
// its flow (Packet.Equal), all that are marked Path.Equal. Else a slower path takes
// part only if the packets that wait would take longer by the quicker ones than the
// slower path's delay is longer: so the slower path brings its packet no later than
// the end of the queue arrives. A path with Path.Overflow helps better tiers out whose
// queue has become long. Copies that are asked for (Packet.Copies) go by the next quickest
// paths, whatever the budget.
//
// The zero Adaptive is ready to use.
type Adaptive struct {
	copies budget
	copyTo PathID // where the copy goes that the last Pick chose
	copied bool   // there is one, and it has not been sent
}

var _ Scheduler = (*Adaptive)(nil)

// Pick implements Scheduler.
func (a *Adaptive) Pick(now time.Time, p Packet, paths []Path, dst []int) Decision {
	a.copied = false
	best, ok := bestRank(paths, &p)
	if !ok {
		return Decision{To: dst}
	}
	var d Decision
	switch {
	case p.Class == Interactive:
		d = a.soonest(now, p, paths, best, dst)
	case p.Equal && equals(&p, paths, best) > 1:
		d = firstReady(now, p, paths, best, dst, func(q *Path) bool { return q.Equal })
	default:
		d = spill(now, p, paths, best, dst)
	}
	if len(d.To) == len(dst) {
		rank, ok, until := overflows(now, &p, paths, best)
		if ok {
			d = firstReady(now, p, paths, rank, dst, func(q *Path) bool { return q.Overflow })
		} else if !until.IsZero() && until.Before(d.Until) {
			d.Until = until
		}
	}
	if p.Copies > 0 && len(d.To) > len(dst) {
		d.To = extra(now, &p, paths, d.To, len(dst), best)
		d.Run = 1
	}
	return d
}

// overflowAfter is how long the packets that wait must take by the better tiers before
// others take their overflow: a pacer holds every path back for moments.
const overflowAfter = 10 * time.Millisecond

// overflows returns the best rank behind best with a ready path that may take overflow,
// if there is so much to send that it may; else when the first that may is ready, or the
// zero Time.
func overflows(now time.Time, p *Packet, paths []Path, best int) (rank int, ok bool, until time.Time) {
	for i := range paths {
		q := &paths[i]
		if !q.Overflow || q.rank() <= best || !p.candidate(i, q) || ok && q.rank() >= rank {
			continue
		}
		var rate uint64
		for j := range paths {
			if o := &paths[j]; p.candidate(j, o) && o.rank() < q.rank() {
				rate += max(o.Rate, 1)
			}
		}
		switch {
		case float64(p.Backlog) < overflowAfter.Seconds()*float64(rate):
		case !q.Ready.After(now):
			rank, ok = q.rank(), true
		case until.IsZero() || q.Ready.Before(until):
			until = q.Ready
		}
	}
	return rank, ok, until
}

// extra appends to dst, of which dst[from] is chosen already, the paths that carry the
// copies that are wanted: the quickest of its rank that are ready, or will be soon for an
// Interactive packet.
func extra(now time.Time, p *Packet, paths []Path, dst []int, from, best int) []int {
	rank := paths[dst[from]].rank()
	wait := time.Duration(0)
	if p.Class == Interactive {
		wait = copyWait
	}
	for range p.Copies {
		next := -1
		for i := range paths {
			q := &paths[i]
			if !p.candidate(i, q) || q.rank() != rank || rank != best && !q.Overflow ||
				q.Ready.Sub(now) > wait || slices.Contains(dst[from:], i) {
				continue
			}
			if next < 0 || q.earlier(&paths[next], now, p.Size) {
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

// Sent implements Scheduler.
func (a *Adaptive) Sent(_ time.Time, id PathID, size int) {
	if a.copied && id == a.copyTo {
		a.copied = false
		a.copies.spend(size)
		return
	}
	a.copies.earn(size)
}

// soonest chooses the path on which a packet arrives first.
func (a *Adaptive) soonest(now time.Time, p Packet, paths []Path, rank int, dst []int) Decision {
	first, second := -1, -1
	for i := range paths {
		q := &paths[i]
		if !p.candidate(i, q) || q.rank() != rank {
			continue
		}
		switch {
		case first < 0 || q.earlier(&paths[first], now, p.Size):
			first, second = i, first
		case second < 0 || q.earlier(&paths[second], now, p.Size):
			second = i
		}
	}
	if q := &paths[first]; q.Ready.After(now) {
		return Decision{To: dst, Until: q.Ready}
	}
	d := Decision{To: append(dst, first), Run: 1}
	gains := paths[first].Loss > lossy && p.Size <= copySize && a.copies.has(p.Size)
	if second >= 0 && gains && p.Copies == 0 && paths[second].Ready.Sub(now) <= copyWait {
		d.To = append(d.To, second)
		a.copyTo, a.copied = paths[second].ID, true
	}
	return d
}

const (
	// lossy is the loss from which on small packets are sent twice.
	lossy = 0.002
	// copySize is the size of the largest packet that is sent twice, in bytes.
	copySize = 512
	// copyWait is how long a path may be held back to be given a copy all the same.
	copyWait = 5 * time.Millisecond
)

// equals counts the candidates of a rank whose delays the receiver evens out.
func equals(p *Packet, paths []Path, rank int) (n int) {
	for i := range paths {
		if q := &paths[i]; q.Equal && p.candidate(i, q) && q.rank() == rank {
			n++
		}
	}
	return n
}

// firstReady chooses the quickest of the ready paths that allow accepts.
func firstReady(now time.Time, p Packet, paths []Path, rank int, dst []int, allow func(*Path) bool) Decision {
	chosen := -1
	var until time.Time
	for i := range paths {
		q := &paths[i]
		switch {
		case !p.candidate(i, q) || q.rank() != rank || !allow(q):
		case q.Ready.After(now):
			if until.IsZero() || q.Ready.Before(until) {
				until = q.Ready
			}
		case chosen < 0 || q.quicker(&paths[chosen]):
			chosen = i
		}
	}
	if chosen < 0 {
		return Decision{To: dst, Until: until}
	}
	return Decision{To: append(dst, chosen), Run: paths[chosen].run(p.Size)}
}

// spill chooses the quickest of the ready paths for which the backlog is long enough.
func spill(now time.Time, p Packet, paths []Path, rank int, dst []int) Decision {
	return firstReady(now, p, paths, rank, dst, func(q *Path) bool {
		var rate uint64
		lead := time.Duration(0) // of the quickest path
		for i := range paths {
			o := &paths[i]
			if o == q || !p.candidate(i, o) || o.rank() != rank || !o.quicker(q) {
				continue
			}
			rate += max(o.Rate, 1)
			lead = max(lead, q.delay()-o.delay())
		}
		// In floating point nothing overflows.
		return rate == 0 || float64(p.Backlog)/float64(rate) >= lead.Seconds()
	})
}

// delay returns what is known of the path's one-way delay.
func (p *Path) delay() time.Duration {
	if p.Delay != 0 {
		return p.Delay
	}
	return p.RTT / 2
}

// quicker reports whether p has the lower delay, and orders all paths strictly.
func (p *Path) quicker(q *Path) bool {
	if a, b := p.delay(), q.delay(); a != b {
		return a < b
	}
	if p.Rate != q.Rate {
		return p.Rate > q.Rate
	}
	return p.ID < q.ID
}

// earlier reports whether a packet of size bytes arrives earlier by p than by q.
func (p *Path) earlier(q *Path, now time.Time, size int) bool {
	a, b := p.arrival(now, size), q.arrival(now, size)
	if a != b {
		return a < b
	}
	return p.quicker(q)
}

// arrival returns how long a packet of size bytes takes to arrive.
func (p *Path) arrival(now time.Time, size int) time.Duration {
	at := p.delay() + max(0, p.Ready.Sub(now))
	if p.Rate > 0 {
		at += time.Duration(float64(size) / float64(p.Rate) * float64(time.Second))
	}
	return at
}

// budget limits the bytes of copies to a share of all bytes.
type budget struct {
	credit int // bytes * copyShare
}

const (
	// copyShare is the part of all bytes, one in so many, that may be copies.
	copyShare = 20
	// maxCredit is how many bytes of copies may be sent at once.
	maxCredit = 16 << 10
)

func (b *budget) earn(size int) { b.credit = min(b.credit+size, maxCredit*copyShare) }

func (b *budget) spend(size int) { b.credit -= size * copyShare }

func (b *budget) has(size int) bool { return b.credit >= size*copyShare }
