package mlvpn

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
)

// stamps say of each packet what a list of the stamps that came says.
func TestStampsAgainstList(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var s stamps
		seen := make(map[int64]bool) // unwrapped
		next := []int64{0, wire.MaxStamp - 3000, 1 << 23, stampWindow - 1}[seed%4] + 1<<24
		newest := int64(-1)
		for step := range 30000 {
			at := next
			switch rng.IntN(8) {
			default:
				next++
			case 4, 5:
				at = next - rng.Int64N(100)
			case 6:
				at = next - rng.Int64N(2*stampWindow)
			case 7:
				if rng.IntN(100) == 0 {
					next += rng.Int64N(3 * stampWindow)
				}
				at = next
				next++
			}
			newest = max(newest, at)
			old := at <= newest-stampWindow
			want := old || !seen[at]
			if !old {
				seen[at] = true
			}
			if got := s.first(uint32(at & wire.MaxStamp)); got != want {
				t.Fatalf("seed %d step %d: stamp %d of newest %d is first %v, want %v", seed, step, at, newest, got, want)
			}
		}
	}
}

// A fifo does what a slice does, and forgets what it has given back.
func TestFIFOAgainstSlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var f fifo
	var want []uint32
	for step := range uint32(20000) {
		grow := step/500%2 == 0
		if grow && rng.IntN(3) > 0 || len(want) == 0 {
			f.push(sentPacket{stamp: step, buf: make([]byte, 1)})
			want = append(want, step)
		} else {
			if got := f.pop(); got.stamp != want[0] {
				t.Fatalf("step %d: popped %d, want %d", step, got.stamp, want[0])
			}
			want = want[1:]
		}
		if f.len() != len(want) {
			t.Fatalf("step %d: length %d, want %d", step, f.len(), len(want))
		}
		for i := range want {
			if got := f.at(i).stamp; got != want[i] {
				t.Fatalf("step %d: at %d is %d, want %d", step, i, got, want[i])
			}
		}
	}
	for i, p := range f.items[:cap(f.items)] {
		if (i < f.head || i >= len(f.items)) && p.buf != nil {
			t.Fatalf("element %d still has a buffer", i)
		}
	}
	if n := cap(f.items); n > 2048 {
		t.Errorf("there is room for %d packets", n)
	}
}

// The times of reports are those of SPEC.md, section 4.8.
func TestReporting(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	want := func(c *reporting, story string, when time.Time) {
		t.Helper()
		if got := c.at(); !got.Equal(when) {
			t.Errorf("%s: the next report is due at %v, want %v", story, got.Sub(start), when.Sub(start))
		}
	}
	var c reporting
	want(&c, "nothing has come", time.Time{})
	c.arrived(at(0), false)
	want(&c, "one packet", at(25))
	c.arrived(at(20), false)
	want(&c, "a packet later", at(25))
	c.reported(at(25))
	want(&c, "it was reported", time.Time{})

	for range 59 {
		c.arrived(at(26), false)
		want(&c, "fewer than 60 packets", at(51))
	}
	c.arrived(at(27), false)
	want(&c, "60 packets soon after a report", at(40))
	c.reported(at(40))

	c.arrived(at(60), true)
	want(&c, "a gap long after a report", at(44))
	c.reported(at(60))
	want(&c, "after a gap it is said twice", at(64))
	c.arrived(at(61), true)
	want(&c, "another gap", at(64))
	c.reported(at(64))
	want(&c, "said once", at(68))
	c.reported(at(68))
	want(&c, "said twice", time.Time{})
}

// Whatever arrives, no packet waits longer than 25 ms for its report, and without gaps
// there are no more reports than one each 15 ms.
func TestReportingBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for _, gaps := range []int{0, 50} {
		var c reporting
		now := time.Unix(1000, 0)
		oldest, last, twice := time.Time{}, time.Time{}, 0
		for range 50000 {
			step := time.Duration(rng.ExpFloat64() * float64([]time.Duration{50, 1000, 20000}[rng.IntN(3)]) * float64(time.Microsecond))
			next := now.Add(step)
			for due := c.at(); !due.IsZero() && !due.After(next); due = c.at() {
				if due.After(now) {
					now = due
				}
				if !oldest.IsZero() && now.Sub(oldest) > reportAfter {
					t.Fatalf("a packet waited %v for its report", now.Sub(oldest))
				}
				if d := now.Sub(last); d < gapEvery || gaps == 0 && d < reportEvery {
					t.Fatalf("a report %v after the last", d)
				}
				c.reported(now)
				last, oldest = now, time.Time{}
				twice = max(twice-1, 0)
			}
			now = next
			gap := gaps > 0 && rng.IntN(gaps) == 0
			c.arrived(now, gap)
			if gap {
				twice = urgentReports
			}
			if oldest.IsZero() {
				oldest = now
			}
			if due := c.at(); twice > 0 && due.Sub(now) > gapEvery {
				t.Fatalf("what is missing would be reported in %v", due.Sub(now))
			}
		}
	}
}

func TestReportStateAllocs(t *testing.T) {
	var s stamps
	var f fifo
	var c reporting
	now := time.Unix(1000, 0)
	n := uint32(0)
	s.first(0)
	for range 64 {
		f.push(sentPacket{})
	}
	if allocs := testing.AllocsPerRun(1000, func() {
		n += 1 + n%5/4
		s.first(n & wire.MaxStamp)
		f.pop()
		f.push(sentPacket{stamp: n})
		c.arrived(now, n%7 == 0)
		now = c.at()
		c.reported(now)
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkStamps(b *testing.B) {
	b.ReportAllocs()
	var s stamps
	for n := uint32(0); b.Loop(); n++ {
		s.first(n & wire.MaxStamp)
	}
}
