package scheduler_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/scheduler/schedtest"
)

var epoch = time.Unix(1_000_000_000, 0)

func newWeighted() scheduler.Scheduler { return new(scheduler.Weighted) }

func TestWeighted(t *testing.T) {
	schedtest.TestScheduler(t, newWeighted)
	schedtest.TestProportional(t, newWeighted, 0)
}

func ExampleWeighted() {
	var s scheduler.Weighted
	paths := []scheduler.Path{
		{ID: 1, Usable: true, Weight: 12_500_000}, // fibre, 100 Mbit/s
		{ID: 2, Usable: true, Weight: 3_125_000},  // LTE, 25 Mbit/s
	}
	sent := make(map[scheduler.PathID]int)
	dst := make([]int, 0, 2)
	for range 1000 {
		p := scheduler.Packet{Size: 1400}
		d := s.Pick(epoch, p, paths, dst)
		for _, i := range d.To {
			s.Sent(epoch, paths[i].ID, p.Size)
			sent[paths[i].ID]++
		}
	}
	fmt.Println(sent)
	// Output: map[1:800 2:200]
}

// line is a Weighted and what each of its paths got.
type line struct {
	t     *testing.T
	s     scheduler.Weighted
	now   time.Time
	paths []scheduler.Path
	sent  map[scheduler.PathID]int
}

func newLine(t *testing.T, weights ...uint64) *line {
	l := &line{t: t, now: epoch, sent: make(map[scheduler.PathID]int)}
	for i, w := range weights {
		l.paths = append(l.paths, scheduler.Path{ID: scheduler.PathID(i), Usable: true, Weight: w})
	}
	return l
}

// send sends n packets, one at a time.
func (l *line) send(n, size int, c scheduler.Class) {
	l.t.Helper()
	for range n {
		d := l.s.Pick(l.now, scheduler.Packet{Size: size, Class: c}, l.paths, nil)
		if len(d.To) != 1 {
			l.t.Fatalf("Pick chose %v of %+v", d.To, l.paths)
		}
		id := l.paths[d.To[0]].ID
		l.s.Sent(l.now, id, size)
		l.sent[id] += size
	}
}

// wantSent checks what each path got since the last call.
func (l *line) wantSent(story string, tolerance int, want ...int) {
	l.t.Helper()
	l.t.Logf("# %s: %v", story, l.sent)
	for i, w := range want {
		if got := l.sent[l.paths[i].ID]; got < w-tolerance || got > w+tolerance {
			l.t.Errorf("%s: path %d sent %d bytes, want %d", story, i, got, w)
		}
	}
	clear(l.sent)
}

func TestUnknownWeights(t *testing.T) {
	l := newLine(t, 0, 0, 0)
	l.send(3000, 1000, scheduler.Bulk)
	l.wantSent("none known: all are equal", 2000, 1e6, 1e6, 1e6)

	l = newLine(t, 3000, 1000, 0)
	l.send(6000, 1000, scheduler.Bulk)
	l.wantSent("one unknown: it is the mean", 3000, 3e6, 1e6, 2e6)

	l.paths[0].Usable = false
	l.send(2000, 1000, scheduler.Bulk)
	l.wantSent("the mean is over usable paths", 3000, 0, 1e6, 1e6)

	l = newLine(t, 0, 0)
	l.send(2000, 1000, scheduler.Bulk)
	clear(l.sent)
	l.paths[0].Weight = 5e9
	l.send(2000, 1000, scheduler.Bulk)
	l.wantSent("a weight that becomes known leaves no debt behind", 3000, 1e6, 1e6)
}

func TestWeightChange(t *testing.T) {
	l := newLine(t, 1, 12_500_000_000)
	l.send(10_000, 1000, scheduler.Bulk)
	l.wantSent("extremes", 1000, 0, 10_000_000)
	l.paths[0].Weight = 12_500_000_000
	l.send(10_000, 1000, scheduler.Bulk)
	l.wantSent("made equal: the lead was a packet and stays one", 3000, 5_000_000, 5_000_000)
	l.paths[1].Weight = math.MaxUint64
	l.paths[0].Weight = math.MaxUint64
	l.send(10_000, 1000, scheduler.Bulk)
	l.wantSent("beyond any line", 3000, 5_000_000, 5_000_000)
}

func TestHeldBackDoesNotBurst(t *testing.T) {
	l := newLine(t, 1_250_000, 1_250_000)
	l.paths[1].Ready = epoch.Add(time.Second)
	l.send(1000, 1000, scheduler.Bulk)
	l.wantSent("path 1 is held back", 0, 1_000_000, 0)
	l.now = epoch.Add(time.Second)
	l.send(200, 1000, scheduler.Bulk)
	l.wantSent("it catches up 16 KiB", 2000, 100_000-8192, 100_000+8192)
	l.send(200, 1000, scheduler.Bulk)
	l.wantSent("once", 2000, 100_000, 100_000)
}

func TestAwayDoesNotBurst(t *testing.T) {
	l := newLine(t, 1_250_000, 1_250_000)
	l.paths[1].Usable = false
	l.send(1000, 1000, scheduler.Bulk)
	l.paths[1].Usable = true
	clear(l.sent)
	l.send(200, 1000, scheduler.Bulk)
	l.wantSent("it starts again at virtual time", 1000, 100_000, 100_000)
}

// TestVirtualTimeIsMonotone adds a path while another uses its credit.
func TestVirtualTimeIsMonotone(t *testing.T) {
	l := newLine(t, 1_250_000, 1_250_000)
	l.paths[1].Ready = epoch.Add(time.Second)
	l.send(1000, 1000, scheduler.Bulk)
	l.now = epoch.Add(time.Second)
	l.send(1, 1000, scheduler.Bulk)
	clear(l.sent)
	l.paths = append(l.paths, scheduler.Path{ID: 2, Usable: true, Weight: 1_250_000})
	l.send(15+30, 1000, scheduler.Bulk)
	l.wantSent("the new path has no part in it", 2000, 10_000, 25_000, 10_000)
}

func TestTiesDoNotDependOnIndex(t *testing.T) {
	a, b := newLine(t, 5, 5, 5), newLine(t, 5, 5, 5)
	b.paths[0], b.paths[2] = b.paths[2], b.paths[0]
	for i := range 100 {
		a.send(1, 1000, scheduler.Bulk)
		b.send(1, 1000, scheduler.Bulk)
		if fmt.Sprint(a.sent) != fmt.Sprint(b.sent) {
			t.Fatalf("after %d packets %v and, with paths reversed, %v", i+1, a.sent, b.sent)
		}
	}
}

// TestPacedBelowCapacity offers 90 % of what pacers of exactly the weights let
// through: held back every now and then, paths still get their exact share.
func TestPacedBelowCapacity(t *testing.T) {
	weights := []uint64{12_500_000, 1_250_000, 125_000}
	l := newLine(t, weights...)
	const size = 1250
	for sent := 0; sent < 100_000; {
		offered := int(l.now.Sub(epoch).Seconds() * 0.9 * 13_875_000 / size)
		for sent < offered {
			d := l.s.Pick(l.now, scheduler.Packet{Size: size}, l.paths, nil)
			if len(d.To) == 0 {
				break
			}
			q := &l.paths[d.To[0]]
			for range min(d.Run, offered-sent) {
				l.s.Sent(l.now, q.ID, size)
				l.sent[q.ID] += size
				sent++
				if q.Ready.Before(l.now) {
					q.Ready = l.now
				}
				q.Ready = q.Ready.Add(time.Duration(size * 1e9 / q.Weight))
			}
		}
		l.now = l.now.Add(50 * time.Microsecond)
	}
	const total = 100_000 * size
	want := func(w uint64) int { return int(float64(w) / 13_875_000 * total) }
	l.wantSent("offered 90 %", 44*size, want(weights[0]), want(weights[1]), want(weights[2]))
}

func TestDebtSurvivesAbsence(t *testing.T) {
	l := newLine(t, 100, 1_000_000)
	for range 100 {
		l.send(10, 1000, scheduler.Bulk)
		gone := l.paths[0]
		l.paths = l.paths[1:]
		l.send(10, 1000, scheduler.Bulk)
		l.paths = append([]scheduler.Path{gone}, l.paths...)
	}
	l.wantSent("a path that comes and goes is still slow", 2000, 0, 2_000_000)
}

func TestDebtIsPaidWhileAbsent(t *testing.T) {
	l := newLine(t, 1000, 1_000_000)
	l.send(2, 1000, scheduler.Bulk) // path 0 is now 1 s ahead
	gone := l.paths[0]
	l.paths = l.paths[1:]
	l.send(2000, 1000, scheduler.Bulk) // 2 s
	l.paths = append(l.paths, gone)
	clear(l.sent)
	l.send(2, 1000, scheduler.Bulk)
	l.wantSent("its turn again", 0, 1000, 1000)
}

func TestInteractive(t *testing.T) {
	l := newLine(t, 1_000_000, 1_000_000, 1_000_000)
	l.paths[1].RTT = 20 * time.Millisecond
	l.paths[2].RTT = 30 * time.Millisecond
	l.send(100, 100, scheduler.Interactive)
	l.wantSent("lowest RTT", 0, 0, 10_000, 0)
	l.send(200, 100, scheduler.Bulk)
	l.wantSent("the others make up for it", 100, 10_000, 0, 10_000)

	l.paths[1].Ready = l.now.Add(time.Second)
	l.send(10, 100, scheduler.Interactive)
	l.wantSent("lowest RTT that is ready", 0, 0, 0, 1000)
	l.paths[2].Usable = false
	l.send(10, 100, scheduler.Interactive)
	l.wantSent("unknown RTT is last", 0, 1000, 0, 0)
}

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		rate, weight uint64
		size, want   int
	}{
		{0, 0, 1400, 1},
		{0, 12_500_000, 1250, 2},         // 100 Mbit/s: 3125 bytes in 250 µs
		{12_500_000, 1, 1250, 2},         // the rate counts, not the weight
		{12_500_000, 1, 1563, 1},         // just not two
		{125_000_000, 0, 1250, 25},       // 1 Gbit/s
		{12_500_000_000, 0, 1250, 44},    // 100 Gbit/s
		{1, 12_500_000_000, 1250, 1},     // slow
		{math.MaxUint64, 0, 0, 44},       // odd
		{12_500_000, 0, 100, 31},         // small packets
		{math.MaxUint64, 0, 1 << 30, 44}, // large
	} {
		var s scheduler.Weighted
		paths := []scheduler.Path{{Usable: true, Rate: tt.rate, Weight: tt.weight}}
		d := s.Pick(epoch, scheduler.Packet{Size: tt.size}, paths, nil)
		if d.Run != tt.want {
			t.Errorf("rate %d weight %d size %d: run of %d, want %d", tt.rate, tt.weight, tt.size, d.Run, tt.want)
		}
	}
}

func BenchmarkWeighted(b *testing.B) {
	for _, n := range []int{1, 2, 4, 64} {
		b.Run(fmt.Sprintf("paths=%d", n), func(b *testing.B) {
			var s scheduler.Weighted
			paths := make([]scheduler.Path, n)
			for i := range paths {
				paths[i] = scheduler.Path{ID: scheduler.PathID(i), Usable: true, Weight: uint64(1_000_000 + i)}
			}
			dst := make([]int, 0, n)
			b.ReportAllocs()
			for b.Loop() {
				d := s.Pick(epoch, scheduler.Packet{Size: 1400}, paths, dst)
				s.Sent(epoch, paths[d.To[0]].ID, 1400)
			}
		})
	}
}

// TestOverflow checks when a path of a worse tier takes packets although a better one
// works: when that has no room, if it may, and if it has room itself.
func TestOverflow(t *testing.T) {
	later := epoch.Add(time.Millisecond)
	for _, tc := range []struct {
		name  string
		paths []scheduler.Path
		want  int // index of the path chosen, -1 for none
	}{
		{"room in the better tier", []scheduler.Path{{Usable: true}, {Usable: true, Tier: 1, Overflow: true}}, 0},
		{"no room", []scheduler.Path{{Usable: true, Ready: later}, {Usable: true, Tier: 1, Overflow: true}}, 1},
		{"no room, may not", []scheduler.Path{{Usable: true, Ready: later}, {Usable: true, Tier: 1}}, -1},
		{"no room anywhere", []scheduler.Path{{Usable: true, Ready: later}, {Usable: true, Tier: 1, Overflow: true, Ready: later}}, -1},
		{"room in one of the better tier", []scheduler.Path{{Usable: true, Ready: later}, {Usable: true, Tier: 1, Overflow: true}, {Usable: true}}, 2},
		{"the cheaper overflow", []scheduler.Path{{Usable: true, Ready: later}, {Usable: true, Tier: 2, Overflow: true}, {Usable: true, Tier: 1, Overflow: true}}, 2},
		{"one of two may", []scheduler.Path{{Usable: true, Ready: later}, {Usable: true, Tier: 1}, {Usable: true, Tier: 1, Overflow: true}}, 2},
		{"down", []scheduler.Path{{Usable: true, Ready: later}, {Tier: 1, Overflow: true}}, -1},
	} {
		for i := range tc.paths {
			tc.paths[i].ID = scheduler.PathID(i)
		}
		for _, s := range []scheduler.Scheduler{new(scheduler.Weighted), new(scheduler.Adaptive)} {
			d := s.Pick(epoch, scheduler.Packet{Size: 1000, Backlog: 1 << 20}, tc.paths, nil)
			got := -1
			if len(d.To) == 1 {
				got = d.To[0]
			}
			if got != tc.want || got < 0 && !d.Until.Equal(later) {
				t.Errorf("%T: %s: path %d until %v, want %d", s, tc.name, got, d.Until, tc.want)
			}
		}
	}
	// A pacer that holds a path back for a moment is no reason.
	paths := []scheduler.Path{{Usable: true, Rate: 1e6, Ready: later}, {ID: 1, Usable: true, Tier: 1, Overflow: true}}
	if d := new(scheduler.Adaptive).Pick(epoch, scheduler.Packet{Size: 1000, Backlog: 5000}, paths, nil); len(d.To) != 0 {
		t.Errorf("5 ms of packets overflow to path %d", d.To)
	}
}
