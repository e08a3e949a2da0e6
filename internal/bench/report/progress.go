package report

import (
	"math"
	"time"
)

// A Sample is how much of a flow its receiver had in order at a time.
type Sample struct {
	At    time.Duration // since the flow's first byte
	Bytes uint64
}

// Progress is a flow as samples of the receiver, in order of time.
type Progress []Sample

// at returns the bytes received until t, between two samples in proportion.
func (p Progress) at(t time.Duration) float64 {
	for i, s := range p {
		if s.At < t {
			continue
		}
		if i == 0 || s.At == t {
			return float64(s.Bytes)
		}
		before := p[i-1]
		part := float64(t-before.At) / float64(s.At-before.At)
		return float64(before.Bytes) + part*float64(s.Bytes-before.Bytes)
	}
	if len(p) == 0 {
		return 0
	}
	return float64(p[len(p)-1].Bytes)
}

// Rate returns the mean rate from one time to another, in Mbit/s.
func (p Progress) Rate(from, to time.Duration) float64 {
	return (p.at(to) - p.at(from)) * 8 / 1e6 / (to - from).Seconds()
}

// Undisturbed returns the mean rate, in Mbit/s, between two moments near the given ones at
// which nothing was missing. What arrives behind a hole counts only when that is filled:
// over a few seconds, a hole at either end is worth some per cent. The moments are those
// when the receiver was furthest ahead of a steady flow.
func (p Progress) Undisturbed(from, to time.Duration) float64 {
	mean := p.Rate(from, to) * 1e6 / 8
	ahead := func(from, to time.Duration) (best Sample) {
		lead := math.Inf(-1)
		for _, s := range p {
			if x := float64(s.Bytes) - mean*s.At.Seconds(); s.At >= from && s.At <= to && x > lead {
				best, lead = s, x
			}
		}
		return best
	}
	edge := (to - from) / 4
	a, z := ahead(from, from+edge), ahead(to-edge, to)
	return float64(z.Bytes-a.Bytes) * 8 / 1e6 / (z.At - a.At).Seconds()
}

// Series returns the rate in each SeriesStep until a time, in Mbit/s.
func (p Progress) Series(until time.Duration) (rates []float64) {
	for t := time.Duration(0); t+SeriesStep <= until; t += SeriesStep {
		rates = append(rates, round(p.Rate(t, t+SeriesStep)))
	}
	return rates
}

// LongestGap returns the longest time between two samples with nothing received between
// them, of the part of the flow between two times. It is too long by up to the time
// between two samples.
func (p Progress) LongestGap(from, to time.Duration) (gap time.Duration) {
	last, known := Sample{}, false
	for _, s := range p {
		if s.At > to {
			break
		}
		if !known || s.Bytes > last.Bytes {
			if known && s.At > from {
				gap = max(gap, s.At-max(last.At, from))
			}
			last, known = s, true
		}
	}
	if known && to > last.At {
		gap = max(gap, to-max(last.At, from))
	}
	return gap
}

// The flow is back when it keeps a share of its former rate for a while.
const (
	returnShare  = 0.9
	returnWindow = time.Second
)

// Return returns how long after restored the flow was as fast as it had been from one
// time to another, and false if it never was.
func (p Progress) Return(from, to, restored time.Duration) (time.Duration, bool) {
	if len(p) == 0 {
		return 0, false
	}
	want := returnShare * p.Rate(from, to)
	end := p[len(p)-1].At
	for t := restored; t+returnWindow <= end; t += SeriesStep {
		if p.Rate(t, t+returnWindow) >= want {
			return t - restored, true
		}
	}
	return 0, false
}
