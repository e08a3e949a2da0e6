package metric

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// High is what a list of all samples says, whatever their offset, and Smoothed stays
// between the lowest and the highest.
func TestDelayAgainstList(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var d Delay
		if d.Known() {
			t.Fatal("known without a sample")
		}
		type sample struct {
			at    time.Time
			delay time.Duration
		}
		var all []sample
		now := epoch
		offset := time.Duration(rng.Int64N(int64(2*time.Hour))) - time.Hour
		low, high := time.Duration(1<<62), time.Duration(-1<<62)
		for range 1000 {
			now = now.Add(time.Duration(rng.ExpFloat64() * float64([]time.Duration{time.Millisecond, 100 * time.Millisecond, 2 * time.Second}[seed%3])))
			v := offset + time.Duration(rng.Int64N(int64(50*time.Millisecond)))
			low, high = min(low, v), max(high, v)
			d.Update(now, v)
			all = append(all, sample{now, v})

			asked := now.Add(time.Duration(rng.Int64N(int64(4 * time.Second))))
			var kept []time.Duration
			for i, s := range slices.Backward(all) {
				if newer := len(all) - 1 - i; newer < delaySamples && (newer < fewDelays || asked.Sub(s.at) <= delayAge) {
					kept = append(kept, s.delay)
				}
			}
			got, below := d.High(asked), 0
			for _, k := range kept {
				if k <= got {
					below++
				}
			}
			// Nine of ten do not exceed it, and it is the lowest sample of that kind but one.
			slices.Sort(kept)
			if got != kept[len(kept)*9/10] || below*10 < len(kept)*9 {
				t.Fatalf("seed %d: High is %v, above %d of %v", seed, got, below, kept)
			}
			if s := d.Smoothed(); !d.Known() || s < low || s > high {
				t.Fatalf("seed %d: smoothed %v, samples from %v to %v", seed, s, low, high)
			}
		}
	}
}

// Smoothed follows a step by an eighth of what is left.
func TestDelaySmoothed(t *testing.T) {
	var d Delay
	d.Update(epoch, 80*time.Millisecond)
	if s := d.Smoothed(); s != 80*time.Millisecond {
		t.Errorf("the first sample makes it %v", s)
	}
	d.Update(epoch, 0)
	if s := d.Smoothed(); s != 70*time.Millisecond {
		t.Errorf("after 80 ms and 0 it is %v", s)
	}
}

func TestDelayAllocs(t *testing.T) {
	var d Delay
	now := epoch
	if allocs := testing.AllocsPerRun(200, func() {
		now = now.Add(time.Millisecond)
		d.Update(now, time.Duration(now.Nanosecond()))
		d.High(now)
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkDelay(b *testing.B) {
	b.ReportAllocs()
	var d Delay
	rng := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		d.Update(epoch, time.Duration(rng.Int64N(1e7)))
		d.High(epoch)
	}
}
