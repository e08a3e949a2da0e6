package rate

import (
	"math/rand/v2"
	"time"
)

// This file simulates one line: a sender that is paced by an Estimator, a FIFO queue, and
// a receiver that reports as SPEC.md, section 4.8, has it. All of it is in virtual time.

const (
	ms     = time.Millisecond
	packet = 1500 // bytes, all headers included
	mbit   = 1e6 / 8
)

var epoch = time.Unix(1_000_000_000, 0)

// line is what the line is like at a time.
type line struct {
	rate   float64       // bytes per second
	base   time.Duration // one way
	jitter time.Duration // up to so much more; it does not reorder
	loss   float64       // ratio of packets lost at random
	queue  time.Duration // what the queue holds; 0 is 100 ms
	police time.Duration // if not 0, there is a token bucket of so much instead of a queue
	offer  float64       // what there is to send, in bytes per second; 0 is always enough
}

// world is the state of a simulation.
type world struct {
	at    func(t time.Duration) line
	est   *Estimator
	rng   *rand.Rand
	now   time.Duration
	trace []point100 // by 100 ms

	// Sender.
	next    time.Duration // when the pacer lets the next packet go
	credit  float64       // bytes that the application has offered and that wait
	offered time.Duration // up to when
	sent    uint64
	idle    time.Duration
	srtt    time.Duration
	entries []entryOf // by number

	// Line.
	free    time.Duration // when the line has sent what is queued
	tokens  float64
	filled  time.Duration
	arrival time.Duration // of the packet before
	flying  []int         // numbers under way, lost ones left out

	// Receiver.
	bytes   uint32
	newest  int
	low     time.Duration
	fresh   int
	since   time.Duration
	last    time.Duration
	urgent  int
	reports []reportOf
	told    int // numbers below have been reported
}

type entryOf struct {
	sent, arrived time.Duration
	before        uint64
	idle          time.Duration
	lost          bool
}

type reportOf struct {
	due        time.Duration
	made       Sample
	highest    int
	acked, bad int
}

// point100 is what happened in 100 ms.
type point100 struct {
	bytes    float64       // that arrived
	capacity float64       // of the line, bytes
	thought  float64       // mean of Capacity, bytes per second
	queue    time.Duration // mean queue that packets met
	packets  int
}

func simulate(seed uint64, cfg Config, duration time.Duration, at func(time.Duration) line) []point100 {
	w := &world{at: at, est: New(cfg), rng: rand.New(rand.NewPCG(seed, 1)), newest: -1, bytes: 1<<32 - 1_000_000}
	w.trace = make([]point100, duration/(100*ms))
	for i := range w.trace {
		w.trace[i].capacity = at(time.Duration(i)*100*ms).rate / 10
	}
	for w.now < duration {
		w.step()
	}
	return w.trace
}

// step goes to the next event.
func (w *world) step() {
	send := w.sendable()
	at, what := send, 0
	if len(w.flying) > 0 && w.entries[w.flying[0]].arrived < at {
		at, what = w.entries[w.flying[0]].arrived, 1
	}
	if due, ok := w.reportDue(); ok && due < at {
		at, what = due, 2
	}
	if len(w.reports) > 0 && w.reports[0].due < at {
		at, what = w.reports[0].due, 3
	}
	w.now = max(at, w.now)
	switch what {
	case 0:
		w.send()
	case 1:
		w.arrive()
	case 2:
		w.report()
	case 3:
		w.hear()
	}
}

// sendable returns when the next packet can go: the pacer lets it, and there is one.
func (w *world) sendable() time.Duration {
	l := w.at(w.now)
	if l.offer == 0 {
		w.credit, w.offered = 0, w.now
		return max(w.now, w.next)
	}
	w.credit = min(w.credit+l.offer*(w.now-w.offered).Seconds(), 100*packet)
	w.offered = w.now
	ready := w.now
	if w.credit < packet {
		ready += time.Duration((packet-w.credit)/l.offer*float64(time.Second)) + 1
	}
	return max(ready, w.next)
}

func (w *world) send() {
	l := w.at(w.now)
	if l.offer > 0 {
		w.credit += l.offer*(w.now-w.offered).Seconds() - packet
		w.offered = w.now
	}
	if gap := w.now - w.next; w.next > 0 && gap > 2*ms {
		w.idle += gap
	}
	e := entryOf{sent: w.now, before: w.sent, idle: w.idle}
	w.sent += packet
	w.next = max(w.next, w.now-ms) + time.Duration(packet/float64(w.est.Rate())*float64(time.Second))

	wait := max(0, w.free-w.now)
	limit := l.queue
	if limit == 0 {
		limit = 100 * ms
	}
	if l.police > 0 {
		w.tokens = min(w.tokens+l.rate*(w.now-w.filled).Seconds(), l.rate*l.police.Seconds())
		w.filled = w.now
		if e.lost = w.tokens < packet; !e.lost {
			w.tokens -= packet
		}
		wait = 0
	} else if e.lost = wait > limit; !e.lost {
		w.free = w.now + wait + time.Duration(packet/l.rate*float64(time.Second))
	}
	if p := w.point(w.now); p != nil {
		p.queue += wait
		p.thought += float64(w.est.Capacity())
		p.packets++
	}
	// What is lost on the way has been through the queue.
	if !e.lost && w.rng.Float64() < l.loss {
		e.lost = true
	}
	if !e.lost {
		e.arrived = max(w.free, w.now) + l.base
		if l.jitter > 0 {
			e.arrived += time.Duration(w.rng.Int64N(int64(l.jitter)))
		}
		e.arrived = max(e.arrived, w.arrival)
		w.arrival = e.arrived
		w.flying = append(w.flying, len(w.entries))
	}
	w.entries = append(w.entries, e)
}

func (w *world) point(at time.Duration) *point100 {
	if i := int(at / (100 * ms)); i < len(w.trace) {
		return &w.trace[i]
	}
	return nil
}

func (w *world) arrive() {
	n := w.flying[0]
	w.flying = w.flying[1:]
	e := &w.entries[n]
	if p := w.point(w.now); p != nil {
		p.bytes += packet
	}
	w.bytes += packet
	if n > w.newest+1 {
		w.urgent = 2
	}
	w.newest = n
	if d := e.arrived - e.sent; w.fresh == 0 || d < w.low {
		w.low = d
	}
	if w.fresh == 0 {
		w.since = w.now
	}
	w.fresh++
}

func (w *world) reportDue() (time.Duration, bool) {
	switch {
	case w.fresh == 0:
		return 0, false
	case w.urgent > 0:
		return max(w.last+4*ms, w.now), true
	case w.fresh >= 60:
		return max(w.last+15*ms, w.now), true
	}
	return w.since + 25*ms, true
}

func (w *world) report() {
	l := w.at(w.now)
	e := &w.entries[w.newest]
	r := reportOf{due: w.now + l.base, highest: w.newest}
	for ; w.told <= w.newest; w.told++ {
		if w.entries[w.told].lost {
			r.bad++
		} else {
			r.acked++
		}
	}
	// Delays have some offset.
	r.made = Sample{
		Arrived: uint32(1<<32 - 5_000_000 + uint64(e.arrived/time.Microsecond)),
		Bytes:   w.bytes,
		Sent:    epoch.Add(e.sent), Offered: e.before, Idle: e.idle,
		Delay: w.low - 7*time.Second, HasDelay: true,
		Acked: r.acked, Lost: r.bad,
	}
	w.fresh, w.urgent, w.last = 0, max(w.urgent-1, 0), w.now
	if n := len(w.reports); n > 0 {
		r.due = max(r.due, w.reports[n-1].due)
	}
	w.reports = append(w.reports, r)
}

func (w *world) hear() {
	r := w.reports[0]
	w.reports = w.reports[1:]
	sample := w.now - w.entries[r.highest].sent
	if w.srtt == 0 {
		w.srtt = sample
	}
	w.srtt += (sample - w.srtt) / 8
	r.made.RTT = w.srtt
	w.est.Update(epoch.Add(w.now), r.made)
	// A new rate counts from now on.
	w.next = min(w.next, w.now+time.Duration(packet/float64(w.est.Rate())*float64(time.Second)))
}

// span is what happened from one time to another.
type span struct {
	share   float64       // of the capacity that was delivered
	thought float64       // mean of the capacity that the estimator took the line for, as a share
	queue   time.Duration // mean
}

func over(trace []point100, from, to time.Duration) (s span) {
	var bytes, capacity, thought float64
	packets := 0
	for _, p := range trace[from/(100*ms) : to/(100*ms)] {
		bytes += p.bytes
		capacity += p.capacity
		thought += p.thought
		s.queue += p.queue
		packets += p.packets
	}
	s.share = bytes / capacity
	if packets > 0 {
		s.thought = thought / float64(packets) * (to - from).Seconds() / capacity
		s.queue /= time.Duration(packets)
	}
	return s
}
