package tcpmodel

import (
	"math"
	"time"
)

// The constants of RFC 9438, section 4.6, and Linux.
const (
	cubicC    = 0.4
	cubicBeta = 717.0 / 1024
	// cubicAlpha is how fast a Reno flow with CUBIC's reduction must grow to be as fast
	// as Reno (section 4.3).
	cubicAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
)

// A slowStarter says when slow start ends.
type slowStarter interface {
	reset(s *Sender, now time.Duration)
	// measured takes a round-trip time in slow start and reports whether to leave it.
	measured(s *Sender, now, rtt, minimum time.Duration) bool
	// growth returns how much of the acknowledged segments the window grows by, and
	// whether slow start ends here.
	growth(s *Sender, acked int) (n int, end bool)
}

// cubic is CUBIC (RFC 9438; Ha, Rhee and Xu, "CUBIC: a new TCP-friendly high-speed TCP
// variant", 2008), with what Linux's tcp_cubic.c adds.
type cubic struct {
	slow slowStarter

	epoch    time.Duration // start of the current growth, if inEpoch
	inEpoch  bool
	lastMax  int     // window before the last reduction; 0 is none
	origin   int     // window at the inflection point
	k        float64 // seconds from epoch to the inflection point
	friendly int     // estimate of Reno's window
	ackCount int     // acknowledged segments since that grew
	perAck   int     // acknowledged segments for each segment of growth
	pending  int     // acknowledged segments not yet turned into growth
	lastCwnd int
	lastTime time.Duration
	minRTT   time.Duration
	begun    bool
}

func (c *cubic) forget() {
	slow := c.slow
	*c = cubic{slow: slow}
}

func (c *cubic) ssthresh(s *Sender) int {
	c.inEpoch = false
	w := float64(s.cwnd)
	if s.cwnd < c.lastMax {
		c.lastMax = int(w * (1 + cubicBeta) / 2) // fast convergence (section 4.7)
	} else {
		c.lastMax = s.cwnd
	}
	return max(int(w*cubicBeta), 2)
}

func (c *cubic) undone(s *Sender) int { return max(s.cwnd, s.prr.priorCwnd) }

func (c *cubic) state(s *Sender, to caState) {
	if to == stateLoss {
		c.forget()
		c.slow.reset(s, s.now)
	}
}

func (c *cubic) restart(s *Sender, now time.Duration) {
	// Time in which nothing was sent is not time to grow (section 4.2).
	if idle := now - s.lastSent; c.inEpoch && idle > 0 {
		c.epoch = min(c.epoch+idle, now)
	}
}

func (c *cubic) measured(s *Sender, now, rtt time.Duration) {
	if c.inEpoch && now-c.epoch < time.Second {
		return // the queue of the reduction may still be there
	}
	if c.minRTT == 0 || rtt < c.minRTT {
		c.minRTT = rtt
	}
	if s.cwnd < s.ssthresh && c.slow.measured(s, now, rtt, c.minRTT) {
		s.ssthresh = s.cwnd
	}
}

func (c *cubic) grow(s *Sender, now time.Duration, acked int) {
	if !s.cwndLimited() {
		return
	}
	if !c.begun {
		c.begun = true
		c.slow.reset(s, now)
	}
	if s.cwnd < s.ssthresh {
		n, end := c.slow.growth(s, acked)
		next := min(s.cwnd+n, s.ssthresh)
		acked -= min(acked, next-s.cwnd)
		s.cwnd = next
		if end {
			s.ssthresh = s.cwnd
		}
		if s.cwnd < s.ssthresh || acked == 0 {
			return
		}
	}
	c.update(s, now, acked)
	c.spend(s, acked)
}

// spend turns acknowledged segments into growth (Linux's tcp_cong_avoid_ai).
func (c *cubic) spend(s *Sender, acked int) {
	if c.pending >= c.perAck {
		c.pending = 0 // gathered when growth was dearer
		s.cwnd++
	}
	c.pending += acked
	if grown := c.pending / c.perAck; grown > 0 {
		c.pending -= grown * c.perAck
		s.cwnd += grown
	}
}

// update computes how many acknowledged segments make the window grow by one (section
// 4.2 to 4.5). Windows are integers as in Linux, which makes small ones grow slower.
func (c *cubic) update(s *Sender, now time.Duration, acked int) {
	c.ackCount += acked
	if c.lastCwnd == s.cwnd && c.inEpoch && now-c.lastTime <= time.Second/32 {
		return
	}
	c.lastCwnd, c.lastTime = s.cwnd, now
	if !c.inEpoch {
		c.inEpoch, c.epoch = true, now
		c.ackCount = acked
		c.friendly = s.cwnd
		if c.lastMax <= s.cwnd {
			c.k, c.origin = 0, s.cwnd
		} else {
			c.k, c.origin = math.Cbrt(float64(c.lastMax-s.cwnd)/cubicC), c.lastMax
		}
	}
	t := (now - c.epoch + c.minRTT).Seconds() - c.k
	target := c.origin + int(cubicC*t*t*t)
	if target > s.cwnd {
		c.perAck = s.cwnd / (target - s.cwnd)
	} else {
		c.perAck = 100 * s.cwnd
	}
	if c.lastMax == 0 {
		c.perAck = min(c.perAck, 20)
	}
	c.followReno(s.cwnd)
	c.perAck = max(c.perAck, 2)
}

// followReno keeps the window from being smaller than Reno's would be (section 4.3).
func (c *cubic) followReno(cwnd int) {
	perSegment := int(float64(cwnd) / cubicAlpha)
	for c.ackCount > perSegment {
		c.ackCount -= perSegment
		c.friendly++
	}
	if c.friendly > cwnd {
		c.perAck = min(c.perAck, cwnd/(c.friendly-cwnd))
	}
}
