package gate

import (
	"net/netip"
	"time"
)

// A Rate is so many events a second in the long run, and up to Burst at once.
type Rate struct {
	PerSecond float64
	Burst     int
}

// gap returns the time between two events at the rate.
func (r Rate) gap() time.Duration { return time.Duration(float64(time.Second) / r.PerSecond) }

// slack returns how far ahead of the rate a burst may run.
func (r Rate) slack() time.Duration { return time.Duration(max(r.Burst, 1)-1) * r.gap() }

// LimiterConfig configures a Limiter. The zero value of each field means its default.
type LimiterConfig struct {
	// Each limits one IPv4 address or one IPv6 /64 network, the least that a household
	// gets. Zero means 20 a second and bursts of 64.
	Each Rate
	// All limits everybody together. Zero means 1000 a second and bursts of 1000.
	All Rate
	// Sources is how many addresses are remembered at least; twice as many at most. Zero
	// means 32768, which takes about 5 MB when all come.
	Sources int
}

func (c LimiterConfig) withDefaults() LimiterConfig {
	if c.Each == (Rate{}) {
		c.Each = Rate{20, 64}
	}
	if c.All == (Rate{}) {
		c.All = Rate{1000, 1000}
	}
	if c.Sources == 0 {
		c.Sources = 1 << 15
	}
	return c
}

// A Limiter says who may come now, by the generic cell rate algorithm (ITU-T I.371): of
// each source only the time is kept at which its next event would be on schedule.
type Limiter struct {
	cfg LimiterConfig
	all time.Time
	// Who has come lately is in young, and moves there from old when it comes again. Old
	// is thrown away when young is full, or when nobody in it is behind schedule.
	young, old map[netip.Addr]time.Time
	turned     time.Time
}

// NewLimiter returns a Limiter that nobody has come to.
func NewLimiter(cfg LimiterConfig) *Limiter {
	return &Limiter{cfg: cfg.withDefaults(), young: make(map[netip.Addr]time.Time)}
}

// Allow reports whether a source may come now, and if so counts it. The zero Addr is
// limited with all others only.
func (l *Limiter) Allow(now time.Time, from netip.Addr) bool {
	all, ok := next(now, l.all, l.cfg.All)
	if !ok {
		return false
	}
	if from.IsValid() {
		from = network(from)
		l.turn(now)
		due, known := l.young[from]
		if !known {
			due = l.old[from]
		}
		each, ok := next(now, due, l.cfg.Each)
		if !ok {
			return false
		}
		l.young[from] = each
	}
	l.all = all
	return true
}

// next returns when the event after one at now is due, and whether one at now is not too
// early.
func next(now, due time.Time, r Rate) (time.Time, bool) {
	if due.Sub(now) > r.slack() {
		return due, false
	}
	if due.Before(now) {
		due = now
	}
	return due.Add(r.gap()), true
}

// turn makes room for sources that have not come before.
func (l *Limiter) turn(now time.Time) {
	// After this time a source's schedule is as if it had never come.
	forgotten := l.cfg.Each.slack() + l.cfg.Each.gap()
	if len(l.young) < l.cfg.Sources && now.Sub(l.turned) < forgotten {
		return
	}
	l.turned = now
	if len(l.young) == 0 && l.old == nil {
		return
	}
	l.old = l.young
	l.young = make(map[netip.Addr]time.Time)
}

// Len returns how many sources are remembered.
func (l *Limiter) Len() int { return len(l.young) + len(l.old) }

// network returns what is limited as one source.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a // unreachable: a is an IPv6 address
	}
	return p.Addr()
}
