package rate

import "time"

// Config configures an Estimator.
type Config struct {
	// Start is the rate to begin with, in bytes per second; 0 means DefaultStart. A
	// known start is not doubled, only corrected.
	Start uint64
	// Max is a rate that is never exceeded, in bytes per second; 0 is no limit.
	Max uint64
}

const (
	// DefaultStart is 20 Mbit/s.
	DefaultStart = 2_500_000
	// Min is the lowest rate, 200 kbit/s, at which there is still something to measure.
	Min = 25_000
	// maxRate keeps sums within range: 800 Gbit/s.
	maxRate = 1e11
)

// A Sample is what one report told about a link.
type Sample struct {
	// Arrived is when the newest datagram arrived, on the receiver's clock in microseconds
	// modulo 2^32, and Bytes what had arrived by then, modulo 2^32.
	Arrived, Bytes uint32
	// Sent is when that datagram was sent, Offered how many bytes had been sent before, and
	// Idle how long the link had been without anything to send until then, in all.
	Sent    time.Time
	Offered uint64
	Idle    time.Duration
	// Delay is the lowest one-way delay since the last report, with an offset that is
	// arbitrary but constant, if HasDelay.
	Delay    time.Duration
	HasDelay bool
	// RTT is the time that a report takes to tell the effect of what is sent.
	RTT time.Duration
	// Acked and Lost are the datagrams that the report was the first to tell of.
	Acked, Lost int
}

// An Estimator estimates the rate at which a link should be sent on. Make one with New;
// it is used by one goroutine at a time.
type Estimator struct {
	cfg      Config
	capacity float64 // bytes per second
	pace     float64 // bytes per second
	boost    float64 // what pace exceeds capacity by while no queue shows
	started  bool    // the first doubling is over

	delivery delivery
	queue    queue
	loss     loss
	drain    drain
	full     mean // of the rates measured since there seems to be a queue

	round  time.Time // when boost may grow next
	quiet  int       // rounds without a queue
	rested time.Time // when the queue was last known to be empty
}

// New returns an Estimator.
func New(cfg Config) *Estimator {
	e := &Estimator{cfg: cfg, capacity: DefaultStart, boost: startBoost}
	if cfg.Start > 0 {
		e.capacity, e.boost, e.started = float64(cfg.Start), 1, true
	}
	e.setPace(e.capacity)
	return e
}

// Restart says that what was sent lately was lost for other reasons than its rate, or is
// counted anew: what the link carries is not known to have changed.
func (e *Estimator) Restart() {
	e.delivery = delivery{}
	e.loss = loss{usual: e.loss.usual, recent: e.loss.usual}
	e.drain = drain{}
	e.full = mean{}
	e.quiet = 0
	e.setPace(e.capacity)
}

// Rate returns the rate at which to send now, in bytes per second.
func (e *Estimator) Rate() uint64 { return uint64(e.pace) }

// Capacity returns what the link is thought to carry, in bytes per second.
func (e *Estimator) Capacity() uint64 { return uint64(min(e.capacity, e.limit())) }

// Queue returns the delay that a queue on the link causes, as last measured.
func (e *Estimator) Queue() time.Duration { return e.queue.delay() }

// Found reports whether the capacity has been found: the first doubling is over.
func (e *Estimator) Found() bool { return e.started }

func (e *Estimator) limit() float64 {
	if e.cfg.Max > 0 {
		return float64(e.cfg.Max)
	}
	return maxRate
}

func (e *Estimator) setPace(r float64) { e.pace = min(max(r, Min), e.limit()) }

const (
	// interval bounds from below the time over which a delivery rate is measured.
	interval      = 80 * time.Millisecond
	startInterval = 20 * time.Millisecond
	// busy is the share of the time that a link may have had nothing to send for its
	// delivery rate still to tell about its capacity.
	busy = 0.1
	// keptUp is the part of what is sent that arrives at least in the same time at a link
	// that is not full.
	keptUp = 0.85
)

// Update takes in a report that was received at now.
func (e *Estimator) Update(now time.Time, s Sample) {
	over := max(interval, s.RTT)
	if !e.started {
		over = max(startInterval, s.RTT/2)
	}
	rate, offered, idle, ok := e.delivery.add(s, over)
	e.loss.add(s)
	if !ok {
		return
	}
	rate /= 1 - e.loss.usual
	limited := idle > busy
	behind := rate < keptUp*offered
	if s.HasDelay {
		e.queue.add(s.Delay, !limited)
	}
	if limited && !e.drain.active && (e.queue.delay() <= e.queue.limit() || !e.started && !behind) {
		// The application did not send more, so this is only a lower bound.
		if rate > e.capacity {
			e.capacity = rate
		}
		e.full = mean{}
		e.setPace(e.capacity * max(e.boost, 1))
		e.rested = now
		return
	}
	e.saturated(now, s, rate, limited, behind)
}

// saturated deals with a sample of a link that had something to send all the time.
func (e *Estimator) saturated(now time.Time, s Sample, rate float64, limited, behind bool) {
	span := max(100*time.Millisecond, 3*s.RTT) // of the control loop
	q, target := e.queue.delay(), e.queue.target()
	excess := e.loss.excessive()
	if e.drain.active {
		switch e.drain.step(now, s, rate, behind, &e.queue) {
		case drainGoesOn:
			if q > target/2 {
				e.full.add(rate)
			}
			e.setPace(e.drain.pace)
			return
		case drainIsOver:
			// There was a queue, so what arrived meanwhile was what the link carries.
			e.capacity = e.drain.capacity(&e.full)
			e.full = mean{}
		case drainWasVain:
			// The delay is that of an empty queue: the capacity is as it was.
		}
		e.rested = now
		q = e.queue.delay()
	} else if rate > e.capacity {
		e.capacity = rate
	} else if excess {
		e.capacity += (rate - e.capacity) / 8
	}
	if q > target/2 {
		e.full.add(rate)
	} else {
		e.full = mean{}
	}
	if !e.started {
		// Until the link falls behind, the delay may do what it wants.
		if behind && q > target/2 || excess {
			e.started = true
			e.boost, e.quiet = 1, 0
			e.round = now.Add(s.RTT)
		} else {
			e.setPace(e.capacity * e.boost)
			return
		}
	}
	if q > target || excess {
		e.boost, e.quiet = 1, 0
		e.round = now.Add(s.RTT)
	}
	if q > e.queue.limit() || now.Sub(e.rested) > restEvery && q > restAbove {
		e.drain.begin(now, min(e.full.value(rate), e.capacity), e.capacity, limited)
		e.setPace(e.drain.pace)
		return
	}
	if e.started && !now.Before(e.round) {
		e.round = now.Add(max(s.RTT, interval))
		if e.quiet++; q >= target/2 {
			e.quiet = 0
		}
		if e.quiet >= quietRounds {
			// There may be more.
			e.boost = min(1.02+2*(e.boost-1), maxBoost)
		}
	}
	if excess {
		e.setPace(e.capacity * 0.98)
		return
	}
	correction := float64(target-q) / float64(span)
	e.setPace(e.capacity * max(e.boost, 1+correction))
}

const (
	// startBoost is the factor by which the rate may grow in a round trip at first: 2/ln 2,
	// as in BBR.
	startBoost = 2.885
	maxBoost   = 1.25
	// quietRounds is after how many round trips without a queue the rate grows faster.
	quietRounds = 3
	// restEvery is how often the queue is emptied, so that the delay without one stays
	// known (compare PROBE_RTT of BBR), unless it is below restAbove anyway.
	restEvery = 5 * time.Second
	restAbove = 2 * time.Millisecond
)
