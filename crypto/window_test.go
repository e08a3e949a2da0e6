package crypto

import (
	"encoding/binary"
	"math"
	"testing"
)

// The table of the replay test of WireGuard in the Linux kernel.
func TestWindow(t *testing.T) {
	const limit = WindowSize + 1
	type step struct {
		n    uint64
		want bool
	}
	up := func(from, to uint64, then ...step) (steps []step) {
		for i := from; i <= to; i++ {
			steps = append(steps, step{i, true})
		}
		return append(steps, then...)
	}
	down := func(from, to uint64, then ...step) (steps []step) {
		for i := from; i >= to; i-- {
			steps = append(steps, step{i, true})
		}
		return append(steps, then...)
	}
	for name, steps := range map[string][]step{
		"single": {
			{0, true}, {1, true}, {1, false}, {9, true}, {8, true}, {7, true}, {7, false}, {limit, true}, {limit - 1, true},
			{limit - 1, false}, {limit - 2, true}, {2, true}, {2, false}, {limit + 16, true}, {3, false}, {limit + 16, false},
			{limit * 4, true}, {limit*4 - (limit - 1), true}, {10, false}, {limit*4 - limit, false}, {limit*4 - (limit + 1), false},
			{limit*4 - (limit - 2), true}, {limit*4 + 1 - limit, false}, {0, false}, {math.MaxUint64, true}, {math.MaxUint64, false},
			{math.MaxUint64 - 1, true}, {math.MaxUint64 - WindowSize, true}, {math.MaxUint64 - WindowSize - 1, false}, {0, false},
		},
		"up from 1":       up(1, WindowSize, step{0, true}, step{0, false}),
		"up from 2":       up(2, WindowSize+1, step{1, true}, step{0, false}),
		"down to 1":       down(WindowSize+1, 1),
		"down to 2":       down(WindowSize+2, 2, step{0, false}),
		"down, then jump": down(WindowSize, 1, step{WindowSize + 1, true}, step{0, false}),
		"down, then 0":    down(WindowSize, 1, step{0, true}, step{WindowSize + 1, true}),
		// A jump by a whole ring, less one block and more, leaves nothing behind.
		"jumps": {
			{5, true}, {5 + 8192, true}, {5 + 8192 - 64, true}, {5 + 3*8192, true}, {5 + 2*8192 + 64, true},
			{5 + 3*8192 + 8191, true}, {5 + 3*8192 + 8190, true}, {5 + 3*8192 + 64, true}, {5 + 3*8192, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var w Window
			for i, s := range steps {
				before := w
				if got := w.Check(s.n); got != s.want {
					t.Fatalf("step %d: Check(%d) = %v", i, s.n, got)
				}
				if w != before {
					t.Fatalf("step %d: Check changed the window", i)
				}
				if got := w.Mark(s.n); got != s.want {
					t.Fatalf("step %d: Mark(%d) = %v", i, s.n, got)
				}
				if !s.want && w != before {
					t.Fatalf("step %d: a refused Mark changed the window", i)
				}
			}
		})
	}
}

func TestWindowHighest(t *testing.T) {
	var w Window
	if n, ok := w.Highest(); ok || n != 0 {
		t.Error(n, ok)
	}
	w.Mark(0)
	if n, ok := w.Highest(); !ok || n != 0 {
		t.Error(n, ok)
	}
	w.Mark(70)
	w.Mark(3)
	if n, ok := w.Highest(); !ok || n != 70 {
		t.Error(n, ok)
	}
}

// Full windows, moved by less and by more than their size, keep what they should and
// forget the rest.
func TestWindowMoves(t *testing.T) {
	for _, step := range []uint64{1, 63, 64, 65, 1000, WindowSize - 1, WindowSize, WindowSize + 1, 8191, 8192, 8193, 8256, 20000} {
		var w Window
		for n := range uint64(3 * 8192) {
			if !w.Mark(n) {
				t.Fatalf("Mark(%d) = false", n)
			}
		}
		last := uint64(3*8192 - 1)
		highest := last + step
		if !w.Mark(highest) {
			t.Fatalf("Mark(%d) = false", highest)
		}
		for n := highest - WindowSize; n < highest; n++ {
			if got, want := w.Check(n), n > last; got != want {
				t.Fatalf("moved by %d: Check(%d) = %v", step, n, got)
			}
		}
	}
}

// A window does what a set of all numbers ever seen does, within its size.
func FuzzWindow(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0xff, 0xff, 0x20, 0x00})
	f.Add([]byte{0x1f, 0xc0, 0, 0, 0x1f, 0xc1, 0, 1, 0x20, 0, 0, 2})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x80, 0x00, 0x7f, 0xff})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var w Window
		seen := make(map[uint64]bool)
		var highest, n uint64
		for ; len(steps) >= 2; steps = steps[2:] {
			n += uint64(int64(int16(binary.BigEndian.Uint16(steps))))
			want := !seen[n] && (n > highest || highest-n <= WindowSize)
			if got := w.Check(n); got != want {
				t.Fatalf("Check(%d) = %v with highest %d, seen %v", n, got, highest, seen[n])
			}
			if got := w.Mark(n); got != want {
				t.Fatalf("Mark(%d) = %v with highest %d, seen %v", n, got, highest, seen[n])
			}
			if want {
				seen[n], highest = true, max(highest, n)
			}
			if got, ok := w.Highest(); got != highest || ok != (len(seen) > 0) {
				t.Fatalf("Highest() = %d, %v, want %d", got, ok, highest)
			}
		}
	})
}

func BenchmarkWindow(b *testing.B) {
	b.ReportAllocs()
	var w Window
	for n := uint64(0); b.Loop(); n++ {
		if !w.Mark(n) {
			b.Fatal(n)
		}
	}
}
