package wan

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestFlight compares flight with a sorted slice.
func TestFlight(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var f flight
	var model []frame
	for i := range 20000 {
		if rng.IntN(20) < 11 {
			fr := frame{due: time.Duration(i + rng.IntN(50)), slot: int32(i)}
			f.push(fr)
			at, _ := slices.BinarySearchFunc(model, fr, func(a, b frame) int {
				if a.due <= b.due {
					return -1
				}
				return 1
			})
			model = slices.Insert(model, at, fr)
		} else if n := min(rng.IntN(3), len(model)); n > 0 {
			f.drop(n)
			model = model[n:]
		}
		if f.len() != len(model) {
			t.Fatalf("step %d: %d frames, want %d", i, f.len(), len(model))
		}
		if i%50 == 0 {
			for j := range model {
				if *f.at(j) != model[j] {
					t.Fatalf("step %d: frame %d is %v, want %v", i, j, *f.at(j), model[j])
				}
			}
		}
	}
	if len(model) < 256 {
		t.Errorf("the ring never grew: %d frames at the end", len(model))
	}
}

func TestPool(t *testing.T) {
	var p pool
	seen := make(map[*byte]bool)
	var slots []int32
	for {
		slot, ok := p.get()
		if !ok {
			break
		}
		b := p.bytes(slot)
		if len(b) != slotSize || seen[&b[0]] {
			t.Fatalf("slot %d: %d bytes, handed out before: %v", slot, len(b), seen[&b[0]])
		}
		seen[&b[0]] = true
		slots = append(slots, slot)
	}
	if len(slots) != slotLimit {
		t.Errorf("%d slots, want %d", len(slots), slotLimit)
	}
	p.put(slots[7])
	if slot, ok := p.get(); !ok || slot != slots[7] {
		t.Errorf("got slot %d, %v; want %d back", slot, ok, slots[7])
	}
}
