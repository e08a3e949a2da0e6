package feedback

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
)

var epoch = time.Unix(1_000_000_000, 0)

// A naiveRecorder is a Recorder that remembers everything.
type naiveRecorder struct {
	got     map[uint64]bool
	highest uint64
	lowest  uint64
	bytes   uint32
}

func (n *naiveRecorder) arrived(number uint64, size int) (gap bool) {
	n.bytes += uint32(size + wire.DatagramOverhead)
	if n.got == nil {
		n.got = map[uint64]bool{number: true}
		n.highest, n.lowest = number, number
		return false
	}
	gap = number > n.highest+1
	n.got[number] = true
	n.highest, n.lowest = max(n.highest, number), min(n.lowest, number)
	return gap
}

// runs lists the runs down to the oldest number that is remembered, the last of which is
// one of numbers that have come.
func (n *naiveRecorder) runs() (runs []uint32) {
	got := false
	for at := n.highest; ; at-- {
		if n.got[at] != got {
			got = !got
			runs = append(runs, 0)
		}
		runs[len(runs)-1]++
		if at == n.lowest || at == n.highest-window+1 {
			break
		}
	}
	if len(runs) > wire.MaxRuns {
		runs = runs[:wire.MaxRuns]
	}
	if len(runs)%2 == 0 {
		runs = runs[:len(runs)-1]
	}
	return runs
}

// A Recorder reports what a list of all numbers has, and its reports are well-formed.
func TestRecorderAgainstList(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r, n := new(Recorder), new(naiveRecorder)
		next := []uint64{0, 5, 1<<32 - 500, 1 << 59}[seed%4]
		loss := []float64{0, 0.001, 0.02, 0.3}[seed/4%4]
		var late []uint64 // overtaken
		now := epoch
		for step := range 9000 {
			number := next
			switch {
			case len(late) > 0 && rng.IntN(3) == 0:
				number, late = late[0], late[1:]
			case rng.IntN(50) == 0:
				late = append(late, next)
				next++
				continue
			case rng.Float64() < loss:
				next += 1 + uint64(rng.IntN(3))
				continue
			case rng.IntN(2000) == 0:
				next += uint64(rng.IntN(2 * window))
				continue
			default:
				next++
			}
			now = now.Add(time.Duration(rng.IntN(1000)) * time.Microsecond)
			size := rng.IntN(1500)
			if got, want := r.Arrived(now, number, size), n.arrived(number, size); got != want {
				t.Fatalf("seed %d step %d: gap %v, want %v", seed, step, got, want)
			}
			if rng.IntN(20) > 0 {
				continue
			}
			var rep wire.LinkReport
			r.Report(now, 0, &rep)
			if got, want := rep.Runs[:rep.NumRuns], n.runs(); !slices.Equal(got, want) {
				t.Fatalf("seed %d step %d: runs %v\nwant %v", seed, step, got, want)
			}
			if rep.Highest != uint32(n.highest) || rep.Bytes != n.bytes {
				t.Fatalf("seed %d step %d: highest %d bytes %d, want %d and %d", seed, step, rep.Highest, rep.Bytes, n.highest, n.bytes)
			}
			if err := wire.CheckFeedback(wire.AppendLinkReport(nil, &rep)); err != nil {
				t.Fatalf("seed %d step %d: the peer refuses the report: %v", seed, step, err)
			}
		}
	}
}

// The number that has just fallen out of the window was missing: the report ends in a run
// of numbers that have come, all the same.
func TestRecorderLossAtTheEdge(t *testing.T) {
	var r Recorder
	r.Arrived(epoch, 0, 1)
	for n := uint64(2); n <= window; n++ {
		r.Arrived(epoch, n, 1)
	}
	var rep wire.LinkReport
	r.Report(epoch, 0, &rep)
	if rep.NumRuns != 1 || rep.Runs[0] != window-1 {
		t.Errorf("runs %v, want one of %d", rep.Runs[:rep.NumRuns], window-1)
	}
}

// Times and delays are of what they say they are of.
func TestRecorderTimes(t *testing.T) {
	var r Recorder
	if r.Worth() {
		t.Error("there is nothing to tell at first")
	}
	at := func(d time.Duration) time.Time { return epoch.Add(d) }
	ms := time.Millisecond
	r.Arrived(at(0), 10, 1000)
	r.Delay(65530)
	r.Arrived(at(3*ms), 12, 1000)
	r.Delay(4) // later than 65530, which is 6 before 0
	r.Arrived(at(5*ms), 11, 1000)
	r.Delay(1)

	var rep wire.LinkReport
	r.Report(at(8*ms), 1000, &rep)
	const clock = ^uint32(2000) + 1 // 1000 less 3 ms
	want := wire.LinkReport{
		Highest: 12, Age: 50, Arrived: clock, Bytes: 3 * (1000 + wire.DatagramOverhead),
		HasDelay: true, Delay: 1, Low: 65530, NumRuns: 1,
	}
	want.Runs[0] = 3
	if rep != want {
		t.Errorf("have %+v\nwant %+v", rep, want)
	}

	// Everything is told twice, but delays are those since the last report.
	if !r.Worth() {
		t.Error("what only one report has told is worth another")
	}
	r.Report(at(10*time.Second), 1000, &rep)
	if rep.HasDelay || rep.Age != 65535 || rep.Highest != 12 {
		t.Errorf("the second report is %+v", rep)
	}
	if r.Worth() {
		t.Error("what two reports have told is not worth a third")
	}
}

func TestRecorderAllocs(t *testing.T) {
	var r Recorder
	var rep wire.LinkReport
	n := uint64(0)
	r.Arrived(epoch, n, 1)
	if allocs := testing.AllocsPerRun(1000, func() {
		n += 1 + n%3/2
		r.Arrived(epoch, n, 1400)
		r.Delay(uint16(n))
		r.Report(epoch, 0, &rep)
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkRecorder(b *testing.B) {
	b.Run("arrived", func(b *testing.B) {
		b.ReportAllocs()
		var r Recorder
		for n := uint64(0); b.Loop(); n++ {
			r.Arrived(epoch, n, 1400)
		}
	})
	b.Run("report", func(b *testing.B) {
		b.ReportAllocs()
		var r Recorder
		for n := range uint64(2 * window) {
			if n%200 > 0 {
				r.Arrived(epoch, n, 1400)
			}
		}
		var rep wire.LinkReport
		for b.Loop() {
			r.Report(epoch, 0, &rep)
		}
	})
}
