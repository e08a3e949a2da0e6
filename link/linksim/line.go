package linksim

import (
	"time"
)

// A Line is the mechanism of one direction of a line: what becomes of each datagram
// and when it arrives. It has no clock, no buffer and no goroutine; it computes. For
// one seed, stream, profile and sequence of calls the results are the same
// everywhere.
//
// A Line is not safe for concurrent use.
type Line struct {
	profile Profile
	draws   draws
	stream  uint64
	n       uint64 // datagrams pushed
	bad     bool   // in a burst of loss

	clock   wireClock
	inOrder time.Time // no datagram that keeps its place arrives before this
}

// wireClock is the time at which the wire has sent everything it was given. It is
// computed from itself while the wire is busy, never from the time of a wake-up, and
// carries what is less than a nanosecond: it does not drift.
type wireClock struct {
	free      time.Time
	remainder uint64 // of the last division by rate
}

// A Verdict says what a Line does with a datagram.
type Verdict uint8

const (
	// Taken datagrams arrive.
	Taken Verdict = iota
	// Lost datagrams use the line but do not arrive.
	Lost
	// QueueFull datagrams are dropped before they use the line.
	QueueFull
	// Swallowed datagrams meet with a line that is down.
	Swallowed
)

// A Fate is what Push decides about one datagram.
type Fate struct {
	Verdict Verdict
	// Copies is how often the datagram arrives: 0, 1 or 2. Due[:Copies] are the times.
	Copies int
	Due    [2]time.Time
}

// NewLine returns an idle line. Lines of one simulation share a seed and have
// different streams; their draws are then independent. It panics if p is not valid.
func NewLine(p Profile, seed, stream uint64) *Line {
	l := &Line{draws: newDraws(seed, stream), stream: stream}
	l.SetProfile(p)
	return l
}

// SetProfile changes the line for datagrams pushed from now on. They do not overtake
// those pushed before. It panics if p is not valid.
func (l *Line) SetProfile(p Profile) {
	if err := p.Validate(); err != nil {
		panic(err)
	}
	if p.BurstEnter == 0 {
		l.bad = false
	}
	if p.Rate != l.profile.Rate {
		l.clock.remainder = 0
	}
	l.profile = p
}

// Profile returns the line's profile as it was set.
func (l *Line) Profile() Profile { return l.profile }

// Backlog returns how long a datagram pushed at now would wait for its transmission
// to begin.
func (l *Line) Backlog(now time.Time) time.Duration {
	return max(0, l.clock.free.Sub(now))
}

// Push gives the line a datagram of size bytes at now, and returns its fate. Times
// must not decrease from call to call. The MTU is the caller's business.
func (l *Line) Push(now time.Time, size int) Fate {
	n := l.n
	l.n++
	p := &l.profile

	// The burst state steps at every datagram, also at those that do not get to it:
	// it would depend on the time of the calls otherwise.
	if l.bad {
		l.bad = !l.draws.chance(n, drawBurst, p.BurstLeave)
	} else {
		l.bad = l.draws.chance(n, drawBurst, p.BurstEnter)
	}

	switch {
	case p.Down:
		return Fate{Verdict: Swallowed}
	case p.Rate > 0 && l.Backlog(now) > p.queue():
		return Fate{Verdict: QueueFull}
	}
	sent := l.clock.transmit(now, uint64(size+p.Overhead), p.Rate)
	if l.bad || l.draws.chance(n, drawLoss, p.Loss) {
		return Fate{Verdict: Lost}
	}

	f := Fate{Verdict: Taken, Copies: 1}
	f.Due[0] = l.arrival(sent, n, drawJitter, drawReorder)
	if l.draws.chance(n, drawDuplicate, p.Duplicate) {
		f.Due[1] = l.arrival(sent, n, drawCopyJitter, drawCopyReorder)
		f.Copies = 2
	}
	return f
}

// arrival returns when datagram n arrives, sent being when its last bit has left.
func (l *Line) arrival(sent time.Time, n uint64, jitter, reorder purpose) time.Time {
	p := &l.profile
	due := sent.Add(p.Delay + l.draws.upTo(n, jitter, p.Jitter))
	if due.Before(l.inOrder) {
		due = l.inOrder
	}
	if l.draws.chance(n, reorder, p.Reorder) {
		return due.Add(p.ReorderBy)
	}
	l.inOrder = due
	return due
}

// transmit returns when the last of size bytes has left a wire of that rate.
func (c *wireClock) transmit(now time.Time, size, rate uint64) time.Time {
	if c.free.Before(now) {
		c.free, c.remainder = now, 0
	}
	if rate > 0 {
		t := size*uint64(time.Second) + c.remainder
		c.free = c.free.Add(time.Duration(t / rate))
		c.remainder = t % rate
	}
	return c.free
}
