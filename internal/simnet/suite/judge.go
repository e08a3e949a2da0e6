package suite

import (
	"fmt"
	"time"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
)

// The targets that hold for every profile.
const (
	leastOfBest  = 0.95 // goodput, as a share of the best single line's
	leastShare   = 0.75 // of the capacity, where that is possible
	thinUplink   = 3e6  // bits per second; uplinks up to it may have
	thinLess     = 0.05 // so much less
	medianAdded  = 30 * time.Millisecond
	p99Added     = 50 * time.Millisecond
	leastGap     = 200 * time.Millisecond
	gapRounds    = 3
	returnWithin = 2 * time.Second
	fullPackets  = 2 // serialised on the slowest line
	bitsPerFrame = 8 * frame
)

// Required is the share of the capacity that the row must reach: the profile's own, or
// what every profile must, as far as it is possible.
func (r Row) Required() float64 {
	want := r.Case.Profile.Want.Of(r.Case.Control.String())
	if want == 0 {
		want = leastShare
	}
	if r.Case.Direction == profile.Up && r.Case.Profile.Sum(profile.Up) <= thinUplink*float64(len(r.Case.Profile.Lines)) {
		want -= thinLess
	}
	return min(want, r.Bound)
}

// serialization is how long the slowest line takes for the packets of the allowance.
func (r Row) serialization() time.Duration {
	slowest := r.Case.Profile.Lines[0].Rate[profile.Down]
	for _, l := range r.Case.Profile.Lines {
		slowest = min(slowest, l.Rate[profile.Down], l.Rate[profile.Up])
	}
	return time.Duration(fullPackets * bitsPerFrame / slowest * float64(time.Second))
}

// A Kind is a target that a tunnel may fall short of.
type Kind string

const (
	Best   Kind = "best"   // the best single line's goodput
	Share  Kind = "share"  // of the capacity
	Median Kind = "median" // of ping under load
	P99    Kind = "p99"    // of the same
	Gap    Kind = "gap"    // the longest time without delivery
	Return Kind = "return" // of goodput after an outage
)

// A Problem is a target that was missed.
type Problem struct {
	Kind Kind
	Text string
}

// Problems returns the targets that the tunnel missed.
func (r Row) Problems() (missed []Problem) {
	add := func(k Kind, format string, args ...any) {
		missed = append(missed, Problem{k, fmt.Sprintf(format, args...)})
	}
	if r.Goodput < leastOfBest*r.Best {
		add(Best, "%.2f Mbit/s is %.2f of the best single line's %.2f; want %.2f", r.Goodput/1e6, r.Goodput/r.Best, r.Best/1e6, leastOfBest)
	}
	if need := r.Required(); r.Share < need {
		add(Share, "%.2f Mbit/s is a share of %.3f; want %.3f (possible: %.3f)", r.Goodput/1e6, r.Share, need, r.Bound)
	}
	allowed := r.serialization()
	if limit := r.Idle.Median + medianAdded + allowed; r.Run.Ping.Median > limit || r.Run.Ping.Answered == 0 {
		add(Median, "ping under load %v; want %v (idle %v)", round(r.Run.Ping.Median), round(limit), round(r.Idle.Median))
	}
	if limit := r.Idle.P99 + p99Added + allowed; r.Run.Ping.P99 > limit || r.Run.Ping.Answered == 0 {
		add(P99, "ping under load %v; want %v (idle %v)", round(r.Run.Ping.P99), round(limit), round(r.Idle.P99))
	}
	if limit, ok := r.gapLimit(); ok && r.Run.Gap > limit {
		add(Gap, "nothing delivered for %v from %v on; want at most %v", round(r.Run.Gap), round(r.Run.Flows[0].GapAt), round(limit))
	}
	if r.Return > returnWithin {
		add(Return, "goodput was back %v after the outage; want at most %v", r.Return, returnWithin)
	}
	return missed
}

// gapLimit is the longest gap allowed: three round trips of the slowest line. Where all
// lines fail at times there is no limit.
func (r Row) gapLimit() (limit time.Duration, ok bool) {
	slowest := time.Duration(0)
	steady := false
	for _, l := range r.Case.Profile.Lines {
		steady = steady || l.Outage.For == 0
		slowest = max(slowest, l.Delay+l.Jitter+time.Duration(l.DelayWalk.High*float64(time.Second)))
	}
	return max(leastGap, gapRounds*2*slowest), steady
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// Table is the header of what Row.String returns.
const Table = "profile/direction/control        goodput   share  need   best  x best   ping idle p50/p99 load p50/p99 ms     gap"

// String returns the row of a table.
func (r Row) String() string {
	ratio := 0.0
	if r.Best > 0 {
		ratio = r.Goodput / r.Best
	}
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	return fmt.Sprintf("%-32v %7.2f  %6.3f %5.3f %7.2f %6.2f  %9.1f %7.1f %9.1f %7.1f  %7.1f", r.Case,
		r.Goodput/1e6, r.Share, r.Required(), r.Best/1e6, ratio,
		ms(r.Idle.Median), ms(r.Idle.P99), ms(r.Run.Ping.Median), ms(r.Run.Ping.P99), ms(r.Run.Gap))
}
