// Package metric estimates round-trip time, loss and throughput from measurements.
//
// The types are used by one goroutine at a time, allocate nothing and read no clock.
package metric

import "time"

const (
	initialRTO = time.Second // RFC 6298, section 2.1

	rttWindow  = 10 * time.Second
	rttBuckets = 10
	rttBucket  = rttWindow / rttBuckets
)

// An RTT estimates a path's round-trip time. Its zero value is ready to use.
type RTT struct {
	smoothed time.Duration
	variance time.Duration
	latest   time.Duration
	known    bool

	start time.Time // when bucket number 0 began
	head  int64     // number of the newest bucket
	mins  [rttBuckets]time.Duration
}

// Update adds a sample taken at now. Negative samples are ignored.
//
// Smoothed round-trip time and variation follow RFC 6298, section 2, with alpha 1/8
// and beta 1/4.
func (r *RTT) Update(now time.Time, sample time.Duration) {
	if sample < 0 {
		return
	}
	r.latest = sample
	if !r.known {
		r.known = true
		r.smoothed, r.variance = sample, sample/2
		r.start = now
		r.head = 0
		for i := range r.mins {
			r.mins[i] = sample
		}
		return
	}
	r.variance += ((r.smoothed - sample).Abs() - r.variance) / 4
	r.smoothed += (sample - r.smoothed) / 8
	r.updateMin(now, sample)
}

// updateMin puts sample in the bucket of now. A bucket's slot holds the smallest
// sample of one second.
func (r *RTT) updateMin(now time.Time, sample time.Duration) {
	bucket := max(r.head, int64(now.Sub(r.start)/rttBucket))
	if bucket-r.head > rttBuckets {
		r.head = bucket - rttBuckets
	}
	for r.head < bucket {
		r.head++
		r.mins[r.head%rttBuckets] = sample
	}
	slot := &r.mins[bucket%rttBuckets]
	*slot = min(*slot, sample)
}

// Known reports whether there was a sample.
func (r *RTT) Known() bool { return r.known }

// Latest returns the last sample.
func (r *RTT) Latest() time.Duration { return r.latest }

// Smoothed returns SRTT, 0 before the first sample.
func (r *RTT) Smoothed() time.Duration { return r.smoothed }

// Var returns RTTVAR, the smoothed mean deviation, 0 before the first sample.
func (r *RTT) Var() time.Duration { return r.variance }

// Min returns the smallest of the last sample and those of the 9 seconds before it.
// Samples of the second before that may count too, older ones do not. It is 0 before
// the first sample.
func (r *RTT) Min() time.Duration {
	if !r.known {
		return 0
	}
	m := r.mins[0]
	for _, v := range r.mins[1:] {
		m = min(m, v)
	}
	return m
}

// RTO returns the retransmission timeout SRTT + 4 * RTTVAR (RFC 6298, section 2),
// but at least lo and at most hi. Before the first sample it starts from 1 second.
func (r *RTT) RTO(lo, hi time.Duration) time.Duration {
	rto := initialRTO
	if r.known {
		rto = r.smoothed + 4*r.variance
	}
	return min(max(rto, lo), hi)
}
