package tcpmodel

import (
	"math/rand/v2"
	"time"
)

// The parameters of BBR version 1, as in Linux's tcp_bbr.c.
const (
	bbrHighGain     = 2885.0 / 1000 // 2/ln 2: doubles the rate in each round trip
	bbrDrainGain    = 1000.0 / 2885
	bbrCwndGain     = 2
	bbrRounds       = 10 // of the filter of the bandwidth
	bbrMinRTTWindow = 10 * time.Second
	bbrProbeRTTTime = 200 * time.Millisecond
	bbrMinCwnd      = 4
	bbrFullGrowth   = 1.25 // less growth than that in bbrFullRounds round trips: the pipe is full
	bbrFullRounds   = 3
	bbrMargin       = 0.99 // of the bandwidth is what it paces to
	bbrCycle        = 8
	bbrMaxExtraTime = 100 * time.Millisecond // of bandwidth is the most aggregation credited
	bbrExtraRounds  = 5
)

// bbrGains are the pacing gains of ProbeBW.
var bbrGains = [bbrCycle]float64{1.25, 0.75, 1, 1, 1, 1, 1, 1}

type bbrMode uint8

const (
	// bbrStartup doubles the rate until the bandwidth grows no more.
	bbrStartup bbrMode = iota
	// bbrDrain empties the queue of startup.
	bbrDrain
	// bbrProbeBW cycles around the bandwidth.
	bbrProbeBW
	// bbrProbeRTT empties the pipe for bbrProbeRTTTime, to see the shortest round trip.
	bbrProbeRTT
)

// bbr is BBR version 1. Bandwidths are in segments per second.
type bbr struct {
	rand *rand.Rand
	mode bbrMode

	bandwidth maxFilter
	minRTT    time.Duration // 0 before the first
	minRTTAt  time.Duration

	round      int
	nextRound  uint64 // delivered that ends the round
	roundStart bool

	fullBW     float64
	fullRounds int
	full       bool

	cycle   int
	cycleAt time.Duration

	probeRTTEnd   time.Duration // 0 until the pipe is empty
	probeRTTRound bool

	pace        float64 // bytes per second
	pacingGain  float64
	cwndGain    float64
	sawRTT      bool
	idleRestart bool

	priorCwnd    int
	previous     caState
	conservation bool // of packets, in the first round of recovery

	policer policerDetector
	extra   aggregation
}

func newBBR(seed uint64) *bbr {
	return &bbr{
		rand:       rand.New(rand.NewPCG(seed, 0)),
		pacingGain: bbrHighGain,
		cwndGain:   bbrHighGain,
		minRTTAt:   -1,
	}
}

func (c *bbr) pacing(s *Sender) (float64, int) {
	if c.pace == 0 {
		c.initPace(s)
	}
	return c.pace, c.burst(s)
}

// burst is how many segments are sent at once: a millisecond's, at least two (one on slow
// lines).
func (c *bbr) burst(s *Sender) int {
	least := 2
	if c.pace < 150e3 {
		least = 1
	}
	return min(max(int(c.pace/1024)/s.mss, least), 44)
}

// initPace paces the initial window over a round trip.
func (c *bbr) initPace(s *Sender) {
	rtt := time.Millisecond
	if s.rto.srtt > 0 {
		rtt, c.sawRTT = s.rto.srtt, true
	}
	c.pace = bbrHighGain * float64(s.cwnd*s.mss) / rtt.Seconds()
}

func (c *bbr) ssthresh(s *Sender) int {
	c.saveCwnd(s)
	return s.ssthresh
}

func (c *bbr) undone(s *Sender) int {
	c.fullBW, c.fullRounds = 0, 0
	c.policer.reset(s)
	return s.cwnd
}

func (c *bbr) state(s *Sender, to caState) {
	if to != stateLoss {
		return
	}
	c.previous = stateLoss
	c.fullBW = 0
	c.roundStart = true // a timeout is the end of a round
	c.policer.sample(c, s, &rateSample{losses: 1})
}

func (c *bbr) restart(s *Sender, now time.Duration) {
	if s.rate.limitedTo == 0 {
		return
	}
	c.idleRestart = true
	c.extra.epochAt, c.extra.epochAcked = now, 0
	switch c.mode {
	case bbrProbeBW:
		c.setPace(s, 1)
	case bbrProbeRTT:
		c.endProbeRTT(s, now)
	}
}

// bw is the bandwidth to use.
func (c *bbr) bw() float64 {
	if c.policer.using {
		return c.policer.bw
	}
	return c.bandwidth.best()
}

func (c *bbr) setPace(s *Sender, gain float64) {
	if !c.sawRTT && s.rto.srtt > 0 {
		c.initPace(s)
	}
	rate := c.bw() * float64(s.mss) * gain * bbrMargin
	if c.full || rate > c.pace {
		c.pace = rate
	}
}

// bdp is the window of a bandwidth-delay product times gain.
func (c *bbr) bdp(bw, gain float64) int {
	if c.minRTT == 0 {
		return initialCwnd
	}
	return int(bw*c.minRTT.Seconds()*gain) + 1
}

// quantize adds what bursts and delayed acknowledgements need.
func (c *bbr) quantize(s *Sender, cwnd int) int {
	cwnd += 3 * c.burst(s)
	cwnd = (cwnd + 1) &^ 1
	if c.mode == bbrProbeBW && c.cycle == 0 {
		cwnd += 2
	}
	return cwnd
}

func (c *bbr) inflight(s *Sender, bw, gain float64) int { return c.quantize(s, c.bdp(bw, gain)) }

func (c *bbr) acked(s *Sender, now time.Duration, r *rateSample) {
	c.updateBandwidth(s, r)
	c.updateAggregation(s, now, r)
	c.updateCycle(s, now, r)
	c.checkFull(r)
	c.checkDrain(s, now)
	c.updateMinRTT(s, now, r)
	c.updateGains()
	c.setPace(s, c.pacingGain)
	c.setCwnd(s, r)
}

func (c *bbr) updateBandwidth(s *Sender, r *rateSample) {
	c.roundStart = false
	if r.delivered <= 0 || r.interval <= 0 {
		return
	}
	if r.priorDelivered >= c.nextRound {
		c.nextRound = s.rate.delivered
		c.round++
		c.roundStart = true
		c.conservation = false
	}
	c.policer.sample(c, s, r)
	bw := float64(r.delivered) / r.interval.Seconds()
	if !r.limitedBySrc || bw >= c.bandwidth.best() {
		c.bandwidth.add(c.round, bw)
	}
}

func (c *bbr) checkFull(r *rateSample) {
	if c.full || !c.roundStart || r.limitedBySrc {
		return
	}
	if bw := c.bandwidth.best(); bw >= c.fullBW*bbrFullGrowth {
		c.fullBW, c.fullRounds = bw, 0
		return
	}
	c.fullRounds++
	c.full = c.fullRounds >= bbrFullRounds
}

func (c *bbr) checkDrain(s *Sender, now time.Duration) {
	if c.mode == bbrStartup && c.full {
		c.mode = bbrDrain
		s.ssthresh = c.inflight(s, c.bandwidth.best(), 1)
	}
	if c.mode == bbrDrain && c.inNetwork(s, now, s.board.inFlight()) <= c.inflight(s, c.bandwidth.best(), 1) {
		c.enterProbeBW(now)
	}
}

// inNetwork is how much of what is in flight will be when the next burst may go: pacing
// holds that back until then.
func (c *bbr) inNetwork(s *Sender, now time.Duration, inFlight int) int {
	wait := max(0, s.paceAt-now)
	n := inFlight - int(c.bw()*wait.Seconds())
	if c.pacingGain > 1 {
		n += c.burst(s)
	}
	return max(0, n)
}

func (c *bbr) enterProbeBW(now time.Duration) {
	c.mode = bbrProbeBW
	// Anywhere but in the phase of 0.75, so that flows do not move together.
	c.cycle = bbrCycle - 1 - c.rand.IntN(bbrCycle-1)
	c.nextPhase(now)
}

func (c *bbr) nextPhase(now time.Duration) {
	c.cycle = (c.cycle + 1) % bbrCycle
	c.cycleAt = now
}

func (c *bbr) updateCycle(s *Sender, now time.Duration, r *rateSample) {
	if c.mode != bbrProbeBW || !c.phaseOver(s, now, r) {
		return
	}
	c.nextPhase(now)
}

func (c *bbr) phaseOver(s *Sender, now time.Duration, r *rateSample) bool {
	long := now-c.cycleAt > c.minRTT
	gain := bbrGains[c.cycle]
	if c.policer.using || gain == 1 {
		return long
	}
	inFlight := c.inNetwork(s, now, r.priorInFlight)
	if gain > 1 {
		return long && (r.losses > 0 || inFlight >= c.inflight(s, c.bandwidth.best(), gain))
	}
	return long || inFlight <= c.inflight(s, c.bandwidth.best(), 1)
}

func (c *bbr) updateMinRTT(s *Sender, now time.Duration, r *rateSample) {
	expired := c.minRTTAt >= 0 && now > c.minRTTAt+bbrMinRTTWindow
	if r.rtt >= 0 && (c.minRTT == 0 || r.rtt < c.minRTT || expired && !r.ackDelayed) {
		c.minRTT, c.minRTTAt = max(r.rtt, time.Microsecond), now
	}
	if expired && !c.idleRestart && c.mode != bbrProbeRTT {
		c.mode = bbrProbeRTT
		c.saveCwnd(s)
		c.probeRTTEnd = 0
	}
	if c.mode == bbrProbeRTT {
		c.probeRTT(s, now)
	}
	if r.delivered > 0 {
		c.idleRestart = false
	}
}

func (c *bbr) probeRTT(s *Sender, now time.Duration) {
	// What is sent now is limited by us, not by the network.
	s.rate.limitedTo = max(s.rate.delivered+uint64(s.board.inFlight()), 1)
	switch {
	case c.probeRTTEnd == 0 && s.board.inFlight() <= bbrMinCwnd:
		c.probeRTTEnd = now + bbrProbeRTTTime
		c.probeRTTRound = false
		c.nextRound = s.rate.delivered
	case c.probeRTTEnd != 0:
		c.probeRTTRound = c.probeRTTRound || c.roundStart
		if c.probeRTTRound {
			c.endProbeRTT(s, now)
		}
	}
}

func (c *bbr) endProbeRTT(s *Sender, now time.Duration) {
	if c.probeRTTEnd == 0 || now <= c.probeRTTEnd {
		return
	}
	c.minRTTAt = now
	s.cwnd = max(s.cwnd, c.priorCwnd)
	if c.full {
		c.enterProbeBW(now)
	} else {
		c.mode = bbrStartup
	}
}

func (c *bbr) updateGains() {
	switch c.mode {
	case bbrStartup:
		c.pacingGain, c.cwndGain = bbrHighGain, bbrHighGain
	case bbrDrain:
		c.pacingGain, c.cwndGain = bbrDrainGain, bbrHighGain
	case bbrProbeBW:
		c.pacingGain, c.cwndGain = bbrGains[c.cycle], bbrCwndGain
		if c.policer.using {
			c.pacingGain = 1
		}
	case bbrProbeRTT:
		c.pacingGain, c.cwndGain = 1, 1
	}
}

func (c *bbr) saveCwnd(s *Sender) {
	if c.previous < stateRecovery && c.mode != bbrProbeRTT {
		c.priorCwnd = s.cwnd
	} else {
		c.priorCwnd = max(c.priorCwnd, s.cwnd)
	}
}

func (c *bbr) setCwnd(s *Sender, r *rateSample) {
	if r.acked > 0 && !c.recoverOrRestore(s, r) {
		target := c.quantize(s, c.bdp(c.bw(), c.cwndGain)+c.extra.cwnd(c))
		switch {
		case c.full:
			s.cwnd = min(s.cwnd+r.acked, target)
		case s.cwnd < target || s.rate.delivered < initialCwnd:
			s.cwnd += r.acked
		}
		s.cwnd = max(s.cwnd, bbrMinCwnd)
	}
	if c.mode == bbrProbeRTT {
		s.cwnd = min(s.cwnd, bbrMinCwnd)
	}
}

// recoverOrRestore conserves packets in the first round of recovery, and restores the
// window at its end. It reports whether it decided the window.
func (c *bbr) recoverOrRestore(s *Sender, r *rateSample) bool {
	if r.losses > 0 {
		s.cwnd = max(s.cwnd-r.losses, 1)
	}
	switch {
	case s.state == stateRecovery && c.previous != stateRecovery:
		c.conservation = true
		c.nextRound = s.rate.delivered
		s.cwnd = s.board.inFlight() + r.acked
	case c.previous >= stateRecovery && s.state < stateRecovery:
		s.cwnd = max(s.cwnd, c.priorCwnd)
		c.conservation = false
	}
	c.previous = s.state
	if !c.conservation {
		return false
	}
	s.cwnd = max(s.cwnd, s.board.inFlight()+r.acked)
	return true
}
