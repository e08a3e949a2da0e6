package flow

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// hashMultiplier is 2^64 divided by the golden ratio.
const hashMultiplier = 0x9e3779b97f4a7c15

// Hash returns a number that is equal for all packets of a flow in one direction,
// given the same seed. Both ends of a tunnel compute it, so it is part of the wire
// protocol:
//
// The input is 40 bytes.
//
//	 0..15  source address; IPv4 as 10 bytes 0x00, 2 bytes 0xff, then the address
//	16..31  destination address, likewise
//	32..33  source port, most significant byte first
//	34..35  destination port, likewise
//	36      protocol
//	37..39  0
//
// The fields are those of Info: fragments and protocols other than TCP and UDP have
// ports 0. A frame that holds no IP packet (Version 0) has as addresses 10 bytes
// 0x00 and the MAC address, and protocol 0.
//
// Take the input as five 64-bit words, most significant byte first. Let fold(a) be
// the exclusive or of the upper and the lower 64 bits of the 128-bit product of a
// and 0x9e3779b97f4a7c15. Start with h = seed. For each word w in turn, let
// h = fold(h xor w). Finally let h = fold(h xor seed). The result is the upper 32
// bits of h.
//
// It need not be cryptographic. The seed, secret and drawn at random for each
// session, keeps a stranger from choosing flows that collide.
func (f *Info) Hash(seed uint64) uint32 {
	var src, dst [16]byte
	if f.Version == 0 {
		copy(src[10:], f.SrcMAC[:])
		copy(dst[10:], f.DstMAC[:])
	} else {
		src, dst = hashAddr(f.Src), hashAddr(f.Dst)
	}
	last := uint64(f.SrcPort)<<48 | uint64(f.DstPort)<<32 | uint64(f.Protocol)<<24
	h := seed
	h = fold(h ^ binary.BigEndian.Uint64(src[:8]))
	h = fold(h ^ binary.BigEndian.Uint64(src[8:]))
	h = fold(h ^ binary.BigEndian.Uint64(dst[:8]))
	h = fold(h ^ binary.BigEndian.Uint64(dst[8:]))
	h = fold(h ^ last)
	h = fold(h ^ seed)
	return uint32(h >> 32)
}

// Bucket maps a flow's hash to one of n buckets, 0 to n-1: hash * n / 2^32, rounded
// down. It returns 0 if n is not positive.
func Bucket(hash uint32, n int) int {
	if n <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(hash), uint64(n))
	return int(hi<<32 | lo>>32)
}

func hashAddr(a netip.Addr) [16]byte {
	if !a.IsValid() {
		return [16]byte{}
	}
	return a.As16()
}

func fold(a uint64) uint64 {
	hi, lo := bits.Mul64(a, hashMultiplier)
	return hi ^ lo
}
