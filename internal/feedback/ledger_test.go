package feedback

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
)

// A naiveLedger remembers every datagram by its number, and asks every report about each.
type naiveLedger struct {
	all      map[uint64]*naiveEntry
	next     uint64
	newest   uint64
	reported bool
}

type naiveEntry struct {
	sent  time.Time
	size  int
	quiet bool
	lost  bool
}

func (n *naiveLedger) base() uint64 {
	low := n.next
	for at := range n.all {
		low = min(low, at)
	}
	return low
}

func (n *naiveLedger) inFlight() (sum int) {
	for _, e := range n.all {
		if !e.lost {
			sum += e.size
		}
	}
	return sum
}

// apply returns the fate of each datagram that a report with this full number tells of.
func (n *naiveLedger) apply(highest uint64, runs []uint32) map[uint64]Fate {
	fates := make(map[uint64]Fate)
	if highest >= n.next || highest < n.base() {
		return fates
	}
	at := highest + 1 // runs end below
	for i, run := range runs {
		low := at - min(at, uint64(run))
		for number, e := range n.all {
			if number < low || number >= at {
				continue
			}
			switch {
			case i%2 == 0 && e.lost:
				fates[number] = Spurious
				delete(n.all, number)
			case i%2 == 0:
				fates[number] = Acked
				delete(n.all, number)
			case !e.lost:
				fates[number] = Lost
				e.lost = true
			}
		}
		at = low
	}
	if !n.reported || highest >= n.newest {
		n.newest, n.reported = highest+1, true
	}
	return fates
}

func (n *naiveLedger) oldest() (at uint64, ok bool) {
	for number, e := range n.all {
		if !e.lost && !e.quiet && (!n.reported || number >= n.newest) && (!ok || number < at) {
			at, ok = number, true
		}
	}
	return at, ok
}

// A ledgerTest has a Ledger and its model say the same.
type ledgerTest struct {
	t *testing.T
	l Ledger[uint64]
	n naiveLedger
}

func newLedgerTest(t *testing.T, first uint64) *ledgerTest {
	return &ledgerTest{t: t, n: naiveLedger{all: make(map[uint64]*naiveEntry), next: first}}
}

func (x *ledgerTest) send(now time.Time, number uint64, size int, quiet bool) {
	x.t.Helper()
	x.l.Sent(now, number, size, quiet, Marker{Sent: number}, number, func(v *uint64) {
		if _, ok := x.n.all[*v]; !ok || number-*v < MaxOutstanding {
			x.t.Fatalf("sending %d it forgot %d", number, *v)
		}
		delete(x.n.all, *v)
	})
	x.n.all[number] = &naiveEntry{sent: now, size: size, quiet: quiet}
	x.n.next = number + 1
	x.check()
}

func (x *ledgerTest) report(highest uint64, runs ...uint32) (a Ack) {
	x.t.Helper()
	rep := wire.LinkReport{Highest: uint32(highest), NumRuns: len(runs)}
	copy(rep.Runs[:], runs)
	want := x.n.apply(highest, runs)
	a = x.l.Apply(&rep, func(f Fate, sent time.Time, size int, v *uint64) {
		if w, ok := want[*v]; !ok || w != f {
			x.t.Fatalf("report %d %v: number %d has fate %d, want %d, %v", highest, runs, *v, f, w, ok)
		}
		delete(want, *v)
	})
	if len(want) > 0 {
		x.t.Fatalf("report %d %v: it does not tell of %v", highest, runs, want)
	}
	x.check()
	return a
}

func (x *ledgerTest) expire(before time.Time) {
	x.t.Helper()
	base := x.n.base()
	x.l.Expire(before, func(v *uint64) {
		e, ok := x.n.all[*v]
		if !ok || !e.sent.Before(before) || *v < base {
			x.t.Fatalf("it forgot %d, of %+v", *v, e)
		}
		delete(x.n.all, *v)
	})
	for number, e := range x.n.all {
		if e.sent.Before(before) {
			x.t.Fatalf("it still has number %d of %v ago", number, before.Sub(e.sent))
		}
	}
	x.check()
}

func (x *ledgerTest) check() {
	x.t.Helper()
	if got, want := x.l.InFlight(), x.n.inFlight(); got != want {
		x.t.Fatalf("%d bytes in flight, want %d", got, want)
	}
	at, any := x.n.oldest()
	sent, since, ok := x.l.Oldest(0)
	if ok != any || ok && (!sent.Equal(x.n.all[at].sent) || since != int(x.n.next-at)) {
		x.t.Fatalf("oldest %v, %d, %v; want number %d of next %d, %v", sent, since, ok, at, x.n.next, any)
	}
}

// A Ledger tells of each datagram what a map of all of them has.
func TestLedgerAgainstMap(t *testing.T) {
	for seed := range uint64(24) {
		rng := rand.New(rand.NewPCG(seed, 2))
		next := []uint64{0, 7, 1<<32 - 100, 1<<33 - 1}[seed%4]
		x := newLedgerTest(t, next)
		var far Recorder
		var under []uint64
		now := epoch
		for range 1500 {
			now = now.Add(time.Duration(rng.IntN(2000)) * time.Microsecond)
			switch rng.IntN(8) {
			default:
				next += uint64(rng.IntN(30) / 29) // a number may be used for something else
				x.send(now, next, rng.IntN(1500), rng.IntN(4) == 0)
				if rng.IntN(12) > 0 {
					under = append(under, next)
				}
				next++
			case 4, 5, 6:
				for range min(len(under), rng.IntN(4)) {
					i := min(rng.IntN(12), len(under)-1) * rng.IntN(2)
					far.Arrived(now, under[i], 1)
					under = append(under[:i], under[i+1:]...)
				}
				if !far.Worth() {
					continue
				}
				var rep wire.LinkReport
				far.Report(now, 0, &rep)
				x.report(next-1-uint64(uint32(next-1)-rep.Highest), rep.Runs[:rep.NumRuns]...)
			case 7:
				if rng.IntN(20) == 0 {
					x.expire(now.Add(-time.Duration(rng.IntN(40)) * time.Millisecond))
				}
			}
		}
		x.l.Abandon(func(v *uint64) {
			if e := x.n.all[*v]; e == nil || e.lost {
				t.Fatalf("seed %d: abandoned %d, of %+v", seed, *v, e)
			}
			delete(x.n.all, *v)
		})
		for number, e := range x.n.all {
			if !e.lost {
				t.Fatalf("seed %d: number %d was not abandoned", seed, number)
			}
		}
		x.check()
	}
}

// Each fate is told once, however often it is reported, and late arrivals are told.
func TestLedgerFates(t *testing.T) {
	x := newLedgerTest(t, 0)
	for n := range uint64(10) {
		x.send(epoch, n, 100, false)
	}
	if a := x.report(6, 2, 3, 2); !a.New || a.Marker.Sent != 6 || a.Size != 100 || !a.Sent.Equal(epoch) {
		t.Errorf("Ack %+v", a)
	}
	if a := x.report(6, 2, 3, 2); a.New || x.l.InFlight() != 300 {
		t.Errorf("the same report again is %+v, with %d bytes in flight", a, x.l.InFlight())
	}
	if a := x.report(5, 6); a.New {
		t.Errorf("an overtaken report is %+v", a)
	}
	x.report(9, 10)
	if n := x.l.InFlight(); n != 0 {
		t.Errorf("%d bytes in flight", n)
	}
}

// A report that the receiver made of something that is not in the books, such as a probe
// of another address, says nothing of times.
func TestLedgerUnknownNumber(t *testing.T) {
	x := newLedgerTest(t, 0)
	x.send(epoch, 0, 100, false)
	x.send(epoch, 2, 100, false)
	if a := x.report(1, 2); a.New {
		t.Errorf("Ack %+v of a number that was not entered", a)
	}
	if n := x.l.InFlight(); n != 100 {
		t.Errorf("%d bytes in flight, want 100", n)
	}
	if a := x.report(2, 3); !a.New || !a.Sent.Equal(epoch) {
		t.Errorf("Ack %+v", a)
	}
}

// A run that reaches below number 0 does not go on at the other end.
func TestLedgerBelowZero(t *testing.T) {
	x := newLedgerTest(t, 0)
	for n := range uint64(minLedger) {
		x.send(epoch, n, 100, false)
	}
	x.report(10, 1<<32-1)
	if n := x.l.InFlight(); n != (minLedger-11)*100 {
		t.Errorf("%d bytes in flight", n)
	}
}

// A Ledger forgets the oldest beyond MaxOutstanding, and gives back its memory.
func TestLedgerBounded(t *testing.T) {
	var l Ledger[int]
	forgotten := 0
	for n := range uint64(3 * MaxOutstanding) {
		l.Sent(epoch, n, 10, false, Marker{}, int(n), func(v *int) {
			if *v != forgotten {
				t.Fatalf("forgot %d, want %d", *v, forgotten)
			}
			forgotten++
		})
	}
	if forgotten != 2*MaxOutstanding || l.InFlight() != 10*MaxOutstanding || len(l.ring) != MaxOutstanding {
		t.Errorf("%d forgotten, %d bytes in flight, room for %d", forgotten, l.InFlight(), len(l.ring))
	}
	l.Expire(epoch.Add(1), func(*int) { forgotten++ })
	if forgotten != 3*MaxOutstanding || l.InFlight() != 0 || l.ring != nil {
		t.Errorf("after Expire: %d forgotten, %d bytes in flight, room for %d", forgotten, l.InFlight(), len(l.ring))
	}
}

// A peer cannot have a Ledger panic, work beyond what was sent, or believe in what was not.
func FuzzLedger(f *testing.F) {
	f.Add(uint64(0), []byte{0, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1})
	f.Add(uint64(1<<32-3), []byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, first uint64, body []byte) {
		first %= 1 << 60
		var l Ledger[uint64]
		const sent = 100
		for n := first; n < first+sent; n++ {
			l.Sent(epoch, n, 10, false, Marker{}, n, func(*uint64) { t.Fatal("forgot") })
		}
		told := make(map[[2]uint64]bool)
		var rep wire.LinkReport
		for len(body) > 0 {
			var err error
			if body, err = wire.NextLinkReport(body, &rep); err != nil {
				break
			}
			a := l.Apply(&rep, func(f Fate, _ time.Time, _ int, v *uint64) {
				if *v < first || *v >= first+sent {
					t.Fatalf("told of %d", *v)
				}
				key := [2]uint64{*v, uint64(f)}
				if told[key] || f == Spurious && !told[[2]uint64{*v, uint64(Lost)}] {
					t.Fatalf("number %d has fate %d, of %v", *v-first, f, told)
				}
				told[key] = true
			})
			if a.New && rep.Highest-uint32(first) >= sent {
				t.Fatalf("a report of %d, which was not sent, is %+v", rep.Highest, a)
			}
		}
		if n := l.InFlight(); n < 0 || n > sent*10 {
			t.Fatalf("%d bytes in flight", n)
		}
		l.Expire(epoch.Add(1), func(*uint64) {})
		if n := l.InFlight(); n != 0 {
			t.Fatalf("%d bytes in flight when all is forgotten", n)
		}
	})
}

func TestLedgerAllocs(t *testing.T) {
	var l Ledger[uint64]
	n := uint64(0)
	forget := func(*uint64) {}
	fate := func(Fate, time.Time, int, *uint64) {}
	hostile := wire.LinkReport{NumRuns: wire.MaxRuns}
	for i := range hostile.Runs {
		hostile.Runs[i] = 1<<32 - 1
	}
	once := func() {
		for range 50 {
			l.Sent(epoch, n, 100, false, Marker{}, n, forget)
			n++
		}
		rep := wire.LinkReport{Highest: uint32(n - 1), NumRuns: 3}
		rep.Runs[0], rep.Runs[1], rep.Runs[2] = 20, 10, 20
		l.Apply(&rep, fate)
		hostile.Highest = uint32(n*n) ^ binary.BigEndian.Uint32([]byte{1, 2, 3, 4})
		l.Apply(&hostile, fate)
		hostile.Highest = uint32(n - 1)
		l.Apply(&hostile, fate)
	}
	once()
	if allocs := testing.AllocsPerRun(100, once); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkLedger(b *testing.B) {
	b.ReportAllocs()
	var l Ledger[uint64]
	forget := func(*uint64) {}
	fate := func(Fate, time.Time, int, *uint64) {}
	rep := wire.LinkReport{NumRuns: 1}
	rep.Runs[0] = 4000
	for n := uint64(0); b.Loop(); n++ {
		l.Sent(epoch, n, 1400, false, Marker{}, n, forget)
		if n%60 == 59 {
			rep.Highest = uint32(n)
			l.Apply(&rep, fate)
		}
	}
}

// What was not sent after all is not under way, and no report tells of it.
func TestLedgerDrop(t *testing.T) {
	var l Ledger[int]
	now := time.Now()
	for n := range uint64(4) {
		l.Sent(now, 1<<32-2+n, 100, false, Marker{}, int(n), func(*int) {})
	}
	dropped := 0
	for _, low := range []uint32{0, 0, 77} { // number 2^32, again, and one that was never sent
		l.Drop(low, func(v *int) { dropped += *v })
	}
	if dropped != 2 || l.InFlight() != 300 {
		t.Errorf("dropped packet %d, %d bytes in flight, want packet 2 and 300 bytes", dropped, l.InFlight())
	}
	var told []int
	l.Apply(&wire.LinkReport{Highest: 1, Runs: [wire.MaxRuns]uint32{1, 2, 1}, NumRuns: 3}, func(f Fate, _ time.Time, _ int, v *int) { told = append(told, *v) })
	if !slices.Equal(told, []int{3, 1, 0}) {
		t.Errorf("the report told of %v, want all but the packet that was dropped", told)
	}
}
