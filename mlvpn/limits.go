package mlvpn

import (
	"math"
	"time"
)

// Limits says for how long a session sent no more, by what kept it from it.
type Limits struct {
	Application time.Duration // nothing waited to be sent
	Pacing      time.Duration // packets waited for the rates that the links are thought to carry
	Link        time.Duration // packets waited because a link took no more from this host
	Reordering  time.Duration // a link was free, but packets were kept for quicker ones
	Down        time.Duration // no link worked
}

// limit is one of the reasons.
type limit uint8

const (
	limitDown limit = iota
	limitApplication
	limitPacing
	limitLink
	limitReordering
	numLimits
)

// lately is the time over which limitations.recent averages.
const lately = 10 * time.Second

// limitations adds up what limits a session. The zero value is ready: at first nothing
// works.
type limitations struct {
	by     limit
	since  time.Time // when by was last accounted for; zero before the first
	total  [numLimits]time.Duration
	recent [numLimits]float64 // shares of the time, with weights that fall by e in lately
}

// note is told what limits the session from now on.
func (l *limitations) note(now time.Time, by limit) {
	if by == l.by && !l.since.IsZero() {
		return
	}
	l.settle(now)
	l.by = by
}

// settle accounts for the time until now.
func (l *limitations) settle(now time.Time) {
	d := now.Sub(l.since)
	switch {
	case l.since.IsZero():
		l.since = now
		return
	case d <= 0:
		return
	}
	l.since = now
	l.total[l.by] += d
	fade := math.Exp(-d.Seconds() / lately.Seconds())
	for i := range l.recent {
		l.recent[i] *= fade
	}
	l.recent[l.by] += 1 - fade
}

// stats returns the times in all, and those of about the last 10 s, whose sum is 10 s
// once the session is older than that.
func (l *limitations) stats(now time.Time) (total, recent Limits) {
	l.settle(now)
	var last [numLimits]time.Duration
	for i, share := range l.recent {
		last[i] = time.Duration(share * float64(lately))
	}
	return export(&l.total), export(&last)
}

func export(t *[numLimits]time.Duration) Limits {
	return Limits{
		Application: t[limitApplication],
		Pacing:      t[limitPacing],
		Link:        t[limitLink],
		Reordering:  t[limitReordering],
		Down:        t[limitDown],
	}
}

// limit tells what keeps a session from sending more, after its turn to send.
func (t *sessionSender) limit(now time.Time) limit {
	switch {
	case !t.live():
		return limitDown
	case t.queued() == 0 && t.current.tx.repairs.len() == 0:
		return limitApplication
	}
	by := limitPacing
	for i, p := range t.current.tx.active {
		switch v := &t.current.tx.views[i]; {
		case !v.Usable:
		case !p.tx.out.since.IsZero(): // it has refused a datagram
			by = limitLink
		case !v.Ready.After(now):
			return limitReordering
		}
	}
	return by
}
