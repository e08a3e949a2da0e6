package reorder

import "testing"

// TestRingsBudget spends the budget on rings of one size and then wants another.
func TestRingsBudget(t *testing.T) {
	r := rings{budget: 1024}
	for range 3 {
		for _, size := range []int{64, 1024, 256} {
			var got [][]slotID
			for range 1024 / size {
				ring := r.get(size)
				if len(ring) != size {
					t.Fatalf("got a ring of %d, want %d: used %d of %d", len(ring), size, r.used, r.budget)
				}
				got = append(got, ring)
			}
			if r.get(2*size) != nil || r.get(32) != nil {
				t.Fatal("got a ring beyond the budget")
			}
			if len(r.get(1)) != minRing {
				t.Fatal("the smallest ring is always to be had")
			}
			for _, ring := range got {
				r.put(ring)
			}
		}
	}
}
