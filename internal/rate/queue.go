package rate

import "time"

// queue estimates the delay that packets spend in the link's queue: what the one-way
// delay is above its floor.
//
// The floor is not simply the lowest delay of the last seconds. Where a line's jitter
// does not reorder, packets wait behind delayed ones, and so the delay is higher when
// they are many, without any queue; and the path itself may change. The floor is
// therefore what is measured when the queue has just been drained. A delay that does
// not fall when less is sent is no queue.
type queue struct {
	known  bool
	floor  time.Duration
	smooth time.Duration // of the delay
	noise  time.Duration // mean deviation of the delay from smooth
	recent [4]time.Duration
	n      int
	vain   time.Duration // what the delay has been seen to rise by without a queue
}

const (
	minTarget = 4 * time.Millisecond
	maxVain   = 30 * time.Millisecond
)

// add takes in the lowest delay since the last report. Only a link that is busy shows
// its floor under load.
func (q *queue) add(d time.Duration, loaded bool) {
	q.recent[q.n%len(q.recent)] = d
	q.n++
	if !q.known {
		q.known, q.floor, q.smooth = true, d, d
		return
	}
	q.noise += ((d - q.smooth).Abs() - q.noise) / 16
	if loaded {
		q.smooth += (d - q.smooth) / 2
	} else {
		q.smooth = d
	}
	if d < q.floor {
		q.floor = d
	}
}

// lowest returns the lowest of the last few delays.
func (q *queue) lowest() time.Duration {
	d := q.recent[0]
	for _, r := range q.recent[1:min(q.n, len(q.recent))] {
		d = min(d, r)
	}
	return d
}

func (q *queue) delay() time.Duration { return max(0, q.smooth-q.floor-q.vain) }

// target is the queue that keeps a link busy while its rate is not known exactly.
func (q *queue) target() time.Duration { return max(minTarget, 2*q.noise) }

// limit is the queue at which it is drained.
func (q *queue) limit() time.Duration { return q.target() * 3 / 2 }

// A drain lowers the rate for a while, until the queue is gone or is seen to be none: if
// the link had a queue it goes on delivering what it carries, else it delivers what is
// sent.
type drain struct {
	active  bool
	begun   time.Time
	before  float64 // the capacity before
	limited bool    // the link did not have enough to send for its rate to be its capacity
	pace    float64
	effect  time.Time     // when the first report came of what was sent since, zero if none has
	from    time.Duration // the queue then
}

const (
	// drainFactor is the part of the capacity that is sent meanwhile.
	drainFactor = 0.75
	// limitedCut is by how much the capacity is cut if it cannot be measured.
	limitedCut = 0.8
	// drainSamples is how many samples make sure, and hastyCut by how much the capacity is
	// cut at most while there are fewer.
	drainSamples = 4
	hastyCut     = 0.5
	// drainProof is how much the delay must fall in a unit of time to prove a queue.
	drainProof = 0.12
	// drainFor is how long the delay is watched, at least.
	drainFor = 40 * time.Millisecond
)

// begin starts to drain a link that delivers at a rate of measured.
func (d *drain) begin(now time.Time, measured, before float64, limited bool) {
	*d = drain{active: true, begun: now, before: before, limited: limited, pace: drainFactor * measured}
}

// capacity returns what the link carries, according to the rates at which it delivered
// while there was a queue. Few of them may tell of a pause of one of the hosts.
func (d *drain) capacity(full *mean) float64 {
	c := min(full.value(d.before), d.before)
	switch {
	case d.limited:
		return max(c, limitedCut*d.before)
	case full.n < drainSamples:
		return max(c, hastyCut*d.before)
	}
	return c
}

type drainResult uint8

const (
	drainGoesOn drainResult = iota
	drainIsOver
	drainWasVain // there was no queue
)

// step takes in a report while the drain goes on.
func (d *drain) step(now time.Time, s Sample, rate float64, behind bool, q *queue) drainResult {
	left := q.delay()
	if left <= q.target()/4 {
		q.vain -= q.vain / 8
		d.active = false
		return drainIsOver
	}
	if s.Sent.Before(d.begun) {
		return drainGoesOn
	}
	if d.effect.IsZero() {
		d.effect, d.from = now, left
		return drainGoesOn
	}
	took := now.Sub(d.effect)
	if took < drainFor {
		return drainGoesOn
	}
	if float64(d.from-left) > drainProof*float64(took) {
		d.effect, d.from = now, left
		return drainGoesOn
	}
	if behind {
		// The queue grows all the same: the link has become slower than was measured.
		d.begun, d.effect = now, time.Time{}
		d.pace = drainFactor * rate
		return drainGoesOn
	}
	q.floor = q.lowest()
	q.vain = min(max(q.smooth-q.floor, q.vain+minTarget/2), maxVain)
	d.active = false
	return drainWasVain
}

// A mean is that of some values.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(v float64) {
	m.sum += v
	m.n++
}

// value returns the mean, or what it is if there are no values.
func (m *mean) value(none float64) float64 {
	if m.n == 0 {
		return none
	}
	return m.sum / float64(m.n)
}
