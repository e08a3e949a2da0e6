package wan

import (
	"math"
	"testing"
	"time"
)

// full is an Ethernet frame with a packet of 1500 bytes, 1538 bytes on the wire.
const full = 1514

func TestShaperRate(t *testing.T) {
	s := NewShaper(1, 0, 0, Params{Rate: 20e6, Delay: 10 * time.Millisecond, Queue: time.Hour})
	var last time.Duration
	for range 1000 {
		due, ok := s.Admit(0, full)
		if !ok {
			t.Fatal("frame dropped from an endless queue")
		}
		if got, want := due-last, 1538*8*time.Second/20e6; last > 0 && got != want {
			t.Fatalf("a full frame takes %v of the line, want %v", got, want)
		}
		last = due
	}
	if want := 1000*1538*8*time.Second/20e6 + 10*time.Millisecond; last != want {
		t.Errorf("1000 frames arrive after %v, want %v", last, want)
	}
}

func TestShaperIdleLineDoesNotSaveUp(t *testing.T) {
	s := NewShaper(1, 0, 0, Params{Rate: 12.304e6}) // 1 ms per full frame
	s.Admit(0, full)
	if due, _ := s.Admit(time.Second, full); due != time.Second+time.Millisecond {
		t.Errorf("frame after a pause is due at %v, want 1.001s", due)
	}
}

func TestShaperQueue(t *testing.T) {
	s := NewShaper(1, 0, 0, Params{Rate: 12.304e6, Queue: 50 * time.Millisecond})
	admitted := 0
	for range 100 {
		if _, ok := s.Admit(0, full); ok {
			admitted++
		}
	}
	// One in service, 50 ms of others, the last of which waits exactly 50 ms.
	if c := s.Counters(); admitted != 51 || c.QueueDrops != 49 || c.MaxQueue != 50*time.Millisecond {
		t.Errorf("admitted %d of 100, counters %+v; want 51, 49 dropped, 50ms", admitted, c)
	}
	if _, ok := s.Admit(time.Millisecond, full); !ok {
		t.Error("frame dropped after the queue had drained by one")
	}
}

func TestShaperJitter(t *testing.T) {
	for _, reorder := range []bool{false, true} {
		s := NewShaper(1, 0, 0, Params{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Reorder: reorder})
		var sum, last time.Duration
		swaps := 0
		const n = 10000
		for i := range n {
			now := time.Duration(i) * time.Millisecond
			due, _ := s.Admit(now, full)
			d := due - now
			if d < 20*time.Millisecond || d >= 30*time.Millisecond {
				t.Fatalf("delay of %v, want 20 to 30 ms", d)
			}
			if due < last {
				swaps++
			}
			last = due
			sum += d
		}
		if mean := sum / n; reorder && (mean-25*time.Millisecond).Abs() > 200*time.Microsecond {
			t.Errorf("mean delay %v, want 25ms", mean)
		}
		if (swaps > 0) != reorder {
			t.Errorf("reorder %v: %d frames overtaken", reorder, swaps)
		}
	}
}

func TestShaperLoss(t *testing.T) {
	const n = 100000
	lost, bursts := 0, 0
	run := func(p Params) (share, burst float64) {
		s := NewShaper(1, 0, 0, p)
		lost, bursts = 0, 0
		before := true
		for range n {
			_, ok := s.Admit(0, full)
			if !ok {
				lost++
				if before {
					bursts++
				}
			}
			before = ok
		}
		if c := s.Counters(); c.Lost != uint64(lost) || c.Packets != n {
			t.Errorf("counters %+v, want %d lost of %d", c, lost, n)
		}
		return float64(lost) / n, float64(lost) / float64(bursts)
	}
	if share, burst := run(Params{Loss: 0.02}); math.Abs(share-0.02) > 0.002 || burst > 1.1 {
		t.Errorf("loss 2%%: lost %.4f in bursts of %.2f", share, burst)
	}
	if share, burst := run(Params{Burst: Burst{Enter: 0.01, Leave: 0.2}}); math.Abs(share-0.01/0.21) > 0.005 || math.Abs(burst-5) > 0.4 {
		t.Errorf("burst 1%%, 20%%: lost %.4f in bursts of %.2f, want 0.0476 and 5", share, burst)
	}
	if share, _ := run(Params{}); share != 0 {
		t.Errorf("a line without loss lost %.4f", share)
	}
	if share, _ := run(Params{Loss: 1}); share != 1 {
		t.Errorf("a line with loss 1 lost %.4f", share)
	}
}

// TestShaperDrawsDependOnIndex checks that a frame's fate is the same whenever it
// arrives, and differs between lines and directions.
func TestShaperDrawsDependOnIndex(t *testing.T) {
	p := Params{Rate: 10e6, Loss: 0.3, Burst: Burst{Enter: 0.1, Leave: 0.5}, Queue: time.Hour}
	fates := func(seed uint64, line, direction int, gap time.Duration) (f [64]bool) {
		s := NewShaper(seed, line, direction, p)
		for i := range f {
			_, f[i] = s.Admit(time.Duration(i)*gap, full)
		}
		return f
	}
	want := fates(7, 1, 0, 0)
	if got := fates(7, 1, 0, time.Second); got != want {
		t.Error("fates depend on the time of arrival")
	}
	for _, k := range []struct {
		seed      uint64
		line, dir int
	}{{8, 1, 0}, {7, 0, 0}, {7, 1, 1}} {
		if fates(k.seed, k.line, k.dir, 0) == want {
			t.Errorf("seed, line, direction %v draws like 7, 1, 0", k)
		}
	}
}

// TestShaperDrawsAreIndependent checks that no two draws are one number.
func TestShaperDrawsAreIndependent(t *testing.T) {
	seen := make(map[float64]bool)
	for direction := range 2 {
		s := NewShaper(1, 0, direction, Params{})
		for n := range uint64(1000) {
			for kind := range uint64(draws) {
				d := s.draw(n, kind)
				if d < 0 || d >= 1 || seen[d] {
					t.Fatalf("direction %d, frame %d, kind %d draws %v, seen before: %v", direction, n, kind, d, seen[d])
				}
				seen[d] = true
			}
		}
	}
}

func TestShaperSilentDrops(t *testing.T) {
	s := NewShaper(1, 0, 0, Params{Blackhole: true})
	if _, ok := s.Admit(0, full); ok {
		t.Error("frame left a blackhole")
	}
	s.Set(Params{MTU: 1400})
	if _, ok := s.Admit(0, 1415); ok {
		t.Error("packet of 1401 bytes passed an MTU of 1400")
	}
	if _, ok := s.Admit(0, 1414); !ok {
		t.Error("packet of 1400 bytes did not pass an MTU of 1400")
	}
	if c := s.Counters(); c.Swallowed != 1 || c.TooBig != 1 || c.Packets != 3 {
		t.Errorf("counters %+v", c)
	}
}

func TestParamsValidate(t *testing.T) {
	nan := math.NaN()
	for _, p := range []Params{
		{Rate: -1}, {Rate: nan}, {Queue: -1}, {Delay: -1}, {Jitter: -1}, {Loss: 1.1}, {Loss: -0.1}, {Loss: nan},
		{Burst: Burst{Enter: 2}}, {Burst: Burst{Enter: 0.1, Leave: -1}}, {MTU: -1},
	} {
		if p.Validate() == nil {
			t.Errorf("%+v is valid", p)
		}
	}
	if err := (Params{Rate: 1e6, Loss: 1, Burst: Burst{1, 1}}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestShaperAllocs(t *testing.T) {
	s := NewShaper(1, 0, 0, Params{Rate: 1e9, Loss: 0.1, Jitter: time.Millisecond, Burst: Burst{0.1, 0.5}})
	var now time.Duration
	if n := testing.AllocsPerRun(1000, func() {
		now += time.Millisecond
		s.Admit(now, full)
	}); n != 0 {
		t.Errorf("Admit makes %v allocations", n)
	}
}
