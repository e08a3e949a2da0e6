package tcpmodel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSpans compares the set with one that has an entry for each number.
func TestSpans(t *testing.T) {
	const size = 60
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var set spans
		var naive [size]bool
		for range 40 {
			l := rnd.Uint64N(size - 1)
			r := l + 1 + rnd.Uint64N(min(size-l, 9))
			r = min(r, size)
			if rnd.IntN(10) == 0 {
				set.trim(l)
				clear(naive[:l])
				continue
			}
			var fresh, want []uint64
			merged := set.add(l, r, func(l, r uint64) {
				for ; l < r; l++ {
					fresh = append(fresh, l)
				}
			})
			for n := l; n < r; n++ {
				if !naive[n] {
					want = append(want, n)
				}
				naive[n] = true
			}
			if !slices.Equal(fresh, want) {
				t.Fatalf("seed %d: add(%d, %d) found %v new, want %v", seed, l, r, fresh, want)
			}
			if !set.contains(merged.l, merged.r) || merged.l > l || merged.r < r {
				t.Fatalf("seed %d: add(%d, %d) returned %v, which is not in %v", seed, l, r, merged, set)
			}
			compareSpans(t, seed, set, naive[:])
		}
	}
}

func compareSpans(t *testing.T, seed uint64, set spans, naive []bool) {
	t.Helper()
	last := uint64(0)
	for i, s := range set {
		if s.l >= s.r || i > 0 && s.l <= last {
			t.Fatalf("seed %d: %v is not sorted, or spans touch", seed, set)
		}
		last = s.r
	}
	for n, in := range naive {
		if got := set.contains(uint64(n), uint64(n)+1); got != in {
			t.Fatalf("seed %d: contains(%d) is %v in %v", seed, n, got, set)
		}
	}
}
