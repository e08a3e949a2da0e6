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
	lastMax  float64 // window before the last reduction; 0 is none
	origin   float64 // window at the inflection point
	k        float64 // seconds from epoch to the inflection point
	friendly float64 // estimate of Reno's window
	ackCount float64
	perAck   float64 // acknowledged segments for each segment of growth
	pendingN float64 // acknowledged segments not yet turned into growth
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
	if w < c.lastMax {
		c.lastMax = w * (1 + cubicBeta) / 2 // fast convergence (section 4.7)
	} else {
		c.lastMax = w
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
	c.pendingN += float64(acked)
	if grown := math.Floor(c.pendingN / c.perAck); grown > 0 {
		c.pendingN -= grown * c.perAck
		s.cwnd += int(grown)
	}
}

// update computes how many acknowledged segments make the window grow by one
// (section 4.2 to 4.5).
func (c *cubic) update(s *Sender, now time.Duration, acked int) {
	c.ackCount += float64(acked)
	if c.lastCwnd == s.cwnd && c.inEpoch && now-c.lastTime <= time.Second/32 {
		return
	}
	c.lastCwnd, c.lastTime = s.cwnd, now
	cwnd := float64(s.cwnd)
	if !c.inEpoch {
		c.inEpoch, c.epoch = true, now
		c.ackCount = float64(acked)
		c.friendly = cwnd
		if c.lastMax <= cwnd {
			c.k, c.origin = 0, cwnd
		} else {
			c.k, c.origin = math.Cbrt((c.lastMax-cwnd)/cubicC), c.lastMax
		}
	}
	t := (now - c.epoch + c.minRTT).Seconds() - c.k
	target := c.origin + cubicC*t*t*t
	if target > cwnd {
		c.perAck = cwnd / (target - cwnd)
	} else {
		c.perAck = 100 * cwnd
	}
	if c.lastMax == 0 {
		c.perAck = min(c.perAck, 20)
	}
	// Reno grows by alpha segments in a window's acknowledgements.
	c.friendly += c.ackCount * cubicAlpha / cwnd
	c.ackCount = 0
	if c.friendly > cwnd {
		c.perAck = min(c.perAck, cwnd/(c.friendly-cwnd))
	}
	c.perAck = max(c.perAck, 2)
}
