// Package suite runs a tunnel over the profiles of package profile in simulation, and
// judges it by the project's targets.
package suite

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
	"github.com/multilink-vpn/multilink/internal/simnet"
	"github.com/multilink-vpn/multilink/link/linksim"
)

// headersUDP4 is what IPv4 and UDP add to a datagram, in bytes.
const headersUDP4 = 28

// Simulated returns the lines of a profile, and what happens to them until a time, as a
// simulation has them. It depends on nothing but the arguments.
func Simulated(p profile.Profile, until time.Duration, seed uint64) simnet.Profile {
	sim := simnet.Profile{Name: p.Name}
	for _, l := range p.Lines {
		line := simnet.Line{Down: linksim.Profile{Jitter: l.Jitter}, Up: linksim.Profile{Jitter: l.Jitter}}
		if l.MTU > 0 {
			line.Down.MTU, line.Up.MTU = l.MTU-headersUDP4, l.MTU-headersUDP4
		}
		set(&line.Down, &line.Up, l.Start())
		sim.Lines = append(sim.Lines, line)
	}
	for _, step := range p.Steps(until, seed) {
		sim.Changes = append(sim.Changes, simnet.Change{
			At:    step.At,
			Line:  step.Line,
			Apply: func(down, up *linksim.Profile) { set(down, up, step.State) },
		})
	}
	return sim
}

// set gives both directions of a line a state.
func set(down, up *linksim.Profile, s profile.State) {
	for d, l := range [...]*linksim.Profile{profile.Down: down, profile.Up: up} {
		l.Rate = uint64(s.Rate[d] / 8)
		l.Delay = s.Delay
		l.Loss = s.Loss[d]
		l.Queue = s.Queue
		l.Down = s.Blackhole
	}
}

// only returns the profile with one line. What happens to that line is the same as in
// the whole profile.
func only(sim simnet.Profile, line int) simnet.Profile {
	alone := simnet.Profile{Name: sim.Name, Lines: sim.Lines[line : line+1]}
	for _, c := range sim.Changes {
		if c.Line == line {
			c.Line = 0
			alone.Changes = append(alone.Changes, c)
		}
	}
	return alone
}

// Bound returns the largest share of a profile's capacity that any tunnel can use in a
// direction, from one time to another: no more than what is not lost, and of a rate
// that varies no more than somebody can send who learns of it a round trip of the line
// later, and reportDelay.
func Bound(p profile.Profile, d profile.Direction, seed uint64, from, to time.Duration) float64 {
	steps := p.Steps(to, seed)
	var usable, capacity float64
	for k, l := range p.Lines {
		late := newTimeline(l, k, d, steps)
		for at := from; at < to; at += boundStep {
			now := late.rate(at)
			known := late.rate(at - 2*l.Delay - reportDelay)
			capacity += now.bits
			usable += min(now.bits, known.bits) * (1 - now.loss)
		}
	}
	if capacity == 0 {
		return 0
	}
	return usable / capacity
}

const (
	boundStep   = 10 * time.Millisecond
	reportDelay = 50 * time.Millisecond
)

// A timeline is the capacity of a line over time.
type timeline []capacity

type capacity struct {
	at   time.Duration
	bits float64 // per second
	loss float64
}

func newTimeline(l profile.Line, k int, d profile.Direction, steps []profile.Step) timeline {
	t := timeline{{0, l.Rate[d], l.Loss[d]}}
	for _, s := range steps {
		if s.Line != k {
			continue
		}
		c := capacity{s.At, s.State.Rate[d], s.State.Loss[d]}
		if s.State.Blackhole {
			c.bits = 0
		}
		t = append(t, c)
	}
	return t
}

func (t timeline) rate(at time.Duration) capacity {
	last := t[0]
	for _, c := range t {
		if c.at > at {
			break
		}
		last = c
	}
	return last
}
