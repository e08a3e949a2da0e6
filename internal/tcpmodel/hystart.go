package tcpmodel

import "time"

// The constants of Linux's HyStart.
const (
	hystartLowWindow  = 16
	hystartSamples    = 8
	hystartAckSpacing = 2 * time.Millisecond
	hystartDelayMin   = 4 * time.Millisecond
	hystartDelayMax   = 16 * time.Millisecond
)

// hystart is Linux's HyStart: it leaves slow start when a train of acknowledgements gets
// as long as half the round trip, or when the delay grows (Ha and Rhee, "Taming the
// elephants: New TCP slow start", 2011).
type hystart struct {
	roundStart, lastAck time.Duration
	end                 uint64
	current             time.Duration // smallest round trip in this round
	samples             int
}

func (h *hystart) reset(s *Sender, now time.Duration) {
	*h = hystart{roundStart: now, lastAck: now, end: s.board.nxt}
}

func (h *hystart) measured(s *Sender, now, rtt, minimum time.Duration) bool {
	if s.cwnd < hystartLowWindow {
		return false
	}
	if s.board.una > h.end {
		h.reset(s, now)
	}
	if now-h.lastAck <= hystartAckSpacing {
		h.lastAck = now
		// Half the round trip, because Linux does not pace this sender: its bursts
		// already travel together.
		if now-h.roundStart > (minimum+h.slack(s))/2 {
			return true
		}
	}
	if h.current == 0 || rtt < h.current {
		h.current = rtt
	}
	if h.samples < hystartSamples {
		h.samples++
		return false
	}
	return h.current > minimum+min(max(minimum/8, hystartDelayMin), hystartDelayMax)
}

// slack is the time that four of the largest bursts take at twice the present rate.
func (h *hystart) slack(s *Sender) time.Duration {
	rate := 2 * float64(s.cwnd*s.mss) / max(s.rto.srtt, time.Microsecond).Seconds()
	return min(time.Millisecond, time.Duration(4*65536/rate*float64(time.Second)))
}

func (h *hystart) growth(_ *Sender, acked int) (int, bool) { return acked, false }

// The constants of RFC 9406, section 4.3.
const (
	hystartPlusMinThresh = 4 * time.Millisecond
	hystartPlusMaxThresh = 16 * time.Millisecond
	hystartPlusDivisor   = 8
	hystartPlusSamples   = 8
	hystartPlusGrowth    = 4
	hystartPlusRounds    = 5
)

// hystartPlus is HyStart++ (RFC 9406): when the delay grows, it grows slower for some
// rounds, and goes back if the delay was an outlier.
type hystartPlus struct {
	end            uint64
	last, current  time.Duration // smallest round trip of the last round and of this one
	samples        int
	careful        bool // in conservative slow start
	baseline       time.Duration
	rounds         int
	remainder      int
	hadRoundBefore bool
}

func (h *hystartPlus) reset(s *Sender, _ time.Duration) { *h = hystartPlus{end: s.board.nxt} }

func (h *hystartPlus) measured(s *Sender, _, rtt, _ time.Duration) bool {
	if s.board.una > h.end {
		h.end = s.board.nxt
		h.last, h.hadRoundBefore = h.current, true
		h.current, h.samples = 0, 0
		if h.careful {
			h.rounds++
		}
	}
	if h.current == 0 || rtt < h.current {
		h.current = rtt
	}
	h.samples++
	if h.samples < hystartPlusSamples || !h.hadRoundBefore {
		return false
	}
	switch {
	case !h.careful:
		thresh := min(max(h.last/hystartPlusDivisor, hystartPlusMinThresh), hystartPlusMaxThresh)
		if h.current >= h.last+thresh {
			h.careful, h.baseline, h.rounds = true, h.current, 0
		}
	case h.current < h.baseline:
		h.careful = false
	}
	return false
}

func (h *hystartPlus) growth(_ *Sender, acked int) (int, bool) {
	if !h.careful {
		return acked, false
	}
	h.remainder += acked
	n := h.remainder / hystartPlusGrowth
	h.remainder -= n * hystartPlusGrowth
	return n, h.rounds >= hystartPlusRounds
}
