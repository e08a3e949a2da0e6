package profile

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A Step is the state of a line from a time on.
type Step struct {
	At    time.Duration
	Line  int // index into Profile.Lines
	State State
}

// State is what may vary with time. See [Line] for the units.
type State struct {
	Rate      [2]float64
	Delay     time.Duration
	Loss      [2]float64
	Queue     time.Duration
	Blackhole bool
}

// stallOnset is how long a line shows the added delay of a stall. Since packets keep
// their order, one delayed packet holds back all that follow it, so that a stall ends
// for all of them at once, as a real one does.
const stallOnset = 4 * time.Millisecond

// Start returns the state of a line at time zero.
func (l Line) Start() State {
	return State{Rate: l.Rate, Delay: l.Delay, Loss: l.Loss, Queue: l.Queue}
}

// Steps returns the changes of all lines up to a time, in order. It depends only on the
// arguments.
func (p Profile) Steps(until time.Duration, seed uint64) []Step {
	var all []Step
	for k, l := range p.Lines {
		rng := rand.New(rand.NewPCG(seed, uint64(k)))
		all = append(all, l.steps(k, until, rng)...)
	}
	slices.SortStableFunc(all, func(a, b Step) int { return int(a.At - b.At) })
	return all
}

// An edit changes a part of a line's state at a time.
type edit struct {
	at    time.Duration
	apply func(*State)
}

func (l Line) steps(k int, until time.Duration, rng *rand.Rand) []Step {
	edits := slices.Concat(l.walkRate(until, rng), l.walkDelay(until, rng), l.change(), l.outages(until), l.stalls(until, rng))
	slices.SortStableFunc(edits, func(a, b edit) int { return int(a.at - b.at) })
	state := l.Start()
	var steps []Step
	for _, e := range edits {
		if e.at >= until {
			break
		}
		e.apply(&state)
		steps = append(steps, Step{e.at, k, state})
	}
	return steps
}

func (l Line) walkRate(until time.Duration, rng *rand.Rand) []edit {
	ratio := l.Rate[Up] / l.Rate[Down]
	return l.RateWalk.edits(until, l.Rate[Down], rng, func(s *State, x float64) {
		s.Rate = [2]float64{Down: x, Up: x * ratio}
	})
}

func (l Line) walkDelay(until time.Duration, rng *rand.Rand) []edit {
	return l.DelayWalk.edits(until, l.Delay.Seconds(), rng, func(s *State, x float64) {
		s.Delay = time.Duration(x * float64(time.Second))
	})
}

// edits walks from x. A step beyond a bound is reflected.
func (w Walk) edits(until time.Duration, x float64, rng *rand.Rand, set func(*State, float64)) (all []edit) {
	if w.Every == 0 {
		return nil
	}
	for at := w.Every; at < until; at += w.Every {
		x *= 0.5 + rng.Float64()
		if x > w.High {
			x = 2*w.High - x
		}
		if x < w.Low {
			x = 2*w.Low - x
		}
		x = min(max(x, w.Low), w.High)
		value := x
		all = append(all, edit{at, func(s *State) { set(s, value) }})
	}
	return all
}

func (l Line) change() (all []edit) {
	for _, c := range l.Changes {
		all = append(all, edit{c.At, func(s *State) {
			s.Rate = c.Rate
			if c.Queue > 0 {
				s.Queue = c.Queue
			}
		}})
	}
	return all
}

func (l Line) outages(until time.Duration) (all []edit) {
	o := l.Outage
	if o.For == 0 {
		return nil
	}
	for at := o.At; at < until; at += o.Every {
		all = append(all,
			edit{at, func(s *State) { s.Blackhole = true }},
			edit{at + o.For, func(s *State) { s.Blackhole = false }})
		if o.Every == 0 {
			break
		}
	}
	return all
}

func (l Line) stalls(until time.Duration, rng *rand.Rand) (all []edit) {
	st := l.Stall
	if st.Every == 0 {
		return nil
	}
	for at := st.Every / 2; at < until; at += st.Every {
		length := st.Low + time.Duration(rng.Float64()*float64(st.High-st.Low))
		all = append(all,
			edit{at, func(s *State) {
				s.Delay += length
				for d := range s.Loss {
					s.Loss[d] = max(s.Loss[d], st.Loss)
				}
			}},
			edit{at + stallOnset, func(s *State) { s.Delay = max(s.Delay-length, 0) }},
			edit{at + length, func(s *State) { s.Loss = l.Loss }})
	}
	return all
}

// Capacity returns what all lines together can carry in a direction, in bits per second
// on average from one time to another, while they vary as steps say.
func (p Profile) Capacity(d Direction, steps []Step, from, to time.Duration) float64 {
	bits := 0.0
	for k, l := range p.Lines {
		at, rate := time.Duration(0), l.Rate[d]
		add := func(until time.Duration) {
			if lo, hi := max(at, from), min(until, to); hi > lo {
				bits += rate * (hi - lo).Seconds()
			}
			at = until
		}
		for _, s := range steps {
			if s.Line != k {
				continue
			}
			add(s.At)
			rate = s.State.Rate[d]
			if s.State.Blackhole {
				rate = 0
			}
		}
		add(to)
	}
	return bits / (to - from).Seconds()
}
