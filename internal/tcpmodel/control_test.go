package tcpmodel

import (
	"math"
	"testing"
	"time"
)

// TestCubicGrowth compares the window after a loss with the cubic function (RFC 9438,
// section 4.2): it is back where it was after K seconds.
func TestCubicGrowth(t *testing.T) {
	p := newPipe(t, Config{}, 50*ms)
	const before = 400
	lostAt, backAt := time.Duration(0), time.Duration(0)
	p.fate = func(int, uint64) time.Duration {
		if lostAt == 0 && p.sender.cwnd >= before {
			lostAt = p.now
			return -1
		}
		return 0
	}
	p.check = func() {
		s := p.sender
		if lostAt > 0 && backAt == 0 && p.now > lostAt+500*ms && s.cwnd >= s.prr.priorCwnd {
			backAt = p.now
		}
	}
	p.until(20 * time.Second)
	w := float64(p.sender.prr.priorCwnd)
	k := math.Cbrt(w * (1 - cubicBeta) / cubicC)
	// Linux's integers are there when less than one segment is missing.
	soon := k - math.Cbrt(1/cubicC) - 0.3
	if took := (backAt - lostAt).Seconds(); took < soon || took > k+0.3 {
		t.Errorf("the window of %v was reached again after %.2f s, want %.2f s to %.2f s", w, took, soon, k)
	}
}

// TestSlowStartEnds sends into a queue without end. HyStart leaves slow start when the
// delay grows, HyStart++ five rounds of slower growth later.
func TestSlowStartEnds(t *testing.T) {
	for a, most := range map[Algorithm]int{Cubic: 400, CubicPlus: 2200} {
		p := newPipe(t, Config{Control: a}, 20*ms)
		p.perSeg = 250 * time.Microsecond // 160 segments in a round trip
		p.until(3 * time.Second)
		if got := p.sender.ssthresh; got > most {
			t.Errorf("%v: slow start ended at %d segments, want at most %d", a, got, most)
		}
	}
}

// TestBBRModel compares BBR's estimates with the line's.
func TestBBRModel(t *testing.T) {
	p := newPipe(t, Config{Control: BBR}, 20*ms)
	p.perSeg, p.queue = 250*time.Microsecond, 100*ms
	modes := make(map[bbrMode]time.Duration)
	c := p.sender.control.(*bbr)
	p.check = func() {
		if _, ok := modes[c.mode]; !ok {
			modes[c.mode] = p.now
		}
	}
	p.until(12 * time.Second)
	if bw := c.bandwidth.best(); math.Abs(bw-4000) > 80 {
		t.Errorf("bandwidth %.0f segments/s, want 4000", bw)
	}
	if want := 40*ms + 250*time.Microsecond; c.minRTT > want+ms || c.minRTT < 40*ms {
		t.Errorf("shortest round trip %v, want %v", c.minRTT, want)
	}
	if st := p.sender.Stats(); st.Retransmissions != 0 {
		t.Errorf("%+v, want no retransmission", st)
	}
	for _, m := range []bbrMode{bbrDrain, bbrProbeBW} {
		if at, ok := modes[m]; !ok || at > time.Second {
			t.Errorf("mode %d entered at %v, want within a second", m, at)
		}
	}
	if at := modes[bbrProbeRTT]; at < 10*time.Second || at > 11*time.Second {
		t.Errorf("the round trip was probed at %v, want ten seconds after it was seen", at)
	}
	// One queue's worth: BBR keeps at most twice the pipe in flight.
	if st := p.sender.Stats(); st.Cwnd > 2*164+30 {
		t.Errorf("a window of %d segments over a pipe of 164", st.Cwnd)
	}
}

// TestBBRPolicer drops what exceeds a token bucket: BBR must find its rate.
func TestBBRPolicer(t *testing.T) {
	p := newPipe(t, Config{Control: BBR}, 10*ms)
	tokens, last := 60.0, time.Duration(0)
	p.fate = func(int, uint64) time.Duration {
		tokens = min(60, tokens+(p.now-last).Seconds()*1000)
		last = p.now
		if tokens < 1 {
			return -1
		}
		tokens--
		return 0
	}
	used := false
	c := p.sender.control.(*bbr)
	p.check = func() {
		if c.policer.using {
			used = true
		}
	}
	p.until(10 * time.Second)
	if !used {
		t.Error("the policer was not found")
	}
	if got := float64(p.receiver.Stats().Bytes) / segment / 10; got < 700 {
		t.Errorf("%.0f segments a second through a policer of 1000", got)
	}
}

// TestMaxFilter compares the filter with the largest value of the window.
func TestMaxFilter(t *testing.T) {
	var f maxFilter
	var all []roundValue
	x := uint64(1)
	for round := range 2000 {
		x = x*6364136223846793005 + 1442695040888963407
		v := float64(x >> 54)
		f.add(round, v)
		all = append(all, roundValue{round, v})
		largest := 0.0
		for _, r := range all[max(0, len(all)-bbrRounds-1):] {
			largest = max(largest, r.v)
		}
		// The filter keeps three candidates, so it may forget early, but not be larger
		// than the truth, nor smaller than the newest.
		if f.best() > largest || f.best() < v {
			t.Fatalf("round %d: best %v, want %v at most and %v at least", round, f.best(), largest, v)
		}
	}
}
