package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
	"github.com/multilink-vpn/multilink/internal/bench/report"
	"github.com/multilink-vpn/multilink/internal/netlab"
)

// bench runs the measurements and collects their results.
type bench struct {
	options
	args           []string // of the command
	started        time.Time
	stdout, stderr io.Writer
	runs           []report.Run
}

// How many pings measure an idle tunnel, and at what intervals; under load the
// interval alone applies.
const (
	idlePings    = 100
	idleInterval = 10 * time.Millisecond
	loadInterval = 20 * time.Millisecond
)

// How long a flow is measured unless the user says.
const (
	fixedDuration   = 10 * time.Second
	varyingDuration = 30 * time.Second
)

// recovery is how long a flow is watched after the end of a cut.
const recovery = 5 * time.Second

// maxLate is the mean lateness of the emulated lines above which a run does not count.
const maxLate = 1.0 // ms

// profile makes all measurements of a profile once: each line raw first, and then, for
// each direction and congestion control, all kinds in turn, so that what disturbs the
// machine for a while disturbs all of them.
func (b *bench) profile(ctx context.Context, p profile.Profile, rep int) (err error) {
	seed := b.seed + uint64(rep)
	lab, err := netlab.Open(netlab.Config{Seed: seed, Lines: labLines(p)})
	if err != nil {
		return fmt.Errorf("profile %s: %w", p.Name, err)
	}
	defer func() {
		if cerr := lab.Close(); err == nil {
			err = cerr
		}
	}()
	c := course{bench: b, lab: lab, lines: newLines(lab, p), p: p, rep: rep, seed: seed}
	if slices.Contains(b.only, report.Raw) {
		if err := c.checkLines(ctx); err != nil {
			return fmt.Errorf("profile %s: %w", p.Name, err)
		}
	}
	for _, d := range b.directions {
		for _, cc := range b.congestion {
			c.direction, c.congestion = d, cc
			if err := c.all(ctx); err != nil {
				return fmt.Errorf("profile %s: %w", p.Name, err)
			}
		}
	}
	return nil
}

func labLines(p profile.Profile) (lines []netlab.Line) {
	for _, l := range p.Lines {
		lines = append(lines, netlab.Line{Up: l.Rate[profile.Up], Down: l.Rate[profile.Down], MTU: l.MTU, Jitter: l.Jitter})
	}
	return lines
}

// course is one repetition of a profile in a lab.
type course struct {
	*bench
	lab        *netlab.Lab
	lines      *lines
	p          profile.Profile
	rep        int
	seed       uint64
	direction  profile.Direction
	congestion string
	unsound    string // why the lines are not as they should be
}

// all makes the measurements of one direction and congestion control.
func (c *course) all(ctx context.Context) error {
	every := make([]int, len(c.p.Lines))
	for k := range every {
		every[k] = k
	}
	for _, kind := range []string{report.Alone, report.Tunnel, report.MPTCP, report.Blackhole} {
		if !slices.Contains(c.only, kind) {
			continue
		}
		switch kind {
		case report.Alone:
			for _, k := range c.distinct() {
				if err := c.measure(ctx, kind, []int{k}, k); err != nil {
					return err
				}
			}
		case report.Blackhole:
			if len(every) < 2 {
				continue
			}
			if err := c.measure(ctx, kind, every, c.fastest()); err != nil {
				return err
			}
		default:
			if err := c.measure(ctx, kind, every, -1); err != nil {
				return err
			}
		}
	}
	return nil
}

// distinct returns the lines that are not like an earlier one.
func (c *course) distinct() (lines []int) {
	for k, l := range c.p.Lines {
		if !slices.ContainsFunc(lines, func(j int) bool { return c.p.Lines[j].String() == l.String() }) {
			lines = append(lines, k)
		}
	}
	return lines
}

// fastest returns the line whose loss hurts most.
func (c *course) fastest() (line int) {
	for k, l := range c.p.Lines {
		if l.Rate[c.direction] > c.p.Lines[line].Rate[c.direction] {
			line = k
		}
	}
	return line
}

// lasting returns how long to measure a flow. Lines that vary need a while to show it.
func (c *course) lasting() time.Duration {
	switch {
	case c.duration > 0:
		return c.duration
	case c.p.Varies():
		return varyingDuration
	}
	return fixedDuration
}

// newRun returns a run of which only what it is to measure is known. line is the index
// of the line that it is about, or negative.
func (c *course) newRun(kind string, line int) report.Run {
	return report.Run{
		Profile: c.p.Name, Lines: c.p.String(), Want: c.p.Want.Of(c.congestion), Repetition: c.rep + 1,
		Kind: kind, Line: line + 1, Direction: c.direction.String(), Congestion: c.congestion,
		Started: time.Now().UTC().Format(time.RFC3339),
	}
}

// tries is how often a run is made that does not count because of the machine, or fails.
const tries = 3

// measure makes one run. Only what concerns the bench itself is an error.
func (c *course) measure(ctx context.Context, kind string, used []int, line int) error {
	for range tries {
		r := c.newRun(kind, line)
		r.Discarded = c.unsound
		if r.Discarded == "" {
			if err := c.fill(ctx, &r, used, line); err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				r.Failed = err.Error()
			}
		}
		c.runs = append(c.runs, r)
		fmt.Fprintln(c.stderr, progressLine(r))
		if r.Counts() || c.unsound != "" {
			break
		}
	}
	return nil
}

// fill makes the measurement.
func (c *course) fill(ctx context.Context, r *report.Run, used []int, line int) error {
	if err := c.lines.reset(); err != nil {
		return err
	}
	before, err := c.lab.Counters()
	if err != nil {
		return err
	}
	x := measurement{course: c, run: r, used: used, cut: -1}
	switch r.Kind {
	case report.MPTCP:
		err = x.overMPTCP(ctx)
	case report.Blackhole:
		x.cut = line
		fallthrough
	default:
		err = x.overTunnel(ctx)
	}
	if err != nil {
		return err
	}
	after, err := c.lab.Counters()
	if err != nil {
		return err
	}
	var lost uint64
	r.Late, lost = emulator(before, after)
	switch {
	case lost > 0:
		r.Discarded = fmt.Sprintf("the emulated lines lost %d packets of their own", lost)
	case r.Late > maxLate:
		r.Discarded = fmt.Sprintf("the emulated lines were %.1f ms late on average", r.Late)
	}
	return nil
}

// emulator returns what the lines did wrong between two readings: their mean lateness in
// milliseconds, and the packets that they lost.
func emulator(before, after []netlab.LineStats) (late float64, lost uint64) {
	var sum time.Duration
	var n uint64
	for k := range after {
		for _, d := range [][2]netlab.DirectionStats{{before[k].Up, after[k].Up}, {before[k].Down, after[k].Down}} {
			sum += d[1].Late - d[0].Late
			n += d[1].Delivered - d[0].Delivered
			lost += d[1].Overruns - d[0].Overruns
		}
	}
	return float64(sum) / 1e6 / float64(max(n, 1)), lost
}

// progressLine tells of a run while the others are still to come.
func progressLine(r report.Run) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-16s %-9s", r.Profile, r.Kind)
	if r.Line > 0 {
		fmt.Fprintf(&b, " line %d", r.Line)
	}
	fmt.Fprintf(&b, " %s %s: ", r.Direction, r.Congestion)
	switch {
	case r.Failed != "":
		fmt.Fprintf(&b, "failed: %s", r.Failed)
	case r.Discarded != "" && r.Goodput == 0:
		fmt.Fprintf(&b, "discarded: %s", r.Discarded)
	default:
		fmt.Fprintf(&b, "%.1f of %.1f Mbit/s, share %.2f; gap %.0f ms", r.Goodput, r.Sum, r.Share(), r.Gap)
		if r.Loaded.Sent > 0 {
			fmt.Fprintf(&b, "; ping %.0f/%.0f idle, %.0f/%.0f ms loaded", r.Idle.Median, r.Idle.P99, r.Loaded.Median, r.Loaded.P99)
		}
		if r.Kind == report.Blackhole {
			fmt.Fprintf(&b, "; full use after %.0f ms", r.Return)
		}
		if r.Discarded != "" {
			fmt.Fprintf(&b, "; discarded: %s", r.Discarded)
		}
	}
	return b.String()
}
