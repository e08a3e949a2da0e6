package main

import (
	"context"
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
	"github.com/multilink-vpn/multilink/internal/netlab"
)

// lines are the lines of a lab, in the states that a profile gives them. Its methods are
// safe for concurrent use.
type lines struct {
	lab     *netlab.Lab
	profile profile.Profile

	mu     sync.Mutex
	states []profile.State
	dead   int // the line that is cut besides, or negative
}

func newLines(lab *netlab.Lab, p profile.Profile) *lines {
	return &lines{lab: lab, profile: p, states: make([]profile.State, len(p.Lines)), dead: -1}
}

// reset gives all lines the state that they start with.
func (ls *lines) reset() error {
	for k, l := range ls.profile.Lines {
		if err := ls.set(k, l.Start()); err != nil {
			return err
		}
	}
	return nil
}

// set gives line k a state.
func (ls *lines) set(k int, s profile.State) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.states[k] = s
	return ls.apply(k)
}

// cut makes line k a blackhole, whatever its state, and no other; a negative k none.
func (ls *lines) cut(k int) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	before := ls.dead
	ls.dead = k
	for _, j := range []int{before, k} {
		if j < 0 {
			continue
		}
		if err := ls.apply(j); err != nil {
			return err
		}
	}
	return nil
}

// apply tells the lab of a line's state. The caller holds ls.mu.
func (ls *lines) apply(k int) error {
	s := ls.states[k]
	for _, d := range profile.Directions {
		dir := netlab.Down
		if d == profile.Up {
			dir = netlab.Up
		}
		err := ls.lab.Shape(k, dir, func(p *netlab.LineParams) {
			p.Rate, p.Delay, p.Loss, p.Queue, p.Blackhole = s.Rate[d], s.Delay, s.Loss[d], s.Queue, s.Blackhole || k == ls.dead
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// vary changes the lines as steps say, from a time on, until the end of ctx.
func (ls *lines) vary(ctx context.Context, start time.Time, steps []profile.Step) error {
	for _, s := range steps {
		sleep(ctx, start.Add(s.At))
		if ctx.Err() != nil {
			return nil
		}
		if err := ls.set(s.Line, s.State); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits until a time or the end of ctx.
func sleep(ctx context.Context, until time.Time) {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
