// Package path decides whether a path of a tunnel is usable, from the answers to
// its probes alone. It is a leaf without I/O, clock or log: methods take now, and
// report when they want to be called again.
package path

import "time"

// State is the state of a path as its sender sees it.
//
//	Probing --answer--> Up <--answer-- Suspect
//	   ^                 |                |
//	   |                 +--3 unanswered--^
//	   |                                  |
//	   +--------- answer --------- Down <-+ silent for Timeout, or Fail
//
// Down leaves for Up at the first answer to a probe sent since.
type State uint8

const (
	// Probing is a new path: no probe has been answered yet. It carries no data.
	Probing State = iota
	// Up is a path whose probes come back.
	Up
	// Suspect is a path that was Up and has left several probes unanswered. It
	// carries data only when there is no better path.
	Suspect
	// Down is a path that has been silent for the timeout, or whose link failed. It
	// carries probes only.
	Down
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Probing:
		return "probing"
	case Up:
		return "up"
	case Suspect:
		return "suspect"
	case Down:
		return "down"
	}
	return "invalid"
}

// Config sets the pace of a Monitor.
type Config struct {
	// Timeout is how long a path may be silent before it is Down. 0 means
	// DefaultTimeout; less than MinTimeout means MinTimeout.
	Timeout time.Duration
}

const (
	DefaultTimeout = 3 * time.Second
	MinTimeout     = 500 * time.Millisecond

	// A path that is Up is probed often enough that several probes fit into its
	// timeout, so that one lost probe means nothing.
	probesPerTimeout = 8
	minInterval      = 100 * time.Millisecond
	maxInterval      = time.Second

	// downInterval bounds how long a path that has come back goes unnoticed.
	downInterval = 500 * time.Millisecond

	// doubtInterval is the time between probes in the first second of a doubt.
	doubtInterval = minInterval

	// suspectAfter is how many probes in a row must go unanswered, beyond the time
	// that an answer needs, before the path is Suspect.
	suspectAfter = 3
)

func (c Config) timeout() time.Duration {
	if c.Timeout == 0 {
		return DefaultTimeout
	}
	return max(c.Timeout, MinTimeout)
}

// Interval returns the time between two probes of a path that is Up.
func (c Config) Interval() time.Duration {
	return min(max(c.timeout()/probesPerTimeout, minInterval), maxInterval)
}

// A Monitor follows one path. The zero Monitor is not ready: use New. It is used by
// one goroutine at a time.
type Monitor struct {
	timeout  time.Duration
	interval time.Duration
	state    State

	resting   int // factor of the interval; 0 is as 1
	nextProbe time.Time
	alive     time.Time // sending time of the latest probe known to have been answered
	downSince time.Time
	doubted   time.Time // when Doubt was last called
}

// New returns a Monitor whose first probe is due at now.
func New(now time.Time, cfg Config) *Monitor {
	return &Monitor{timeout: cfg.timeout(), interval: cfg.Interval(), nextProbe: now}
}

// Configure changes the pace. The next probe goes out when it was due, or earlier.
func (m *Monitor) Configure(now time.Time, cfg Config) {
	m.timeout, m.interval = cfg.timeout(), cfg.Interval()
	m.interval *= time.Duration(max(m.resting, 1))
	if next := now.Add(m.interval); next.Before(m.nextProbe) {
		m.nextProbe = next
	}
}

// Rest says that nothing depends on the path at present, so that the interval between
// two probes may be so many times as long, and silence go unnoticed for longer. 1 is no
// rest: when it ends, a probe is due at once.
func (m *Monitor) Rest(now time.Time, factor int) {
	if factor == max(m.resting, 1) {
		return
	}
	m.interval = m.interval / time.Duration(max(m.resting, 1)) * time.Duration(factor)
	m.resting = factor
	if factor > 1 {
		return
	}
	// Silence so far is judged by the next probe, not by those that were not sent.
	if at := now.Add(-m.interval); m.state == Up && m.alive.Before(at) {
		m.alive = at
	}
	m.ProbeNow(now)
}

// Resting reports whether the path rests.
func (m *Monitor) Resting() bool { return m.resting > 1 }

// State returns the path's state.
func (m *Monitor) State() State { return m.state }

// Next returns when Advance is due.
func (m *Monitor) Next(rto time.Duration) time.Time {
	next := m.nextProbe
	if at, ok := m.changeAt(rto); ok && at.Before(next) {
		next = at
	}
	return next
}

// changeAt returns when silence alone will change the state.
func (m *Monitor) changeAt(rto time.Duration) (time.Time, bool) {
	suspect := suspectAfter*m.interval + rto
	switch m.state {
	case Up:
		return m.alive.Add(suspect), true
	case Suspect:
		return m.alive.Add(max(m.timeout, suspect)), true
	}
	return time.Time{}, false
}

// Doubt says that there is reason to think that an Up path does not work any more: it
// is Suspect until a probe sent from now on is answered. Probes are frequent
// meanwhile.
func (m *Monitor) Doubt(now time.Time) {
	if m.state != Up {
		return
	}
	m.state = Suspect
	m.doubted = now
	m.nextProbe = now
}

// Advance moves the state to what now implies and reports whether a probe is due.
// rto is how long an answer may take at most, for example the path's RTO (RFC 6298).
// The caller sends the probe and calls Probed.
func (m *Monitor) Advance(now time.Time, rto time.Duration) (probe bool) {
	for {
		at, ok := m.changeAt(rto)
		if !ok || now.Before(at) {
			break
		}
		if m.state == Up {
			m.state = Suspect
			continue
		}
		m.down(now)
	}
	return !now.Before(m.nextProbe)
}

// Probed reports that a probe was sent at now.
func (m *Monitor) Probed(now time.Time) {
	interval := m.interval
	switch {
	case m.state == Down:
		interval = min(interval, downInterval)
	case m.state == Suspect && now.Sub(m.doubted) < time.Second:
		interval = doubtInterval
	}
	m.nextProbe = now.Add(interval)
}

// Answered reports that the probe sent at sent has been answered. The answer must be
// authentic and must prove the round trip.
func (m *Monitor) Answered(sent time.Time) {
	if m.state == Down && sent.Before(m.downSince) || m.state == Suspect && sent.Before(m.doubted) {
		return
	}
	if sent.After(m.alive) {
		m.alive = sent
	}
	m.state = Up
}

// Fail reports that the link itself refused to send: no route, interface gone. The
// path is Down at once.
func (m *Monitor) Fail(now time.Time) {
	if m.state != Down {
		m.down(now)
	}
}

// ProbeNow makes a probe due at now.
func (m *Monitor) ProbeNow(now time.Time) {
	if now.Before(m.nextProbe) {
		m.nextProbe = now
	}
}

func (m *Monitor) down(now time.Time) {
	m.state = Down
	m.downSince = now
	m.nextProbe = now
}
