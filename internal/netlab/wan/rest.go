package wan

import "time"

// A wake-up costs more than the frames it serves. While frames come in, and no line is
// so short that it matters, the bridge looks for them at intervals only: their time of
// arrival is stamped, and none is due before its line's delay has passed.
const (
	maxRest = 500 * time.Microsecond
	minRest = 200 * time.Microsecond // shorter ones are not worth it
	// linger is how long after the last frame the bridge expects another.
	linger = 5 * time.Millisecond
)

// rest decides when the bridge looks for frames.
type rest struct {
	interval time.Duration // zero: as soon as they arrive
	last     time.Duration // when the bridge looked
	active   time.Duration // until when it expects frames
}

// setDelay tells the shortest delay of all lines.
func (r *rest) setDelay(d time.Duration) {
	// Half the delay leaves the other half to be late in.
	r.interval = min(d/2, maxRest)
	if r.interval < minRest {
		r.interval = 0
	}
}

// seen tells that frames were received at now.
func (r *rest) seen(now time.Duration) {
	r.last = now
	r.active = now + linger
}

// received tells that the bridge looked at now, for nothing or not.
func (r *rest) received(now time.Duration) {
	r.last = now
}

// until returns when to look for frames, or false if as soon as they arrive.
func (r *rest) until(now time.Duration) (time.Duration, bool) {
	if r.interval == 0 || now >= r.active {
		return 0, false
	}
	return r.last + r.interval, true
}
