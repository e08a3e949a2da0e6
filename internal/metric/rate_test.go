package metric

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestRate compares with all events kept.
func TestRate(t *testing.T) {
	type event struct {
		at    time.Time
		bytes int
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for _, gap := range []time.Duration{ms, 30 * ms, 400 * ms, 3 * time.Second} {
		var r Rate
		var all []event
		now := epoch
		for range 3000 {
			now = now.Add(time.Duration(rng.Int64N(int64(gap))))
			if rng.IntN(4) > 0 {
				e := event{now, 1 + rng.IntN(5000)}
				all = append(all, e)
				r.Add(now, e.bytes)
			}
			if len(all) == 0 {
				continue
			}
			// The window begins on the first event's grid of 100 ms.
			begin := all[0].at
			if age := now.Sub(begin); age >= 1100*ms {
				begin = begin.Add((age/(100*ms) - 10) * 100 * ms)
			}
			sum := 0
			for _, e := range all {
				if !e.at.Before(begin) {
					sum += e.bytes
				}
			}
			want := float64(sum) / max(now.Sub(begin).Seconds(), 0.1)
			if got := r.PerSecond(now); math.Abs(got-want) > 1e-6*want {
				t.Fatalf("gap %v: %.3f bytes per second, want %.3f", gap, got, want)
			}
		}
	}
}

func TestRateSteadyAndIdle(t *testing.T) {
	var r Rate
	if r.PerSecond(epoch) != 0 {
		t.Fatal("the zero value has a rate")
	}
	r.Add(epoch, 0)
	r.Add(epoch, -5)
	if r.started {
		t.Fatal("nothing started the window")
	}
	now := epoch
	for range 5000 {
		r.Add(now, 1250)
		now = now.Add(ms)
	}
	if got := r.PerSecond(now); math.Abs(got/1_250_000-1) > 0.001 {
		t.Fatalf("%.0f bytes per second, want 1250000", got)
	}
	if got := r.PerSecond(now.Add(550 * ms)); got < 500_000 || got > 750_000 {
		t.Fatalf("%.0f bytes per second half a second later", got)
	}
	if got := r.PerSecond(now.Add(1100 * ms)); got != 0 {
		t.Fatalf("%.0f bytes per second after 1.1 s of silence", got)
	}
	r.Add(now, 1000) // the clock goes back
	if got := r.PerSecond(now.Add(1100 * ms)); got < 900 || got > 1000 {
		t.Fatalf("%.0f bytes per second after 1000 bytes", got)
	}
}

func BenchmarkRate(b *testing.B) {
	var r Rate
	now := epoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		r.Add(now, 1440)
	}
}
