package tcpmodel

import "time"

// maxFilter is the largest value of the last bbrRounds rounds: the three best candidates,
// each younger than the one before (Nichols, "A windowed min/max filter"; Linux's
// win_minmax.c).
type maxFilter struct{ best3 [3]roundValue }

type roundValue struct {
	round int
	v     float64
}

func (f *maxFilter) best() float64 { return f.best3[0].v }

func (f *maxFilter) add(round int, v float64) {
	s := &f.best3
	now := roundValue{round, v}
	if v >= s[0].v || round-s[2].round > bbrRounds {
		*s = [3]roundValue{now, now, now}
		return
	}
	if v >= s[1].v {
		s[1], s[2] = now, now
	} else if v >= s[2].v {
		s[2] = now
	}
	age := round - s[0].round
	switch {
	case age > bbrRounds:
		s[0], s[1], s[2] = s[1], s[2], now
		if round-s[0].round > bbrRounds {
			s[0], s[1], s[2] = s[1], s[2], now
		}
	case s[1].round == s[0].round && age > bbrRounds/4:
		s[1], s[2] = now, now
	case s[2].round == s[1].round && age > bbrRounds/2:
		s[2] = now
	}
}

// aggregation measures how many more segments are acknowledged at once than the bandwidth
// explains, and grants the window so many more.
type aggregation struct {
	epochAt    time.Duration
	epochAcked float64
	extra      [2]float64 // the largest of this window and of the last
	index      int
	rounds     int
}

func (c *bbr) updateAggregation(s *Sender, now time.Duration, r *rateSample) {
	x := &c.extra
	if r.acked <= 0 || r.delivered < 0 || r.interval <= 0 {
		return
	}
	if c.roundStart {
		if x.rounds++; x.rounds >= bbrExtraRounds {
			x.rounds = 0
			x.index = 1 - x.index
			x.extra[x.index] = 0
		}
	}
	expected := c.bw() * (now - x.epochAt).Seconds()
	if x.epochAcked <= expected || x.epochAcked+float64(r.acked) >= 1<<20 {
		x.epochAcked, x.epochAt, expected = 0, now, 0
	}
	x.epochAcked += float64(r.acked)
	more := min(x.epochAcked-expected, float64(s.cwnd))
	x.extra[x.index] = max(x.extra[x.index], more)
}

func (x *aggregation) cwnd(c *bbr) int {
	if !c.full {
		return 0
	}
	return int(min(max(x.extra[0], x.extra[1]), c.bw()*bbrMaxExtraTime.Seconds()))
}

// The parameters of the policer detector.
const (
	policerMinRounds = 4
	policerLoss      = 50.0 / 256
	policerRatio     = 1.0 / 8
	policerDiff      = 500.0 // bytes per second
	policerMaxRounds = 48
)

// policerDetector finds token-bucket policers: two intervals with much loss and the same
// throughput. Their rate is then used for a while (Linux's bbr_lt_bw_sampling).
type policerDetector struct {
	sampling  bool
	using     bool
	bw        float64
	rounds    int
	delivered uint64
	lost      uint64
	at        time.Duration
}

func (p *policerDetector) reset(s *Sender) {
	p.bw = 0
	p.using, p.sampling = false, false
	p.begin(s)
}

// begin begins an interval.
func (p *policerDetector) begin(s *Sender) {
	p.at, p.rounds = s.now, 0
	p.delivered, p.lost = s.rate.delivered, s.board.lostTotal
}

func (p *policerDetector) sample(c *bbr, s *Sender, r *rateSample) {
	if p.using {
		if c.mode == bbrProbeBW && c.roundStart {
			if p.rounds++; p.rounds >= policerMaxRounds {
				p.reset(s)
				c.cycle = bbrCycle - 1 - c.rand.IntN(bbrCycle-1)
				c.nextPhase(s.now)
			}
		}
		return
	}
	if !p.sampling {
		if r.losses == 0 {
			return
		}
		p.begin(s)
		p.sampling = true
	}
	if r.limitedBySrc {
		p.reset(s)
		return
	}
	if c.roundStart {
		p.rounds++
	}
	if p.rounds < policerMinRounds {
		return
	}
	if p.rounds > 4*policerMinRounds {
		p.reset(s)
		return
	}
	p.finish(c, s, r)
}

// finish ends an interval at a loss, if enough was lost in it.
func (p *policerDetector) finish(c *bbr, s *Sender, r *rateSample) {
	if r.losses == 0 {
		return
	}
	lost := float64(s.board.lostTotal - p.lost)
	delivered := float64(s.rate.delivered - p.delivered)
	if delivered == 0 || lost < delivered*policerLoss {
		return
	}
	took := s.rate.deliveredAt - p.at
	if took < time.Millisecond {
		return
	}
	bw := delivered / took.Seconds()
	if p.bw > 0 {
		diff := max(bw-p.bw, p.bw-bw)
		if diff <= policerRatio*p.bw || diff*float64(s.mss) <= policerDiff {
			p.bw = (bw + p.bw) / 2
			p.using = true
			c.pacingGain = 1
			p.rounds = 0
			return
		}
	}
	p.bw = bw
	p.begin(s)
}
