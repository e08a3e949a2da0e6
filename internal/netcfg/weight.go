package netcfg

import "math"

// maxWeight bounds the weights of a multipath route. The kernel takes up to 256; few
// hash buckets suffice.
const maxWeight = 32

// weights reduces shares to small whole numbers, at least 1 each, within 4 per cent of
// their proportion if that is possible. A share of 0 is unknown and counts as the mean of
// the known ones.
func weights(shares []float64) []int {
	var sum, largest float64
	known := 0
	for _, s := range shares {
		if s > 0 {
			sum += s
			known++
		}
		largest = math.Max(largest, s)
	}
	w := make([]int, len(shares))
	if known == 0 {
		for i := range w {
			w[i] = 1
		}
		return w
	}
	filled := make([]float64, len(shares))
	for i, s := range shares {
		filled[i] = s
		if s <= 0 {
			filled[i] = sum / float64(known)
		}
	}
	best := math.Inf(1)
	for n := 1; n <= maxWeight; n++ {
		worst := 0.0
		try := make([]int, len(filled))
		for i, s := range filled {
			exact := s / largest * float64(n)
			try[i] = max(1, int(math.Round(exact)))
			worst = math.Max(worst, math.Abs(float64(try[i])-exact)/exact)
		}
		if worst < best-1e-9 {
			best, w = worst, try
		}
		if worst < 0.04 {
			break
		}
	}
	return w
}
