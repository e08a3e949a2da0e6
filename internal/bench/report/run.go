// Package report holds what the bench measures, its statistics, and the table made of it.
package report

import (
	"math"
	"slices"
	"time"
)

// What a Run measures.
const (
	Raw       = "raw"       // one line without a tunnel
	Alone     = "alone"     // one line through the tunnel
	Tunnel    = "tunnel"    // all lines through the tunnel
	MPTCP     = "mptcp"     // all lines by the kernel's MPTCP, without a tunnel
	Blackhole = "blackhole" // all lines through the tunnel, one of them cut for a while
)

// A Run is one measurement: one TCP flow, and a ping beside it. Rates are in Mbit/s of
// TCP payload, times in milliseconds. What was not measured is zero.
type Run struct {
	Profile    string  `json:"profile"`
	Lines      string  `json:"lines"` // in the notation of package profile
	Want       float64 `json:"want,omitempty"`
	Repetition int     `json:"repetition"`
	Kind       string  `json:"kind"`
	Line       int     `json:"line,omitempty"` // from 1; of Raw and Alone the one measured, of Blackhole the one cut
	Direction  string  `json:"direction"`
	Congestion string  `json:"congestion"`
	Started    string  `json:"started"` // RFC 3339

	// Sum is the mean rate of the lines used while the flow was measured, on the wire.
	Sum         float64 `json:"sum"`
	Goodput     float64 `json:"goodput"`
	Retransmits int     `json:"retransmits"`
	// Gap is the longest time in which nothing in order reached the receiver.
	Gap float64 `json:"gap"`
	// Return is how long after the end of a cut the flow was as fast again as before
	// it; negative if it never was.
	Return float64 `json:"return,omitempty"`
	Idle   Latency `json:"idle"`
	Loaded Latency `json:"loaded"`

	// Series is the goodput of each SeriesStep from the flow's first byte on.
	Series []float64 `json:"series,omitempty"`

	// CPU seconds of each end's daemon in all.
	ClientCPU float64 `json:"client_cpu,omitempty"`
	ServerCPU float64 `json:"server_cpu,omitempty"`
	// Late is how late the emulated lines delivered, on average.
	Late float64 `json:"late"`

	// Discarded says why the run does not count, Failed why it has no figures.
	Discarded string `json:"discarded,omitempty"`
	Failed    string `json:"failed,omitempty"`
}

// SeriesStep is the length of an element of Run.Series.
const SeriesStep = 100 * time.Millisecond

// Counts reports whether the run has figures that may be used.
func (r Run) Counts() bool {
	return r.Discarded == "" && r.Failed == ""
}

// Latency sums up the round trips of a ping, in milliseconds.
type Latency struct {
	Sent     int     `json:"sent"`
	Received int     `json:"received"`
	Min      float64 `json:"min"`
	Median   float64 `json:"median"`
	P99      float64 `json:"p99"`
	Max      float64 `json:"max"`
	Mean     float64 `json:"mean"`
	// Error is the standard error of Mean.
	Error float64 `json:"error"`
}

// NewLatency sums up the round trips that came back of those sent.
func NewLatency(sent int, rtts []time.Duration) Latency {
	l := Latency{Sent: sent, Received: len(rtts)}
	if len(rtts) == 0 {
		return l
	}
	ms := make([]float64, len(rtts))
	for i, d := range rtts {
		ms[i] = round(float64(d) / 1e6)
		l.Mean += ms[i] / float64(len(rtts))
	}
	slices.Sort(ms)
	variance := 0.0
	for _, x := range ms {
		variance += (x - l.Mean) * (x - l.Mean) / float64(max(len(ms)-1, 1))
	}
	l.Min, l.Median, l.P99, l.Max = ms[0], Quantile(ms, 0.5), Quantile(ms, 0.99), ms[len(ms)-1]
	l.Mean, l.Error = round(l.Mean), round(math.Sqrt(variance/float64(len(ms))))
	return l
}

// Quantile returns the value below which a share q of the sorted values lies: the
// nearest rank, so always one of them. It is NaN if there are none.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// median returns NaN if there are no values.
func median(values []float64) float64 {
	return Quantile(slices.Sorted(slices.Values(values)), 0.5)
}

// round keeps the microseconds of milliseconds.
func round(ms float64) float64 { return math.Round(ms*1e3) / 1e3 }
