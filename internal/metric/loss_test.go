package metric

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A peer counts what it receives.
type peer struct {
	loss              Loss
	now               time.Time
	highest, received uint32
}

// traffic sends n packets over d, loses every lossOf-th and reports every interval.
func (p *peer) traffic(d, interval time.Duration, n, lossOf int) {
	reports := int(d / interval)
	for r := range reports {
		for i := r * n / reports; i < (r+1)*n/reports; i++ {
			p.highest++
			if lossOf == 0 || i%lossOf != 0 {
				p.received++
			}
		}
		p.now = p.now.Add(interval)
		p.loss.Update(p.now, p.highest, p.received)
	}
}

func newPeer(start uint32) *peer {
	p := &peer{now: epoch, highest: start, received: start}
	p.loss.Update(p.now, p.highest, p.received)
	return p
}

func (p *peer) want(t *testing.T, ratio, tolerance float64) {
	t.Helper()
	if got := p.loss.Ratio(); math.Abs(got-ratio) > tolerance || math.IsNaN(got) {
		t.Errorf("ratio %.4f, want %.4f", got, ratio)
	}
}

func TestLoss(t *testing.T) {
	for _, interval := range []time.Duration{20 * ms, 100 * ms, 130 * ms, 240 * ms, 250 * ms, time.Second} {
		for _, start := range []uint32{0, math.MaxUint32 - 1000} {
			p := newPeer(start)
			p.want(t, 0, 0)
			p.traffic(10*time.Second, interval, 10_000, 10)
			p.want(t, 0.1, 0.005)
			p.traffic(6*time.Second, interval, 6000, 0)
			p.want(t, 0, 0)
			p.traffic(2500*ms, interval, 2500, 4)
			if got := p.loss.Ratio(); got < 0.08 || got > 0.26 {
				t.Errorf("reports every %v: ratio %.4f 2.5 s after loss of 0.25 began", interval, got)
			}
			p.traffic(2500*ms, interval, 2500, 4)
			if interval < time.Second {
				p.want(t, 0.25, 0.01)
			}
		}
	}
}

// TestLossWindow compares with all reports kept: the ratio is that of a window that
// begins between 2.5 s and 5 s before the last report.
func TestLossWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, gap := range []time.Duration{20 * ms, 200 * ms, 400 * ms, time.Second} {
		var l Loss
		var all []lossReport
		now, highest, received := epoch, uint32(math.MaxUint32-500), uint32(7)
		for range 3000 {
			now = now.Add(1 + time.Duration(rng.Int64N(int64(gap))))
			n := uint32(rng.IntN(40))
			highest += n
			received += uint32(rng.IntN(int(n) + 1))
			l.Update(now, highest, received)
			all = append(all, lossReport{now, highest, received})
			if now.Sub(epoch) < 5*time.Second {
				continue
			}
			ok := false
			for i := len(all) - 1; i >= 0 && now.Sub(all[i].at) <= 5*time.Second; i-- {
				sent, got := highest-all[i].highest, received-all[i].received
				ratio := 0.0
				if sent >= 20 {
					ratio = float64(sent-got) / float64(sent)
				}
				// The report before may be where a gap of the ring begins.
				if now.Sub(all[i].at) >= 2500*ms-gap && ratio == l.Ratio() && (sent >= 20) == l.Known() {
					ok = true
				}
			}
			if !ok {
				t.Fatalf("gap %v: ratio %v belongs to no window", gap, l.Ratio())
			}
		}
	}
}

func TestLossNeedsPackets(t *testing.T) {
	p := newPeer(5)
	p.traffic(time.Second, 100*ms, 19, 2)
	p.want(t, 0, 0)
	if p.loss.Known() {
		t.Error("19 packets are known")
	}
	p.traffic(100*ms, 100*ms, 1, 0)
	p.want(t, 0.5, 0)
	if !p.loss.Known() {
		t.Error("20 packets are not known")
	}
}

func TestLossOddReports(t *testing.T) {
	p := newPeer(0)
	p.traffic(3*time.Second, 100*ms, 3000, 10)
	p.want(t, 0.1, 0.01)
	before := p.loss

	p.loss.Update(p.now.Add(ms), p.highest-50, p.received-40) // late
	p.loss.Update(p.now.Add(ms), p.highest, p.received-1)     // late by less
	if p.loss != before {
		t.Error("a late report changed the estimate")
	}

	// Packets that were only late make up for what was counted as lost.
	p.received = p.highest
	p.now = p.now.Add(ms)
	p.loss.Update(p.now, p.highest, p.received)
	p.want(t, 0, 0)

	// More received than sent, as duplicates make it.
	p.received += 1000
	p.loss.Update(p.now.Add(ms), p.highest+10, p.received)
	p.want(t, 0, 0)

	// The peer's counter went back: it has begun anew.
	p.loss.Update(p.now.Add(2*ms), p.highest+20, 3)
	if p.loss.Known() {
		t.Error("counters of two lives were compared")
	}
	p.loss.Update(p.now.Add(time.Second), p.highest+120, 53)
	p.want(t, 0.5, 0)
}

// TestLossAfterSilence checks that a report after a long pause counts from the one
// before it.
func TestLossAfterSilence(t *testing.T) {
	p := newPeer(0)
	p.traffic(5*time.Second, 100*ms, 1000, 0)
	p.now = p.now.Add(time.Minute)
	p.loss.Update(p.now, p.highest+100, p.received+50)
	p.want(t, 0.5, 0)
}

// TestLossIdle checks that the window moves on while nothing is sent.
func TestLossIdle(t *testing.T) {
	p := newPeer(0)
	p.traffic(3*time.Second, 100*ms, 3000, 10)
	p.traffic(2*time.Second, 100*ms, 0, 0)
	p.want(t, 0.1, 0.01)
	p.traffic(4*time.Second, 100*ms, 0, 0)
	if p.loss.Known() {
		t.Error("loss is known of a path that was idle for 6 s")
	}
}
