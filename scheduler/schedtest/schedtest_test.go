package schedtest

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/scheduler"
)

// faulty is a good Scheduler with one fault.
type faulty struct {
	scheduler.Weighted
	pick func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision
	sent func(f *faulty, now time.Time, id scheduler.PathID, size int)

	kept  []scheduler.Path
	count int
	bytes [64]float32
	index map[scheduler.PathID]int
}

func (f *faulty) Pick(now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
	if f.pick == nil {
		return f.Weighted.Pick(now, p, paths, dst)
	}
	return f.pick(f, now, p, paths, dst)
}

func (f *faulty) Sent(now time.Time, id scheduler.PathID, size int) {
	if f.sent == nil {
		f.Weighted.Sent(now, id, size)
		return
	}
	f.sent(f, now, id, size)
}

// alter returns a pick that shows the good Scheduler other paths than there are.
func alter(change func(q *scheduler.Path)) func(*faulty, time.Time, scheduler.Packet, []scheduler.Path, []int) scheduler.Decision {
	return func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
		paths = slices.Clone(paths)
		for i := range paths {
			change(&paths[i])
		}
		return f.Weighted.Pick(now, p, paths, dst)
	}
}

// amend returns a pick that changes the good answer.
func amend(change func(d *scheduler.Decision, paths []scheduler.Path, dst []int)) func(*faulty, time.Time, scheduler.Packet, []scheduler.Path, []int) scheduler.Decision {
	return func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
		d := f.Weighted.Pick(now, p, paths, dst)
		change(&d, paths, dst)
		return d
	}
}

// faults lists what can be wrong with a Scheduler, the property that must catch it,
// and a part of what it must say.
var faults = []struct {
	name     string
	property string
	says     string
	fault    faulty
}{
	{"chooses a path that is down", "Usable", "not usable", faulty{
		pick: alter(func(q *scheduler.Path) { q.Usable = true })}},
	{"ignores tiers", "Tiers", "better (lower) tier", faulty{
		pick: alter(func(q *scheduler.Path) { q.Tier = 0 })}},
	{"prefers the worst tier", "Tiers", "better (lower) tier", faulty{
		pick: alter(func(q *scheduler.Path) { q.Tier = 255 - q.Tier })}},
	{"falls back while the first tier is held back", "Tiers", "better (lower) tier", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			return alter(func(q *scheduler.Path) { q.Usable = q.Usable && !q.Ready.After(now) })(f, now, p, paths, dst)
		}}},
	{"ignores degraded", "Degraded", "degraded path", faulty{
		pick: alter(func(q *scheduler.Path) { q.Degraded = false })}},
	{"never uses a degraded path", "Degraded", "To is empty only if", faulty{
		pick: alter(func(q *scheduler.Path) { q.Usable = q.Usable && !q.Degraded })}},
	{"ignores the MTU", "MTU", "above its MTU", faulty{
		pick: alter(func(q *scheduler.Path) { q.MTU = 0 })}},
	{"waits for a tier whose paths are too narrow", "MTU", "To is empty only if", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			for i := range paths {
				if q := &paths[i]; q.Usable && q.Tier == 0 && q.MTU > 0 && q.MTU < p.Size {
					return alter(func(q *scheduler.Path) { q.Usable = q.Usable && q.Tier == 0 })(f, now, p, paths, dst)
				}
			}
			return f.Weighted.Pick(now, p, paths, dst)
		}}},
	{"ignores Only", "Only", "not in Only", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			p.Only = 0
			return f.Weighted.Pick(now, p, paths, dst)
		}}},
	{"makes no copies", "Copies", "copies are wanted", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			p.Copies = 0
			return f.Weighted.Pick(now, p, paths, dst)
		}}},
	{"says nothing about when to ask again", "Until", "Until is when", faulty{
		pick: amend(func(d *scheduler.Decision, _ []scheduler.Path, _ []int) { d.Until = time.Time{} })}},
	{"waits for the last path", "Until", "Until is when", faulty{
		pick: amend(func(d *scheduler.Decision, paths []scheduler.Path, _ []int) {
			for i := range paths {
				if q := &paths[i]; !d.Until.IsZero() && q.Usable && q.Ready.After(d.Until) {
					d.Until = q.Ready
				}
			}
		})}},
	{"hopes for a path that is down", "Empty", "zero Until", faulty{
		pick: amend(func(d *scheduler.Decision, paths []scheduler.Path, _ []int) {
			for i := range paths {
				if d.Until.IsZero() {
					d.Until = paths[i].Ready
				}
			}
		})}},
	{"replaces dst", "Usable", "appends to dst", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			return f.Weighted.Pick(now, p, paths, dst[:0])
		}}},
	{"chooses a path twice", "Usable", "once on each path", faulty{
		pick: amend(func(d *scheduler.Decision, _ []scheduler.Path, dst []int) { d.To = append(d.To, d.To[len(dst):]...) })}},
	{"answers with IDs", "Tiers", "indices into the paths", faulty{
		pick: amend(func(d *scheduler.Decision, paths []scheduler.Path, dst []int) {
			for i := len(dst); i < len(d.To); i++ {
				d.To[i] = int(paths[d.To[i]].ID)
			}
		})}},
	{"allows no packet at all", "Usable", "Run is at least 1", faulty{
		pick: amend(func(d *scheduler.Decision, _ []scheduler.Path, _ []int) { d.Run = 0 })}},
	{"marks paths", "Usable", "must not modify paths", faulty{
		pick: amend(func(d *scheduler.Decision, paths []scheduler.Path, dst []int) {
			for _, to := range d.To[len(dst):] {
				paths[to].Queued++
			}
		})}},
	{"keeps paths", "Borrow", "must not retain", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			if len(f.kept) > 0 {
				p.Size += int(f.kept[0].Weight % 2)
				p.Class = scheduler.Class(f.kept[0].ID % 2)
			}
			d := f.Weighted.Pick(now, p, paths, dst)
			f.kept = paths
			return d
		}}},
	{"takes a turn at every Pick", "Question", "Pick alone changes nothing", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			f.count++
			n := f.count
			return alter(func(q *scheduler.Path) { q.Weight = uint64(q.ID) + uint64(n%7)*1000; q.Rate = q.Weight * uint64(n) })(f, now, p, paths, dst)
		}}},
	{"throws dice", "Deterministic", "equal questions", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			d := f.Weighted.Pick(now, p, paths, dst)
			d.Run += rand.IntN(3)
			return d
		}}},
	{"waits for the fastest path", "Work", "no path starves", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			return alter(func(q *scheduler.Path) { q.Usable = q.Usable && q.ID == paths[len(paths)-1].ID })(f, now, p, paths, dst)
		}}},
	{"knows paths by index", "Identity", "not by its index", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			f.index = make(map[scheduler.PathID]int)
			paths = slices.Clone(paths)
			for i := range paths {
				f.index[paths[i].ID] = i
				paths[i].ID = scheduler.PathID(i)
			}
			return f.Weighted.Pick(now, p, paths, dst)
		},
		sent: func(f *faulty, now time.Time, id scheduler.PathID, size int) {
			f.Weighted.Sent(now, scheduler.PathID(f.index[id]), size)
		}}},
	{"takes no new path after the eighth", "ComeAndGo", "paths may come and go", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			if f.index == nil {
				f.index = make(map[scheduler.PathID]int)
			}
			for i := range paths {
				if len(f.index) < 8 {
					f.index[paths[i].ID] = 1
				}
			}
			return alter(func(q *scheduler.Path) { q.Usable = q.Usable && f.index[q.ID] > 0 })(f, now, p, paths, dst)
		}}},
	{"knows 32 paths", "SixtyFour", "each of 64 paths", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			return f.Weighted.Pick(now, p, paths[:min(len(paths), 32)], dst)
		}}},
	{"fails on odd input", "Random", "panic", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			for i := range paths {
				f.count += p.Size / int(paths[i].Rate)
			}
			return f.Weighted.Pick(now, p, paths, dst)
		}}},
	{"fails without paths", "Empty", "panic", faulty{
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			_ = paths[0]
			return f.Weighted.Pick(now, p, paths, dst)
		}}},
	{"allocates", "Allocs", "must not allocate", faulty{
		pick: alter(func(*scheduler.Path) {})}},
	{"lets nothing overflow", "Overflow", "takes what better tiers", faulty{
		pick: alter(func(q *scheduler.Path) { q.Overflow = false })}},
	{"lets the worst tier take what overflows", "Overflow", "takes what better tiers", faulty{
		pick: alter(func(q *scheduler.Path) { q.Overflow = q.Overflow && q.Tier > 2 })}},
	{"uses an overflow path always", "Overflow", "better (lower) tier", faulty{
		pick: alter(func(q *scheduler.Path) {
			if q.Overflow {
				q.Tier = 0
			}
		})}},
	{"waits for a better path", "Eager", "waits only if every path", faulty{
		pick: alter(func(q *scheduler.Path) { q.Usable = q.Usable && q.ID%2 == 1 })}},
	{"shares equally", "Shares/Lines", "as the weights", faulty{
		pick: alter(func(q *scheduler.Path) { q.Weight = 1 })}},
	{"rounds weights to kbit/s", "Shares/Primes", "as the weights", faulty{
		pick: alter(func(q *scheduler.Path) { q.Weight = 1 + q.Weight/125 })}},
	{"counts packets, not bytes", "Shares/Slow", "as the weights", faulty{
		pick: alter(func(q *scheduler.Path) { q.Weight = uint64(q.ID) * 1_000_000 / 3 }),
		sent: func(f *faulty, now time.Time, id scheduler.PathID, size int) { f.Weighted.Sent(now, id, 1000) }}},
	{"charges a run once", "Shares/Lines", "as the weights", faulty{
		sent: func(f *faulty, now time.Time, id scheduler.PathID, size int) {
			if f.kept == nil {
				f.Weighted.Sent(now, id, size)
			}
			f.kept = []scheduler.Path{}
		},
		pick: func(f *faulty, now time.Time, p scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
			f.kept = nil
			return f.Weighted.Pick(now, p, paths, dst)
		}}},
	{"catches up", "Return", "does not catch up", faulty{pick: leastServed, sent: serve}},
	{"counts in float32", "LongRun", "drift", faulty{pick: leastServed, sent: serve}},
}

// leastServed chooses the path that has had least for its weight, since ever.
func leastServed(f *faulty, _ time.Time, _ scheduler.Packet, paths []scheduler.Path, dst []int) scheduler.Decision {
	best := -1
	for i := range paths {
		q := &paths[i]
		if q.Usable && (best < 0 || f.bytes[q.ID]/float32(q.Weight) < f.bytes[paths[best].ID]/float32(paths[best].Weight)) {
			best = i
		}
	}
	return scheduler.Decision{To: append(dst, best), Run: 1}
}

func serve(f *faulty, _ time.Time, id scheduler.PathID, size int) {
	f.bytes[id] += float32(size)
}

// recorder is a reporter that remembers why a property failed.
type recorder struct{ message string }

func (*recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// record runs one property and returns why it failed, or "".
func record(p property, newScheduler func() scheduler.Scheduler) string {
	r := new(recorder)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if e := recover(); e != nil {
				r.message = fmt.Sprint("panic: ", e)
			}
		}()
		p.check(r, newScheduler)
	}()
	<-done
	return r.message
}

func TestFaults(t *testing.T) {
	all := append(slices.Clone(properties), proportions(0)...)
	caught := make(map[string]bool)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			i := slices.IndexFunc(all, func(p property) bool { return p.name == f.property })
			if i < 0 {
				t.Fatalf("no property %q", f.property)
			}
			message := record(all[i], func() scheduler.Scheduler {
				fault := f.fault
				return &fault
			})
			if message == "" || !strings.Contains(message, f.says) {
				t.Fatalf("property %s said %q, want something with %q", f.property, message, f.says)
			}
			caught[f.property] = true
		})
	}
	for _, p := range all {
		if good := record(p, func() scheduler.Scheduler { return new(scheduler.Weighted) }); good != "" {
			t.Errorf("property %s fails a good Scheduler: %s", p.name, good)
		}
	}
	for _, p := range properties {
		if good := record(p, func() scheduler.Scheduler { return new(scheduler.Adaptive) }); good != "" {
			t.Errorf("property %s fails a good Scheduler that waits for better paths: %s", p.name, good)
		}
	}
	for _, p := range properties {
		if !caught[p.name] {
			t.Errorf("no fault shows that property %s can fail", p.name)
		}
	}
}
