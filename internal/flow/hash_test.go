package flow

import (
	"encoding/binary"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// specHash computes the hash as its specification words it, on the 40 bytes and with
// big integers.
func specHash(f *Info, seed uint64) uint32 {
	in := make([]byte, 0, 40)
	if f.Version == 0 {
		in = append(append(in, make([]byte, 10)...), f.SrcMAC[:]...)
		in = append(append(in, make([]byte, 10)...), f.DstMAC[:]...)
	} else {
		for _, a := range []netip.Addr{f.Src, f.Dst} {
			if a.Is4() {
				in = append(in, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff)
			}
			in = append(in, a.AsSlice()...)
		}
	}
	in = append(in, byte(f.SrcPort>>8), byte(f.SrcPort), byte(f.DstPort>>8), byte(f.DstPort), f.Protocol, 0, 0, 0)
	fold := func(a uint64) uint64 {
		p := new(big.Int).Mul(new(big.Int).SetUint64(a), new(big.Int).SetUint64(0x9e3779b97f4a7c15))
		b := p.FillBytes(make([]byte, 16))
		return binary.BigEndian.Uint64(b[:8]) ^ binary.BigEndian.Uint64(b[8:])
	}
	h := seed
	for len(in) > 0 {
		h = fold(h ^ binary.BigEndian.Uint64(in))
		in = in[8:]
	}
	return uint32(fold(h^seed) >> 32)
}

func randomInfo(r *rand.Rand) Info {
	f := Info{Version: 4, Protocol: byte(r.Uint32()), SrcPort: uint16(r.Uint32()), DstPort: uint16(r.Uint32())}
	var a, b [16]byte
	for i := range a {
		a[i], b[i] = byte(r.Uint32()), byte(r.Uint32())
	}
	switch r.IntN(3) {
	case 0:
		f.Version = 6
		f.Src, f.Dst = netip.AddrFrom16(a), netip.AddrFrom16(b)
	case 1:
		f.Src, f.Dst = netip.AddrFrom4([4]byte(a[:4])), netip.AddrFrom4([4]byte(b[:4]))
	default:
		f = Info{SrcMAC: [6]byte(a[:6]), DstMAC: [6]byte(b[:6])}
	}
	return f
}

func TestHashIsAsSpecified(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		f, seed := randomInfo(r), r.Uint64()
		if got, want := f.Hash(seed), specHash(&f, seed); got != want {
			t.Fatalf("hash of %+v with seed %#x is %#x, want %#x", f, seed, got, want)
		}
	}
}

// TestHashVectors pins the wire protocol.
func TestHashVectors(t *testing.T) {
	for _, tt := range []struct {
		f    Info
		seed uint64
		want uint32
	}{
		{Info{Version: 4, Protocol: 6, Src: src4, Dst: dst4, SrcPort: 49152, DstPort: 443}, 0x0123456789abcdef, 0x20bda168},
		{Info{Version: 6, Protocol: 17, Src: src6, Dst: dst6, SrcPort: 49152, DstPort: 443}, 0x0123456789abcdef, 0xe2545309},
		{Info{SrcMAC: [6]byte{2, 0, 0, 0, 0, 1}, DstMAC: [6]byte{255, 255, 255, 255, 255, 255}}, 0x0123456789abcdef, 0x0ea6083a},
		{Info{Version: 4, Protocol: 1, Src: src4, Dst: dst4}, 0, 0xa341e327},
	} {
		if got := tt.f.Hash(tt.seed); got != tt.want {
			t.Errorf("hash of %+v with seed %#x is %#08x, want %#08x", tt.f, tt.seed, got, tt.want)
		}
	}
}

// TestBucketsAreEven fills 64 buckets with flows that differ as little as real ones
// do, and compares chi-square with its 99.99 % quantile for 63 degrees of freedom.
func TestBucketsAreEven(t *testing.T) {
	const n, flows, limit = 64, 64000, 114.8
	base := Info{Version: 4, Protocol: 6, Src: src4, Dst: dst4, SrcPort: 40000, DstPort: 443}
	for _, tt := range []struct {
		name string
		vary func(f *Info, i int)
	}{
		{"source port", func(f *Info, i int) { f.SrcPort = uint16(i) }},
		{"destination port", func(f *Info, i int) { f.DstPort = uint16(i) }},
		{"low address bits", func(f *Info, i int) { f.Src = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }},
		{"high address bits", func(f *Info, i int) { f.Dst = netip.AddrFrom4([4]byte{byte(i), byte(i >> 8), 0, 1}) }},
		{"IPv6 prefixes", func(f *Info, i int) {
			f.Dst = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i), 15: 1})
		}},
		{"IPv6 interfaces", func(f *Info, i int) {
			f.Src = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)})
		}},
	} {
		for _, seed := range []uint64{0, 1, 0x5851f42d4c957f2d} {
			var count [n]int
			for i := range flows {
				f := base
				tt.vary(&f, i)
				count[Bucket(f.Hash(seed), n)]++
			}
			chi := 0.0
			for _, c := range count {
				d := float64(c) - flows/n
				chi += d * d / (flows / n)
			}
			if chi > limit {
				t.Errorf("%s, seed %#x: chi-square %.1f, want at most %.1f", tt.name, seed, chi, limit)
			}
		}
	}
}

// TestSeedSeparatesFlows checks that flows that share a bucket under one seed do not
// keep together under others.
func TestSeedSeparatesFlows(t *testing.T) {
	const n, seeds = 64, 4000
	r := rand.New(rand.NewPCG(3, 4))
	base := Info{Version: 4, Protocol: 6, Src: src4, Dst: dst4, SrcPort: 40000, DstPort: 443}
	for port := range uint16(200) {
		other := base
		other.SrcPort ^= port + 1
		same := 0
		for range seeds {
			seed := r.Uint64()
			if Bucket(base.Hash(seed), n) == Bucket(other.Hash(seed), n) {
				same++
			}
		}
		// 62.5 are expected, with a standard deviation of 7.8.
		if same > 110 || same < 20 {
			t.Errorf("source port xor %d: %d of %d seeds agree, want about %d", port+1, same, seeds, seeds/n)
		}
	}
}

func TestBucketRange(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		f, seed := randomInfo(r), r.Uint64()
		for _, n := range []int{-1, 0, 1} {
			if got := Bucket(f.Hash(seed), n); got != 0 {
				t.Fatalf("Bucket(%d) = %d", n, got)
			}
		}
		for _, n := range []int{2, 3, 1000, 1 << 20} {
			want := int(uint64(f.Hash(seed)) * uint64(n) >> 32)
			if got := Bucket(f.Hash(seed), n); got != want || got >= n {
				t.Fatalf("Bucket(%d) = %d, want %d", n, got, want)
			}
		}
	}
}

// TestFragmentsStayTogether checks that all fragments of a datagram hash alike.
func TestFragmentsStayTogether(t *testing.T) {
	for _, pkts := range [][][]byte{
		{ip4(17, 0, 0x2000, udp(1000, 2000, 8)), ip4(17, 0, 0x2002, make([]byte, 16)), ip4(17, 0, 4, make([]byte, 3))},
		{ip6(44, 0, cat(fragment6(17, 0, true), udp(1000, 2000, 8))), ip6(44, 0, cat(fragment6(17, 2, false), make([]byte, 3)))},
	} {
		first, _ := Parse(pkts[0], false)
		for _, pkt := range pkts[1:] {
			f, ok := Parse(pkt, false)
			if !ok || f.Hash(9) != first.Hash(9) {
				t.Errorf("fragment %+v, %v hashes unlike the first", f, ok)
			}
		}
	}
}
