package metric

import (
	"slices"
	"time"
)

const (
	delaySamples = 64
	// delayAge is how old a sample may become, unless there are too few.
	delayAge = 3 * time.Second
	// fewDelays is how many samples are kept whatever their age.
	fewDelays = 4
)

// A Delay knows the recent one-way delays of a path. They may have any offset. The zero
// value is ready to use.
type Delay struct {
	ring     [delaySamples]delaySample
	n        int // samples ever added
	smoothed time.Duration
	scratch  [delaySamples]time.Duration
}

type delaySample struct {
	at    time.Time
	delay time.Duration
}

// Update adds a sample taken at now.
func (d *Delay) Update(now time.Time, sample time.Duration) {
	if d.n == 0 {
		d.smoothed = sample
	}
	d.smoothed += (sample - d.smoothed) / 8
	d.ring[d.n%delaySamples] = delaySample{now, sample}
	d.n++
}

// Known reports whether there has been a sample.
func (d *Delay) Known() bool { return d.n > 0 }

// Smoothed returns the average over about the last 8 samples.
func (d *Delay) Smoothed() time.Duration { return d.smoothed }

// High returns the delay that nine of ten samples of the last 3 s do not exceed. There
// must have been a sample.
func (d *Delay) High(now time.Time) time.Duration {
	kept := d.scratch[:0]
	for i := d.n - 1; i >= 0 && i >= d.n-delaySamples; i-- {
		s := &d.ring[i%delaySamples]
		if len(kept) >= fewDelays && now.Sub(s.at) > delayAge {
			break
		}
		kept = append(kept, s.delay)
	}
	slices.Sort(kept)
	return kept[len(kept)*9/10]
}
