package wan

import (
	"testing"
	"time"
)

func TestRest(t *testing.T) {
	const ms = time.Millisecond
	var r rest
	check := func(now, want time.Duration, wantResting bool) {
		t.Helper()
		if got, resting := r.until(now); got != want || resting != wantResting {
			t.Errorf("at %v: until %v, %v; want %v, %v", now, got, resting, want, wantResting)
		}
	}
	r.setDelay(10 * ms)
	check(0, 0, false) // nothing came yet
	r.seen(10 * ms)
	check(10*ms, 10*ms+maxRest, true)
	r.received(11 * ms)
	check(14*ms, 11*ms+maxRest, true)
	check(15*ms, 0, false) // no frame for linger
	r.setDelay(600 * time.Microsecond)
	check(14*ms, 11*ms+300*time.Microsecond, true)
	r.setDelay(minRest) // its half is too short
	check(14*ms, 0, false)
}
