// Package profile describes sets of internet lines, fixed or varying in time, to measure
// a tunnel over: a table of them, and a notation for more.
package profile

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Profile is a set of lines between a client and a server.
type Profile struct {
	// Name is short and unique in the table.
	Name string
	// Group is the source of the profile, empty if it is none of the table's.
	Group string
	Lines []Line
	// Want is the share of the sum that one flow through the tunnel must reach.
	Want Want
}

// Want is a lower bound for each congestion control; zero is none.
type Want struct {
	CUBIC, BBR float64
}

// Of returns the bound for the named congestion control, zero if there is none.
func (w Want) Of(congestion string) float64 {
	switch congestion {
	case "cubic":
		return w.CUBIC
	case "bbr":
		return w.BBR
	}
	return 0
}

// Direction is the direction of the data as the client sees it.
type Direction int

const (
	Down Direction = iota
	Up
)

// Directions are both.
var Directions = [...]Direction{Down, Up}

func (d Direction) String() string {
	if d == Up {
		return "up"
	}
	return "down"
}

// Line is an internet line. What has one value for each direction is indexed by
// [Direction]; the rest applies to both.
type Line struct {
	Rate   [2]float64    // bits per second
	Delay  time.Duration // one way
	Jitter time.Duration // added to Delay, uniform from zero; packets keep their order
	Loss   [2]float64    // 0 to 1
	Queue  time.Duration // drop-tail; zero is the lab's default
	MTU    int           // bytes; zero is that of the interfaces

	// What follows varies with time; see [Profile.Steps].
	RateWalk  Walk     // of the downlink, in bits per second; the uplink keeps its proportion
	DelayWalk Walk     // of Delay, in seconds
	Changes   []Change // in order of time
	Outage    Outage
	Stall     Stall
}

// A Walk moves a value at random, by up to half of it each time, between two bounds.
// It is off if Every is zero.
type Walk struct {
	Low, High float64
	Every     time.Duration
}

// A Change replaces the rates of a line, as a carrier does when a quota is used up.
type Change struct {
	At    time.Duration
	Rate  [2]float64
	Queue time.Duration // zero keeps the line's
}

// Outage swallows everything for a time, silently. It is off if For is zero.
type Outage struct {
	At, For time.Duration
	Every   time.Duration // between the starts of two; zero is once
}

// Stall holds a line's packets back for a random time from Low to High and loses some
// of them, as a satellite link does when it changes the satellite. It is off if Every is
// zero.
type Stall struct {
	Low, High time.Duration
	Every     time.Duration
	Loss      float64
}

// Sum returns the rates of all lines in a direction, in bits per second, without what
// varies with time.
func (p Profile) Sum(d Direction) (sum float64) {
	for _, l := range p.Lines {
		sum += l.Rate[d]
	}
	return sum
}

// Varies reports whether any of the lines varies with time.
func (p Profile) Varies() bool {
	for _, l := range p.Lines {
		if l.varies() {
			return true
		}
	}
	return false
}

func (l Line) varies() bool {
	return l.RateWalk.Every > 0 || l.DelayWalk.Every > 0 || len(l.Changes) > 0 || l.Outage.For > 0 || l.Stall.Every > 0
}

// String returns the lines in the notation of [Parse], without the name.
func (p Profile) String() string {
	var b strings.Builder
	for i := 0; i < len(p.Lines); {
		line := p.Lines[i].String()
		n := 1
		for i+n < len(p.Lines) && p.Lines[i+n].String() == line {
			n++
		}
		if i > 0 {
			b.WriteString(" + ")
		}
		if n > 1 {
			fmt.Fprintf(&b, "%d × ", n)
		}
		b.WriteString(line)
		i += n
	}
	return b.String()
}

// String returns the line in the notation of [Parse].
func (l Line) String() string {
	parts := []string{rates(l.Rate), number(ms(l.Delay))}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if l.Jitter > 0 {
		parts[1] += " ±" + number(ms(l.Jitter))
	}
	switch {
	case l.Loss[Down] == l.Loss[Up] && l.Loss[Up] > 0:
		add("%s %%", number(100*l.Loss[Up]))
	default:
		for _, d := range Directions {
			if l.Loss[d] > 0 {
				add("%s %% %s", number(100*l.Loss[d]), d)
			}
		}
	}
	if l.Queue > 0 {
		add("q%s", number(ms(l.Queue)))
	}
	if l.MTU > 0 {
		add("mtu %d", l.MTU)
	}
	if w := l.RateWalk; w.Every > 0 {
		add("walk %s-%s every %v", number(w.Low/1e6), number(w.High/1e6), w.Every)
	}
	if w := l.DelayWalk; w.Every > 0 {
		add("delay %s-%s every %v", number(1e3*w.Low), number(1e3*w.High), w.Every)
	}
	for _, c := range l.Changes {
		queue := ""
		if c.Queue > 0 {
			queue = " q" + number(ms(c.Queue))
		}
		add("at %v %s%s", c.At, rates(c.Rate), queue)
	}
	if o := l.Outage; o.For > 0 {
		every := ""
		if o.Every > 0 {
			every = fmt.Sprintf(" every %v", o.Every)
		}
		add("out %v for %v%s", o.At, o.For, every)
	}
	if s := l.Stall; s.Every > 0 {
		loss := ""
		if s.Loss > 0 {
			loss = " " + number(100*s.Loss) + " %"
		}
		add("stall %s-%s every %v%s", number(ms(s.Low)), number(ms(s.High)), s.Every, loss)
	}
	return strings.Join(parts, ", ")
}

func rates(r [2]float64) string {
	if r[Down] == r[Up] {
		return number(r[Down] / 1e6)
	}
	return number(r[Down]/1e6) + "/" + number(r[Up]/1e6)
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// number drops what only binary fractions add.
func number(x float64) string {
	return fmt.Sprint(math.Round(x*1e6) / 1e6)
}
