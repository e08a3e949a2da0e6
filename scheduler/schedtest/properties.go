package schedtest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/scheduler"
)

var properties = []property{
	{"Empty", checkEmpty},
	{"Usable", checkUsable},
	{"Tiers", checkTiers},
	{"Degraded", checkDegraded},
	{"MTU", checkMTU},
	{"Until", checkUntil},
	{"Overflow", checkOverflow},
	{"Only", checkOnly},
	{"Copies", checkCopies},
	{"Question", checkQuestion},
	{"Borrow", checkBorrow},
	{"Deterministic", checkDeterministic},
	{"Work", checkWork},
	{"Identity", checkIdentity},
	{"ComeAndGo", checkComeAndGo},
	{"SixtyFour", checkSixtyFour},
	{"Random", checkRandom},
	{"Allocs", checkAllocs},
}

var full = scheduler.Packet{Size: 1400}

// checkEmpty: no path, or none that is usable, is an ordinary answer.
func checkEmpty(r reporter, newScheduler func() scheduler.Scheduler) {
	h := newHarness(r, newScheduler())
	h.pick(full)
	h.s.Sent(h.now, 9, 1400)
	h.paths = paths(3)
	h.send(full, 1)
	for i := range h.paths {
		h.paths[i].Usable = false
		h.paths[i].Ready = epoch.Add(time.Second)
	}
	h.pick(full)
	h.paths = nil
	h.pick(full)
	h.s.Sent(h.now, 1, 1400)
}

// checkUsable: a path that is not usable must not be chosen.
func checkUsable(r reporter, newScheduler func() scheduler.Scheduler) {
	for n := range 8 {
		h := newHarness(r, newScheduler(), paths(3)...)
		for i := range h.paths {
			h.paths[i].Usable = n>>i&1 != 0
		}
		for range 50 {
			h.send(full, 44)
		}
	}
}

// checkTiers: a path is used only when no better tier has a usable one.
func checkTiers(r reporter, newScheduler func() scheduler.Scheduler) {
	h := newHarness(r, newScheduler(), paths(3)...)
	for i := range h.paths {
		h.paths[i].Tier = uint8(2 - i)
		h.paths[i].RTT = time.Duration(1+i) * time.Millisecond
		h.paths[i].Weight <<= 4 * (2 - i)
	}
	each := func() {
		for range 50 {
			h.send(full, 44)
			h.send(scheduler.Packet{Size: 100, Class: scheduler.Interactive}, 44)
		}
	}
	each()
	h.paths[2].Ready = h.now.Add(time.Second)
	each()
	h.paths[2].Usable = false
	each()
	h.paths[2].Usable = true
	each()
}

// checkDegraded: degraded paths are used only when no usable path of any tier is
// better.
func checkDegraded(r reporter, newScheduler func() scheduler.Scheduler) {
	h := newHarness(r, newScheduler(), paths(4)...)
	h.paths[0].Degraded = true
	h.paths[1].Degraded, h.paths[1].Tier = true, 1
	h.paths[2].Tier = 1
	h.paths[3].Tier = 2
	for down := len(h.paths); down >= 0; down-- {
		if down < len(h.paths) {
			h.paths[down].Usable = false
		}
		for range 20 {
			h.send(full, 44)
			h.send(scheduler.Packet{Size: 100, Class: scheduler.Interactive}, 1)
		}
	}
}

// checkMTU: a path carries no packet above its MTU, and its tier does not count for
// such a packet.
func checkMTU(r reporter, newScheduler func() scheduler.Scheduler) {
	h := newHarness(r, newScheduler(), paths(3)...)
	h.paths[0].MTU = 1200
	h.paths[1].MTU = 500
	h.paths[2].Tier = 1
	h.paths[2].MTU = 1500
	for range 50 {
		for _, size := range []int{40, 500, 501, 1200, 1201, 1500, 1501} {
			h.send(scheduler.Packet{Size: size}, 3)
		}
	}
}

// checkUntil: a packet waits only if a path that it should take is held back, and until
// the first of these is ready.
func checkUntil(r reporter, newScheduler func() scheduler.Scheduler) {
	waits(newHarness(r, newScheduler(), paths(4)...))
}

// checkEager: a packet waits only if every path that could take it is held back.
func checkEager(r reporter, newScheduler func() scheduler.Scheduler) {
	h := newHarness(r, newScheduler(), paths(4)...)
	h.eager = true
	waits(h)
	rng := rand.New(rand.NewPCG(8, 8))
	for range 2000 {
		h.now = h.now.Add(time.Duration(rng.IntN(3e6)))
		h.paths = randomPaths(rng, rng.IntN(9), h.now)
		h.send(randomPacket(rng), 1+rng.IntN(44))
	}
}

// waits asks for packets while paths become ready one after the other.
func waits(h *harness) {
	h.send(full, 1)
	h.paths[0].Ready = epoch.Add(30 * time.Millisecond)
	h.paths[1].Ready = epoch.Add(20 * time.Millisecond)
	h.paths[2].Ready = epoch.Add(10 * time.Millisecond)
	h.paths[2].MTU = 1000
	h.paths[3].Ready = epoch.Add(5 * time.Millisecond)
	h.paths[3].Tier = 1
	for range 50 {
		h.send(full, 1)
		h.send(scheduler.Packet{Size: 60, Class: scheduler.Interactive}, 1)
		h.now = h.now.Add(time.Millisecond)
	}
}

// checkOverflow: a path with Overflow takes what the better tiers have no room for, and
// nothing else; one without it takes nothing.
func checkOverflow(r reporter, newScheduler func() scheduler.Scheduler) {
	h := newHarness(r, newScheduler(), paths(4)...)
	for i := range h.paths {
		h.paths[i].Rate = 1_250_000
	}
	h.paths[1].Tier = 1
	h.paths[2].Tier, h.paths[2].Overflow = 2, true
	h.paths[3].Tier, h.paths[3].Overflow = 3, true
	p := full
	p.Backlog = 1 << 30
	for _, class := range []scheduler.Class{scheduler.Bulk, scheduler.Interactive} {
		p.Class = class
		for step := range 100 {
			h.paths[0].Ready = h.now
			if step%2 > 0 {
				h.paths[0].Ready = h.now.Add(time.Second)
			}
			d := h.pick(p)
			// Path 2 is the best of those that may.
			if want := 2 * (step % 2); len(d.To) != 1 || d.To[0] != want {
				r.Fatalf("a path with Overflow takes what better tiers have no room for: got %v, want %d of %+v", d.To, want, h.paths)
			}
			h.send(p, 1)
		}
	}
}

// checkOnly: a path that is not in Only must not be chosen, and what is said of tiers
// goes for those in it.
func checkOnly(r reporter, newScheduler func() scheduler.Scheduler) {
	h := newHarness(r, newScheduler(), paths(4)...)
	h.paths[2].Tier = 1
	h.paths[3].Usable = false
	for only := range scheduler.PathSet(1 << 4) {
		for range 20 {
			h.send(scheduler.Packet{Size: 1000, Only: only}, 3)
			h.send(scheduler.Packet{Size: 60, Class: scheduler.Interactive, Only: only}, 3)
		}
	}
}

// checkCopies: who asks for copies gets at least as many, if so many paths could take
// one now.
func checkCopies(r reporter, newScheduler func() scheduler.Scheduler) {
	h := newHarness(r, newScheduler(), paths(4)...)
	h.paths[3].Tier = 1
	for copies := range 5 {
		for range 20 {
			d := h.pick(scheduler.Packet{Size: 1000, Copies: copies})
			if want := min(1+copies, 3); len(d.To) < want {
				r.Fatalf("Copies is how many copies are wanted besides: %d paths for %d copies", len(d.To), copies)
			}
			h.send(scheduler.Packet{Size: 1000, Copies: copies}, 1)
		}
	}
}

// checkQuestion: Pick alone changes nothing that a later Pick could notice.
func checkQuestion(r reporter, newScheduler func() scheduler.Scheduler) {
	asked, twin := newHarness(r, newScheduler()), newHarness(r, newScheduler())
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		now := asked.now.Add(time.Duration(rng.IntN(1e6)))
		given := randomPaths(rng, 5, now)
		p := randomPacket(rng)
		asked.now, twin.now = now, now

		asked.paths = given
		first := asked.pick(p)
		first.To = slices.Clone(first.To)
		for range rng.IntN(4) {
			asked.paths = randomPaths(rng, rng.IntN(8), now)
			asked.pick(randomPacket(rng))
		}
		asked.paths = given
		again := asked.pick(p)
		if !reflect.DeepEqual(first.To, slices.Clone(again.To)) || first.Run != again.Run || !first.Until.Equal(again.Until) {
			r.Fatalf("Pick alone changes nothing that a later Pick could notice: first %v, then %v", describe(first), describe(again))
		}
		twin.paths = given
		if a, b := asked.send(p, 3), twin.send(p, 3); a != b || asked.total() != twin.total() {
			r.Fatalf("Pick alone changes nothing: asked often it sent %d, asked once %d", a, b)
		}
	}
	equalBytes(r, asked, twin, "Pick alone changes nothing")
}

// checkBorrow: Pick must not retain paths.
func checkBorrow(r reporter, newScheduler func() scheduler.Scheduler) {
	reuse, fresh := newHarness(r, newScheduler()), newHarness(r, newScheduler())
	rng := rand.New(rand.NewPCG(2, 2))
	for range 500 {
		now := reuse.now.Add(time.Duration(rng.IntN(1e6)))
		given := randomPaths(rng, 4, now)
		p := randomPacket(rng)
		reuse.now, fresh.now = now, now
		fresh.paths = given
		reuse.paths = append(reuse.paths[:0], given...)
		d, e := fresh.pick(p), reuse.pick(p)
		if !slices.Equal(d.To, e.To) {
			r.Fatalf("Pick must not retain paths: with memory used again it chose %v instead of %v", e.To, d.To)
		}
		for i := range reuse.paths {
			reuse.paths[i] = scheduler.Path{ID: 999, Weight: 1}
		}
		for i, to := range d.To {
			e.To[i] = -1
			fresh.s.Sent(now, given[to].ID, p.Size)
			reuse.s.Sent(now, given[to].ID, p.Size)
		}
	}
}

// checkDeterministic: the same questions get the same answers.
func checkDeterministic(r reporter, newScheduler func() scheduler.Scheduler) {
	a, b := newHarness(r, newScheduler()), newHarness(r, newScheduler())
	rng := rand.New(rand.NewPCG(3, 3))
	for range 1000 {
		a.now = a.now.Add(time.Duration(rng.IntN(1e6)))
		a.paths = randomPaths(rng, 6, a.now)
		b.now, b.paths = a.now, a.paths
		p := randomPacket(rng)
		d, e := a.pick(p), b.pick(p)
		if !slices.Equal(d.To, e.To) || d.Run != e.Run || !d.Until.Equal(e.Until) {
			r.Fatalf("a Scheduler reads no clock, so equal questions have equal answers: got %v and %v", describe(d), describe(e))
		}
		a.send(p, 2)
		b.send(p, 2)
	}
}

// checkWork: while many packets wait, every path gets what its pacer lets through.
func checkWork(r reporter, newScheduler func() scheduler.Scheduler) {
	h := newHarness(r, newScheduler(), paths(4)...)
	for i := range h.paths {
		h.paths[i].Rate = 250_000 << i
		h.paths[i].RTT = time.Duration(10+40*i) * time.Millisecond
	}
	h.paths[3].Weight = 0
	h.saturate(2 * time.Second)
	for i := range h.paths {
		q := &h.paths[i]
		if got, want := h.bytes[q.ID], 2*q.Rate; got < want*9/10 {
			r.Fatalf("no path starves while there are packets: path %d of %d B/s sent %d bytes in 2 s", q.ID, q.Rate, got)
		}
	}
}

// saturate sends all that pacers of Path.Rate let through, while many packets wait.
func (h *harness) saturate(d time.Duration) {
	h.r.Helper()
	p := full
	p.Backlog = 1 << 30
	for end := h.now.Add(d); h.now.Before(end); {
		dec := h.pick(p)
		if len(dec.To) == 0 {
			if dec.Until.IsZero() {
				return
			}
			h.now = dec.Until
			continue
		}
		for _, to := range dec.To {
			q := &h.paths[to]
			n := dec.Run * p.Size
			for range dec.Run {
				h.s.Sent(h.now, q.ID, p.Size)
			}
			h.bytes[q.ID] += uint64(n)
			if q.Ready.Before(h.now) {
				q.Ready = h.now
			}
			q.Ready = q.Ready.Add(time.Duration(float64(n) / float64(q.Rate) * 1e9))
		}
	}
}

// checkIdentity: a path is known by its ID, wherever it is in paths.
func checkIdentity(r reporter, newScheduler func() scheduler.Scheduler) {
	still, moved := newHarness(r, newScheduler(), paths(5)...), newHarness(r, newScheduler())
	for i := range still.paths {
		still.paths[i].Weight <<= i
		still.paths[i].RTT = time.Duration(10+i) * time.Millisecond
	}
	moved.paths = slices.Clone(still.paths)
	rng := rand.New(rand.NewPCG(4, 4))
	for range 3000 {
		rng.Shuffle(len(moved.paths), func(i, j int) {
			moved.paths[i], moved.paths[j] = moved.paths[j], moved.paths[i]
		})
		still.send(full, 1)
		moved.send(full, 1)
	}
	equalBytes(r, still, moved, "a path is identified by its ID, not by its index")
}

// equalBytes checks that two harnesses sent much the same on each path.
func equalBytes(r reporter, a, b *harness, sentence string) {
	r.Helper()
	for id, n := range a.bytes {
		m := b.bytes[id]
		if diff := max(n, m) - min(n, m); diff > a.total()/50+20*1400 {
			r.Fatalf("%s: path %d sent %d bytes in one case and %d in the other", sentence, id, n, m)
		}
	}
}

// checkComeAndGo: paths may be added, removed and reordered between calls.
func checkComeAndGo(r reporter, newScheduler func() scheduler.Scheduler) {
	h := newHarness(r, newScheduler())
	rng := rand.New(rand.NewPCG(5, 5))
	next := scheduler.PathID(0)
	for range 300 {
		switch n := len(h.paths); {
		case n == 0 || n < 8 && rng.IntN(2) == 0:
			q := path(next)
			q.Rate = 1_250_000
			q.Ready = h.now
			h.paths = slices.Insert(h.paths, rng.IntN(n+1), q)
			next += scheduler.PathID(1 + rng.IntN(200))
		default:
			i := rng.IntN(n)
			h.paths = slices.Delete(h.paths, i, i+1)
		}
		before := make(map[scheduler.PathID]uint64)
		for id, n := range h.bytes {
			before[id] = n
		}
		h.saturate(20 * time.Millisecond)
		for i := range h.paths {
			q := &h.paths[i]
			if got := h.bytes[q.ID] - before[q.ID]; got < 20*1250*7/10 {
				r.Fatalf("paths may come and go between calls: path %d sent %d of 25000 bytes beside %d others", q.ID, got, len(h.paths)-1)
			}
		}
	}
}

// checkSixtyFour: 64 paths work like two.
func checkSixtyFour(r reporter, newScheduler func() scheduler.Scheduler) {
	h := newHarness(r, newScheduler(), paths(64)...)
	for i := range h.paths {
		h.paths[i].Rate = 1_250_000
	}
	h.saturate(100 * time.Millisecond)
	for i := range h.paths {
		if got := h.bytes[h.paths[i].ID]; got < 100*1250*8/10 {
			r.Fatalf("each of 64 paths is used: path %d sent %d of 125000 bytes", h.paths[i].ID, got)
		}
	}
}

// checkRandom: what holds always, holds for any paths.
func checkRandom(r reporter, newScheduler func() scheduler.Scheduler) {
	rng := rand.New(rand.NewPCG(6, 6))
	h := newHarness(r, newScheduler())
	for range 5000 {
		h.now = h.now.Add(time.Duration(rng.IntN(3e6)))
		h.paths = randomPaths(rng, rng.IntN(9), h.now)
		h.send(randomPacket(rng), 1+rng.IntN(44))
		if rng.IntN(10) == 0 {
			h.s.Sent(h.now, scheduler.PathID(rng.IntN(20)), rng.IntN(2000))
		}
	}
}

// randomPaths returns n paths, about half of them fit for use now.
func randomPaths(rng *rand.Rand, n int, now time.Time) []scheduler.Path {
	ps := make([]scheduler.Path, n)
	for i, id := range rng.Perm(n) {
		q := path(scheduler.PathID(id * 3))
		q.Usable = rng.IntN(4) > 0
		q.Degraded = rng.IntN(4) == 0
		q.Tier = uint8(rng.IntN(6) / 4)
		q.Overflow = rng.IntN(3) == 0
		q.Equal = rng.IntN(2) == 0
		q.Delay = time.Duration(rng.IntN(3)) * 15 * time.Millisecond
		q.Weight = rng.Uint64N(1<<40) >> rng.IntN(41)
		q.Rate = rng.Uint64N(1<<40) >> rng.IntN(41)
		q.Ready = now.Add(time.Duration(rng.IntN(3)-1) * time.Millisecond)
		q.Queued = rng.IntN(20000)
		q.RTT = time.Duration(rng.IntN(3)) * 20 * time.Millisecond
		q.RTTVar = q.RTT / 8
		q.Loss = float64(rng.IntN(3)) / 50
		q.MTU = rng.IntN(3) * 750
		ps[i] = q
	}
	return ps
}

func randomPacket(rng *rand.Rand) scheduler.Packet {
	return scheduler.Packet{
		Size:  1 + rng.IntN(1500),
		Class: scheduler.Class(rng.IntN(scheduler.NumClasses)),
		Flow:  rng.Uint32(),

		Only:   scheduler.PathSet(rng.Uint64()) * scheduler.PathSet(rng.IntN(2)),
		Copies: rng.IntN(8) / 5,

		Equal:   rng.IntN(3) == 0,
		Backlog: rng.IntN(1<<20) >> rng.IntN(20),
	}
}

// checkAllocs: Pick must not allocate as long as dst has room, and Sent neither.
func checkAllocs(r reporter, newScheduler func() scheduler.Scheduler) {
	for _, n := range []int{1, 4, 64} {
		s, ps, dst := newScheduler(), paths(n), make([]int, 0, 64)
		i := 0
		once := func() {
			i++
			q := &ps[i%n]
			q.Usable = !q.Usable || n == 1
			p := scheduler.Packet{Size: 100 + i%1300, Class: scheduler.Class(i % scheduler.NumClasses)}
			now := epoch.Add(time.Duration(i) * time.Microsecond)
			d := s.Pick(now, p, ps, dst)
			for _, to := range d.To {
				s.Sent(now, ps[to].ID, p.Size)
			}
		}
		for range 2 * n {
			once()
		}
		if allocs := testing.AllocsPerRun(200, once); allocs != 0 {
			r.Fatalf("Pick and Sent must not allocate: %v allocations with %d paths", allocs, n)
		}
	}
}

// proportions returns the properties of a scheduler of fixed shares.
func proportions(tolerance float64) []property {
	cases := []struct {
		name    string
		weights []uint64
	}{
		{"Equal", []uint64{7, 7, 7}},
		{"Lines", []uint64{12_500_000, 2_500_000, 125_000}},
		{"Primes", []uint64{2, 3, 5, 7, 11, 13}},
		{"Extremes", []uint64{1, 12_500_000_000}},
		{"Slow", []uint64{1, 2}},
		{"SixtyFour", manyWeights()},
	}
	var all []property
	for _, c := range cases {
		all = append(all, property{"Shares/" + c.name, func(r reporter, newScheduler func() scheduler.Scheduler) {
			for _, most := range []int{1, 44} {
				checkShares(r, newScheduler(), c.weights, most, tolerance)
			}
		}})
	}
	return append(all, property{"Eager", checkEager}, property{"Return", checkReturn}, property{"LongRun", func(r reporter, newScheduler func() scheduler.Scheduler) {
		checkLongRun(r, newScheduler())
	}})
}

func manyWeights() []uint64 {
	w := make([]uint64, 64)
	for i := range w {
		w[i] = uint64(1000 + 1000*i*i)
	}
	return w
}

// checkShares: bytes in proportion to Path.Weight.
func checkShares(r reporter, s scheduler.Scheduler, weights []uint64, most int, tolerance float64) {
	h := newHarness(r, s, paths(len(weights))...)
	var sum float64
	for i, w := range weights {
		h.paths[i].Weight = w
		sum += float64(w)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for range 20_000 {
		h.send(scheduler.Packet{Size: 40 + rng.IntN(1400)}, most)
	}
	total := float64(h.total())
	for i, w := range weights {
		share := float64(w) / sum
		ideal := total * share
		packet := float64(1440 * most)
		off := float64(h.bytes[h.paths[i].ID]) - ideal
		if allowed := tolerance*ideal + 2*packet*(1+share*float64(len(weights))); max(off, -off) > allowed {
			r.Fatalf("shares are as the weights: path of %d of %.0f B/s sent %.0f bytes too many of %.0f", w, sum, off, total)
		}
	}
}

// checkReturn: a path that was away does not catch up.
func checkReturn(r reporter, newScheduler func() scheduler.Scheduler) {
	h := newHarness(r, newScheduler(), paths(2)...)
	for range 100 {
		h.send(full, 1)
	}
	h.paths[1].Usable = false
	for range 10_000 {
		h.send(full, 1)
	}
	h.paths[1].Usable = true
	before := h.bytes[h.paths[1].ID]
	for range 200 {
		h.send(full, 1)
	}
	if got := h.bytes[h.paths[1].ID] - before; got > 130*1400 {
		r.Fatalf("a path that was away does not catch up: it got %d of the next 200 packets", got/1400)
	}
}

// checkLongRun: shares do not drift.
func checkLongRun(r reporter, s scheduler.Scheduler) {
	h := newHarness(r, s, paths(3)...)
	h.paths[0].Weight, h.paths[1].Weight, h.paths[2].Weight = 3, 1_000_003, 333_333_337
	for range 3_000_000 {
		d := s.Pick(h.now, full, h.paths, h.dst[:0])
		h.dst = d.To
		id := h.paths[d.To[0]].ID
		s.Sent(h.now, id, full.Size)
		h.bytes[id] += uint64(full.Size)
	}
	for i := range h.paths {
		ideal := float64(h.total()) * float64(h.paths[i].Weight) / 334_333_343
		off := float64(h.bytes[h.paths[i].ID]) - ideal
		if max(off, -off) > 4*1400 {
			r.Fatalf("shares do not drift: after %d bytes path %d is off by %s", h.total(), i, fmt.Sprintf("%.0f bytes", off))
		}
	}
}
