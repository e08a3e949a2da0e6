package linksim

import (
	"math/bits"
	"time"
)

// A purpose keeps the draws for one datagram apart.
type purpose uint64

const (
	drawLoss purpose = iota
	drawBurst
	drawDuplicate
	drawJitter
	drawReorder
	drawCopyJitter
	drawCopyReorder

	purposes = 8
)

// draws is a random function of a datagram's number and a purpose: the output of
// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) at that position of the stream
// that the key begins. It has no state, so draws cannot disturb each other.
type draws struct{ key uint64 }

func newDraws(seed, stream uint64) draws {
	return draws{mix(mix(seed+golden) + golden*(stream+1))}
}

const golden = 0x9e3779b97f4a7c15

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (d draws) bits(n uint64, p purpose) uint64 {
	return mix(d.key + golden*(n*purposes+uint64(p)+1))
}

// chance is true with probability p.
func (d draws) chance(n uint64, why purpose, p float64) bool {
	return p > 0 && float64(d.bits(n, why)>>11)*0x1p-53 < p
}

// upTo returns a duration uniform in [0, most].
func (d draws) upTo(n uint64, why purpose, most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	hi, _ := bits.Mul64(d.bits(n, why), uint64(most)+1)
	return time.Duration(hi)
}
