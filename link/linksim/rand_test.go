package linksim

import (
	"math"
	"testing"
	"time"
)

func TestDrawsAreUniform(t *testing.T) {
	const n, bins = 100_000, 64
	d := newDraws(1, 2)
	for why := drawLoss; why <= drawCopyReorder; why++ {
		var count [bins]int
		for i := range uint64(n) {
			count[d.bits(i, why)>>58]++
		}
		var chi2 float64
		for _, c := range count {
			e := float64(n) / bins
			chi2 += (float64(c) - e) * (float64(c) - e) / e
		}
		// 63 degrees of freedom: mean 63, standard deviation 11.2.
		if chi2 > 63+5*11.2 {
			t.Errorf("purpose %d: chi squared %.1f", why, chi2)
		}
	}
}

// Draws of different purposes, numbers, streams and seeds must not follow each other.
func TestDrawsAreIndependent(t *testing.T) {
	const n = 100_000
	a := newDraws(1, 0)
	others := map[string]func(i uint64) uint64{
		"next datagram": func(i uint64) uint64 { return a.bits(i+1, drawLoss) },
		"other purpose": func(i uint64) uint64 { return a.bits(i, drawJitter) },
		"other stream":  func(i uint64) uint64 { return newDraws(1, 1).bits(i, drawLoss) },
		"other seed":    func(i uint64) uint64 { return newDraws(2, 0).bits(i, drawLoss) },
	}
	for name, other := range others {
		var sum float64
		for i := range uint64(n) {
			x := float64(a.bits(i, drawLoss)>>11)*0x1p-53 - 0.5
			y := float64(other(i)>>11)*0x1p-53 - 0.5
			sum += x * y
		}
		if r := sum / n * 12; math.Abs(r) > 5/math.Sqrt(n) {
			t.Errorf("%s: correlation %.4f", name, r)
		}
	}
}

func TestDrawsUpTo(t *testing.T) {
	d := newDraws(3, 4)
	seen := make(map[time.Duration]int)
	for i := range uint64(1000) {
		seen[d.upTo(i, drawJitter, 3)]++
	}
	if len(seen) != 4 || seen[0] == 0 || seen[3] == 0 {
		t.Errorf("values of [0, 3]: %v", seen)
	}
	if v := d.upTo(0, drawJitter, 0); v != 0 {
		t.Errorf("upTo 0 = %v", v)
	}
}

func TestChanceAtTheEnds(t *testing.T) {
	d := newDraws(5, 6)
	for i := range uint64(10_000) {
		if d.chance(i, drawLoss, 0) || !d.chance(i, drawLoss, 1) {
			t.Fatalf("draw %d: chance 0 is %v, chance 1 is %v", i, d.chance(i, drawLoss, 0), d.chance(i, drawLoss, 1))
		}
	}
}
