package scheduler_test

import (
	"slices"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/scheduler/schedtest"
)

func TestRedundant(t *testing.T) {
	schedtest.TestScheduler(t, func() scheduler.Scheduler { return new(scheduler.Redundant) })
	later := epoch.Add(time.Millisecond)
	paths := []scheduler.Path{
		{ID: 1, Usable: true, Delay: 30 * time.Millisecond},
		{ID: 2, Usable: true, Delay: 10 * time.Millisecond},
		{ID: 3, Usable: true, Delay: 20 * time.Millisecond},
		{ID: 4, Usable: true, Tier: 1},
		{ID: 5},
	}
	for _, tc := range []struct {
		paths int
		held  []int
		want  []int
	}{
		{0, nil, []int{1, 2, 0}},
		{2, nil, []int{1, 2}},
		{1, nil, []int{1}},
		{2, []int{1}, []int{2, 0}},
		{3, []int{0, 1, 2}, nil},
	} {
		given := slices.Clone(paths)
		for _, i := range tc.held {
			given[i].Ready = later
		}
		d := (&scheduler.Redundant{Paths: tc.paths}).Pick(epoch, scheduler.Packet{Size: 1000}, given, nil)
		if !slices.Equal(d.To, tc.want) || len(tc.want) == 0 && !d.Until.Equal(later) {
			t.Errorf("%d paths, %v held back: %v until %v, want %v", tc.paths, tc.held, d.To, d.Until, tc.want)
		}
	}
}

// A flow stays where it is, flows are shared in proportion, and a path that goes moves
// only its own flows.
func TestSticky(t *testing.T) {
	paths := []scheduler.Path{
		{ID: 1, Usable: true, Rate: 4_000_000}, {ID: 2, Usable: true, Rate: 1_000_000}, {ID: 3, Usable: true, Rate: 1_000_000},
	}
	var s scheduler.Sticky
	pick := func(flow int, paths []scheduler.Path) scheduler.PathID {
		t.Helper()
		d := s.Pick(epoch, scheduler.Packet{Size: 1000, Flow: uint32(flow)}, paths, nil)
		if len(d.To) != 1 {
			t.Fatalf("flow %d goes by %v", flow, d.To)
		}
		return paths[d.To[0]].ID
	}
	const flows = 60_000
	count := map[scheduler.PathID]int{}
	for f := range flows {
		was := pick(f, paths)
		count[was]++
		if again := pick(f, []scheduler.Path{paths[2], paths[0], paths[1]}); again != was {
			t.Fatalf("flow %d goes by %d, and by %d if the paths are given in another order", f, was, again)
		}
		if left := pick(f, paths[:2]); was != 3 && left != was {
			t.Fatalf("flow %d moves from %d to %d because path 3 has gone", f, was, left)
		}
	}
	for id, want := range map[scheduler.PathID]int{1: flows * 4 / 6, 2: flows / 6, 3: flows / 6} {
		if n := count[id]; n < want*97/100 || n > want*103/100 {
			t.Errorf("path %d has %d of %d flows, want %d", id, n, flows, want)
		}
	}
	paths[0].Weight, paths[1].Weight = 1, 3
	count = map[scheduler.PathID]int{}
	for f := range flows {
		count[pick(f, paths[:2])]++
	}
	if n := count[2]; n < flows*74/100 || n > flows*76/100 {
		t.Errorf("with weights 1 and 3 the second path has %d of %d flows", n, flows)
	}
	held := slices.Clone(paths)
	held[0].Ready, held[1].Ready, held[2].Ready = epoch.Add(1), epoch.Add(2), epoch.Add(3)
	if d := s.Pick(epoch, scheduler.Packet{Size: 1000, Flow: 9}, held, nil); len(d.To) != 0 || d.Until.IsZero() {
		t.Errorf("a flow whose path is held back goes by %v", d.To)
	}
	if n := testing.AllocsPerRun(100, func() { s.Pick(epoch, scheduler.Packet{Size: 1000, Flow: 9}, paths, make([]int, 0, 4)) }); n > 0 {
		t.Errorf("%g allocations", n)
	}
}
