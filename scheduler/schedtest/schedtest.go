// Package schedtest checks the properties that every scheduler.Scheduler must have.
//
// [TestScheduler] runs the whole suite and [TestProportional] what only a scheduler
// of fixed shares can pass. Each property is a subtest that quotes the sentence of
// the contract it checks. Everything happens in virtual time, from fixed seeds.
package schedtest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/scheduler"
)

// TestScheduler checks that the Schedulers that newScheduler makes keep the contract
// of package scheduler. Each property gets a fresh one, some get several, which must
// behave alike.
func TestScheduler(t *testing.T, newScheduler func() scheduler.Scheduler) {
	for _, p := range properties {
		t.Run(p.name, func(t *testing.T) { run(t, p, newScheduler) })
	}
}

// TestProportional checks that shares follow Path.Weight: of the bytes sent, each
// path's part may be off by tolerance times that part, and by two packets. That is only
// possible if no packet waits while a path of its tier is ready, which is checked, too.
func TestProportional(t *testing.T, newScheduler func() scheduler.Scheduler, tolerance float64) {
	for _, p := range proportions(tolerance) {
		t.Run(p.name, func(t *testing.T) { run(t, p, newScheduler) })
	}
}

// A property is one thing that a Scheduler must do.
type property struct {
	name  string
	check func(r reporter, newScheduler func() scheduler.Scheduler)
}

// A reporter is the part of testing.TB that properties need, so that the tests of
// this package can watch them fail. Fatalf must not return.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

func run(t *testing.T, p property, newScheduler func() scheduler.Scheduler) {
	t.Helper()
	p.check(t, newScheduler)
}

// epoch is when all virtual time starts.
var epoch = time.Unix(1_000_000_000, 0)

// A harness drives one Scheduler the way a session does, and checks every answer for
// what holds always.
type harness struct {
	r     reporter
	s     scheduler.Scheduler
	now   time.Time
	paths []scheduler.Path
	dst   []int
	given []scheduler.Path // copy of paths
	eager bool             // a packet must not wait for a better path
	bytes map[scheduler.PathID]uint64
}

func newHarness(r reporter, s scheduler.Scheduler, paths ...scheduler.Path) *harness {
	return &harness{r: r, s: s, now: epoch, paths: paths, bytes: make(map[scheduler.PathID]uint64)}
}

// path returns an unpaced path of 10 Mbit/s.
func path(id scheduler.PathID) scheduler.Path {
	return scheduler.Path{ID: id, Usable: true, Weight: 1_250_000}
}

func paths(n int) []scheduler.Path {
	p := make([]scheduler.Path, n)
	for i := range p {
		p[i] = path(scheduler.PathID(i + 1))
	}
	return p
}

// prefix is what dst holds before a Pick, to see that it stays.
var prefix = []int{-7, -8, -9}

// pick asks once and checks the answer. The Decision is without the prefix of dst
// and lives until the next pick.
func (h *harness) pick(p scheduler.Packet) scheduler.Decision {
	h.r.Helper()
	h.given = append(h.given[:0], h.paths...)
	h.dst = append(h.dst[:0], prefix...)
	d := h.s.Pick(h.now, p, h.paths, h.dst)

	if !slices.Equal(h.paths, h.given) {
		h.r.Fatalf("Pick must not modify paths: it made %+v of %+v", h.paths, h.given)
	}
	if len(d.To) < len(prefix) || !slices.Equal(d.To[:len(prefix)], prefix) {
		h.r.Fatalf("Pick appends to dst: of dst %v it made To %v", prefix, d.To)
	}
	d.To = d.To[len(prefix):]
	best, ok := h.best(p)
	if len(d.To) > 0 && d.Run < 1 {
		h.r.Fatalf("Run is at least 1 when To is not empty: got %d", d.Run)
	}
	for i, to := range d.To {
		if to < 0 || to >= len(h.paths) {
			h.r.Fatalf("To holds indices into the paths: got %d of %d", to, len(h.paths))
		}
		q := &h.paths[to]
		switch {
		case slices.Contains(d.To[:i], to):
			h.r.Fatalf("a packet goes out once on each path: To is %v", d.To)
		case !q.Usable:
			h.r.Fatalf("a path that is not usable must not be chosen: got %+v", *q)
		case !p.Allows(to):
			h.r.Fatalf("a path that is not in Only must not be chosen: got %d with Only %b", to, p.Only)
		case !fits(q, p):
			h.r.Fatalf("a path must not be given a packet above its MTU: %d bytes to %+v", p.Size, *q)
		case rank(q) > best && q.Overflow && h.heldBack(p, best):
			// It takes what a better tier has no room for.
		case !q.Degraded && rank(q) != best:
			h.r.Fatalf("a path is used only when no better (lower) tier has a usable one: got %+v of %+v", *q, h.paths)
		case q.Degraded && rank(q) != best:
			h.r.Fatalf("a degraded path is used only when no usable path of any tier is better: got %+v of %+v", *q, h.paths)
		}
	}
	switch {
	case len(d.To) > 0:
	case !ok && !d.Until.IsZero():
		h.r.Fatalf("the zero Until says that no time will help: got %v from now with %+v", d.Until.Sub(h.now), h.paths)
	case ok:
		h.checkUntil(p, best, d)
	}
	return d
}

// couldTake reports whether path i could take p if its pacer let it: it is of the best
// rank, or may take the overflow of that.
func (h *harness) couldTake(p scheduler.Packet, i, best int) bool {
	q := &h.paths[i]
	return q.Usable && fits(q, p) && p.Allows(i) && (rank(q) == best || rank(q) > best && q.Overflow)
}

// heldBack reports whether a path of the best rank that could take p is held back.
func (h *harness) heldBack(p scheduler.Packet, best int) bool {
	for i := range h.paths {
		if q := &h.paths[i]; h.couldTake(p, i, best) && rank(q) == best && q.Ready.After(h.now) {
			return true
		}
	}
	return false
}

// checkUntil checks the Until of a Decision to wait.
func (h *harness) checkUntil(p scheduler.Packet, best int, d scheduler.Decision) {
	h.r.Helper()
	if !h.heldBack(p, best) {
		h.r.Fatalf("To is empty only if a path that the packet should take is held back: none is of %+v", h.paths)
	}
	known := false
	var times []time.Time // of paths that are ready before
	for i := range h.paths {
		q := &h.paths[i]
		switch {
		case !h.couldTake(p, i, best):
		case !q.Ready.After(h.now):
			if h.eager && rank(q) == best {
				h.r.Fatalf("a packet waits only if every path that could take it is held back: %+v is not", *q)
			}
		case q.Ready.Equal(d.Until):
			known = true
		case q.Ready.Before(d.Until):
			times = append(times, q.Ready)
		}
	}
	if !known {
		h.r.Fatalf("Until is when the first path that the packet should take is ready: none is in %v, of %+v", d.Until.Sub(h.now), h.paths)
	}
	for _, t := range times {
		if h.answers(t, p) {
			h.r.Fatalf("Until is when the first path that the packet should take is ready: asked %v before it, there is one", d.Until.Sub(t))
		}
	}
	if !h.answers(d.Until, p) {
		h.r.Fatalf("Until is when the first path that the packet should take is ready: there is none then, of %+v", h.paths)
	}
	h.answers(h.now, p)
}

// answers reports whether the answer at another time is not to wait.
func (h *harness) answers(at time.Time, p scheduler.Packet) bool {
	d := h.s.Pick(at, p, h.paths, h.dst[:0])
	return len(d.To) > 0
}

// send asks, sends a whole run of the packet, at most most, and reports it. It
// returns how many packets that were.
func (h *harness) send(p scheduler.Packet, most int) int {
	h.r.Helper()
	d := h.pick(p)
	if len(d.To) == 0 {
		return 0
	}
	run := min(d.Run, most)
	for range run {
		for _, to := range d.To {
			id := h.paths[to].ID
			h.s.Sent(h.now, id, p.Size)
			h.bytes[id] += uint64(p.Size)
		}
	}
	return run
}

func (h *harness) total() (sum uint64) {
	for _, n := range h.bytes {
		sum += n
	}
	return sum
}

// best returns the rank of the best path that could take p.
func (h *harness) best(p scheduler.Packet) (best int, ok bool) {
	for i := range h.paths {
		q := &h.paths[i]
		if q.Usable && fits(q, p) && p.Allows(i) && (!ok || rank(q) < best) {
			best, ok = rank(q), true
		}
	}
	return best, ok
}

func fits(q *scheduler.Path, p scheduler.Packet) bool {
	return q.MTU == 0 || p.Size <= q.MTU
}

// rank orders paths: the lower, the earlier it is to be used.
func rank(q *scheduler.Path) int {
	if q.Degraded {
		return 256 + int(q.Tier)
	}
	return int(q.Tier)
}

func describe(d scheduler.Decision) string {
	return fmt.Sprintf("{To:%v Run:%d Until:%v}", d.To, d.Run, d.Until)
}
