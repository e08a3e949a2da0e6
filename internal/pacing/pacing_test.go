package pacing

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Unix(1000, 0)

// rates are in bytes per second: 10 kbit/s to 40 Gbit/s.
var rates = []uint64{1250, 12_500, 100_003, 1_250_000, 12_500_000, 125_000_000, 1_250_000_000, 5_000_000_000}

// A sender sends packets of size bytes whenever p lets it, when it looks.
type sender struct {
	p    *Pacer
	size int
	sent uint64
}

// wake sends all that may leave at now and returns the number of bytes.
func (s *sender) wake(now time.Time) uint64 {
	before := s.sent
	for s.p.Delay(now) == 0 {
		s.p.Sent(now, s.size)
		s.sent += uint64(s.size)
	}
	return s.sent - before
}

func newPacer(rate uint64) *Pacer {
	p := new(Pacer)
	p.SetRate(rate)
	return p
}

// burst is the documented bound.
func burst(rate uint64) uint64 { return max(3000, rate/1000) }

func TestLongRunRate(t *testing.T) {
	for _, rate := range rates {
		for _, size := range []int{64, 1408, 64 << 10} {
			for _, step := range []time.Duration{0, time.Millisecond, 4 * time.Millisecond} {
				if size == 64 && rate > 125_000_000 {
					continue // takes long and says nothing new
				}
				s := sender{p: newPacer(rate), size: size}
				// Long enough for the first burst and the last packet not to matter.
				want := 250 * (burst(rate) + uint64(size))
				now := epoch
				first := s.wake(now)
				for wakes := 0; s.sent-first < want && wakes < 100_000; wakes++ {
					if step == 0 {
						now = s.p.Ready()
					} else {
						// The timer fires on a grid, at the first tick when sending is allowed.
						late := s.p.Ready().Sub(epoch)
						now = epoch.Add((late + step - 1) / step * step)
					}
					s.wake(now)
				}
				took := now.Sub(epoch)
				got := float64(s.sent-first) / took.Seconds()
				// The credit of the wait before the last wake-up is not used up by
				// less than one packet, nor overdrawn by more.
				slack := float64(size) / float64(s.sent-first)
				if e := math.Abs(got/float64(rate) - 1); e > 0.005+slack {
					t.Errorf("rate %d, packets of %d, timer %v: got %.1f bytes per second, error %.4f", rate, size, step, got, e)
				}
			}
		}
	}
}

// TestExact checks that nothing is rounded: after a million packets at an awkward rate
// the pacer is less than a nanosecond behind.
func TestExact(t *testing.T) {
	const rate, size, n = 999_999_937, 1409, 1_000_000
	p := newPacer(rate)
	now := epoch
	for range n {
		if ready := p.Ready(); ready.After(now) {
			now = ready
		}
		p.Sent(now, size)
	}
	// One burst is free: the last byte of packet n is paid for at Ready.
	bytes := float64(n*size) - float64(burst(rate)-1500)
	want := time.Duration(bytes / rate * 1e9)
	if d := (p.Ready().Sub(epoch) - want).Abs(); d > 2 {
		t.Fatalf("off by %v after %v", d, want)
	}
}

func TestBurstAfterIdle(t *testing.T) {
	for _, rate := range rates {
		s := sender{p: newPacer(rate), size: 100}
		s.wake(epoch) // the first burst
		for i, idle := range []time.Duration{time.Hour, 24 * time.Hour} {
			// A last small packet when there is credit left says that the sender
			// was not held back.
			now := epoch.Add(time.Duration(i+1) * 100 * time.Hour)
			s.p.Sent(now, 1)
			got := s.wake(now.Add(idle))
			if bound := burst(rate); got > bound || got+100 < bound-1500 {
				t.Errorf("rate %d: %d bytes at once after %v idle, want at most %d and about that", rate, got, idle, bound)
			}
		}
	}
}

func TestFirstBurst(t *testing.T) {
	for _, rate := range rates {
		for _, size := range []int{100, 1000, 1500} {
			s := sender{p: newPacer(rate), size: size}
			if got := s.wake(epoch); got > burst(rate) || got+uint64(size) <= burst(rate)-1500 {
				t.Errorf("rate %d, packets of %d: %d bytes at once, want at most %d", rate, size, got, burst(rate))
			}
		}
	}
}

// TestCatchUp checks that a sender that is woken late makes up for at most 5 ms.
func TestCatchUp(t *testing.T) {
	const rate, size = 12_500_000, 1000
	for _, tt := range []struct {
		late time.Duration
		want uint64
	}{
		{0, 1000},
		{time.Millisecond, 13_000},
		{3 * time.Millisecond, 38_000},
		{5 * time.Millisecond, 63_000},
		{50 * time.Millisecond, 63_000},
		{time.Hour, 63_000},
	} {
		s := sender{p: newPacer(rate), size: size}
		s.wake(epoch)
		got := s.wake(s.p.Ready().Add(tt.late))
		if got != tt.want {
			t.Errorf("%v late: %d bytes at once, want %d", tt.late, got, tt.want)
		}
	}
}

// TestBound is the property behind it all: in no interval does more leave than the
// bound plus the rate times the interval, whatever the sender does.
func TestBound(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	type event struct {
		at    time.Time
		bytes uint64
	}
	for _, rate := range rates {
		p := newPacer(rate)
		now := epoch
		var events []event
		var largest uint64
		for range 600 {
			if r.IntN(3) == 0 {
				now = now.Add(time.Duration(r.Int64N(int64(20 * time.Millisecond))))
			} else if ready := p.Ready(); ready.After(now) {
				now = ready.Add(time.Duration(r.Int64N(int64(2 * time.Millisecond))))
			}
			if p.Delay(now) == 0 {
				size := 1 + r.IntN(20_000)
				p.Sent(now, size)
				events = append(events, event{now, uint64(size)})
				largest = max(largest, uint64(size))
			}
		}
		bound := float64(max(3000, rate/200)) + float64(largest)
		for i := range events {
			sum := 0.0
			for _, e := range events[i:] {
				sum += float64(e.bytes)
				span := e.at.Sub(events[i].at).Seconds()
				if sum > bound+float64(rate)*span+1 {
					t.Fatalf("rate %d: %.0f bytes in %.6f s, want at most %.0f", rate, sum, span, bound+float64(rate)*span)
				}
			}
		}
	}
}

// TestBudget checks that Budget agrees with Delay, and that sending all of it leaves
// none.
func TestBudget(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, rate := range rates {
		p := newPacer(rate)
		now := epoch
		for range 1000 {
			budget := p.Budget(now)
			if (budget > 0) != (p.Delay(now) == 0) {
				t.Fatalf("rate %d: budget %d, delay %v", rate, budget, p.Delay(now))
			}
			if budget > 0 {
				p.Sent(now, budget+1)
				if at := p.Ready(); p.Budget(at) == 0 || at.After(now) && p.Budget(at.Add(-1)) != 0 {
					t.Fatalf("rate %d: budget %d when ready, %d before", rate, p.Budget(at), p.Budget(at.Add(-1)))
				}
				if p.Budget(now) > 1499 {
					t.Fatalf("rate %d: budget %d after sending all of %d", rate, p.Budget(now), budget)
				}
			}
			now = now.Add(time.Duration(r.Int64N(int64(10 * time.Millisecond))))
		}
	}
}

func TestUnpaced(t *testing.T) {
	var p Pacer
	for _, rate := range []uint64{0, math.MaxUint64} {
		p.SetRate(rate)
		p.Sent(epoch, math.MaxInt)
		if p.Delay(epoch) != 0 || !p.Ready().IsZero() || p.Budget(epoch) != math.MaxInt || p.Rate() != 0 {
			t.Errorf("rate %d: delay %v, ready %v, budget %d", rate, p.Delay(epoch), p.Ready(), p.Budget(epoch))
		}
	}
}

// TestSetRateKeepsDebt checks that what was sent too much is paid at the new rate.
func TestSetRateKeepsDebt(t *testing.T) {
	p := newPacer(1_000_000)
	p.Sent(epoch, 3000+98_500) // of which 1500 need no credit
	if got, want := p.Delay(epoch), 100*time.Millisecond; got != want {
		t.Fatalf("delay %v, want %v", got, want)
	}
	p.SetRate(10_000_000)
	if got, want := p.Delay(epoch), 10*time.Millisecond; got != want {
		t.Fatalf("delay %v at the new rate, want %v", got, want)
	}
}

// TestExtremes checks that nothing overflows.
func TestExtremes(t *testing.T) {
	for _, rate := range []uint64{1, 1e12} {
		p := newPacer(rate)
		p.Sent(epoch, math.MaxInt)
		p.Sent(epoch, math.MaxInt)
		if d := p.Delay(epoch); d < time.Duration(0.99*min(maxDebt, math.MaxInt*1e9)/float64(rate)) {
			t.Errorf("rate %d: delay %v for an endless packet", rate, d)
		}
		if p.Delay(epoch.Add(1<<62)) != 0 && rate != 1 {
			t.Errorf("rate %d: still waiting", rate)
		}
		p.Sent(epoch.Add(-time.Hour), 1) // the clock goes back
		p.Sent(epoch, 0)
		p.Sent(epoch, -5)
	}
}

func TestAllocs(t *testing.T) {
	p := newPacer(125_000_000)
	now := epoch
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(p.Delay(now))
		p.Budget(now)
		p.Sent(now, 1440)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkPacer(b *testing.B) {
	p := newPacer(1_250_000_000)
	now := epoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(p.Delay(now))
		p.Sent(now, 1440)
	}
}
