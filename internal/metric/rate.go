package metric

import "time"

const (
	rateBuckets = 10
	rateBucket  = 100 * time.Millisecond
)

// A Rate measures throughput over the last second. Its zero value is ready to use.
type Rate struct {
	started bool
	start   time.Time // when bucket number 0 began
	head    int64     // number of the newest bucket
	sum     uint64    // of all buckets
	bytes   [rateBuckets + 1]uint64
}

// Add counts bytes that passed at now.
func (r *Rate) Add(now time.Time, bytes int) {
	if bytes <= 0 {
		return
	}
	if !r.started {
		r.started = true
		r.start = now
	}
	r.advance(now)
	r.bytes[r.head%int64(len(r.bytes))] += uint64(bytes)
	r.sum += uint64(bytes)
}

// PerSecond returns the mean rate, in bytes per second, from at least 1 s and less
// than 1.1 s ago until now. In the first second it divides by the time since the
// first call of Add, but at least by 100 ms.
func (r *Rate) PerSecond(now time.Time) float64 {
	if !r.started {
		return 0
	}
	r.advance(now)
	oldest := max(0, r.head-rateBuckets)
	span := now.Sub(r.start) - time.Duration(oldest)*rateBucket
	return float64(r.sum) / max(span, rateBucket).Seconds()
}

// advance makes the bucket of now the newest one and forgets what is too old.
func (r *Rate) advance(now time.Time) {
	bucket := int64(now.Sub(r.start) / rateBucket)
	if bucket-r.head >= int64(len(r.bytes)) {
		r.head, r.sum = bucket, 0
		clear(r.bytes[:])
		return
	}
	for r.head < bucket {
		r.head++
		slot := &r.bytes[r.head%int64(len(r.bytes))]
		r.sum -= *slot
		*slot = 0
	}
}
