package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func TestParamsRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 1000 {
		p := Params{AEADs: uint8(r.Uint32()), Ethernet: r.IntN(2) == 0, Name: strings.Repeat("é", r.IntN(33))}
		for i := range r.IntN(MaxLinks + 1) {
			p.Indices = append(p.Indices, r.Uint32()&^0xff|uint32(i+1))
		}
		for range r.IntN(MaxPrefixes + 1) {
			addr, bits := netip.AddrFrom4([4]byte(randomBytes(r, 4))), r.IntN(33)
			if r.IntN(2) == 0 {
				addr, bits = netip.AddrFrom16([16]byte(append([]byte{0x20}, randomBytes(r, 15)...))), 8+r.IntN(121)
			}
			p.Prefixes = append(p.Prefixes, netip.PrefixFrom(addr, bits).Masked())
			if len(p.Addresses) < r.IntN(MaxAddresses+1) {
				p.Addresses = append(p.Addresses, netip.PrefixFrom(addr, bits))
			}
		}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		b := p.Append(nil)
		got, err := ParseParams(b)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(p) {
			t.Fatalf("have %v\nwant %v", got, p)
		}
		for i := range b {
			b[i] = 0xff
		}
		if fmt.Sprint(got) != fmt.Sprint(p) {
			t.Fatal("the result shares memory with the input")
		}
	}
}

// The largest valid Params fit in a Noise message, with the overhead of IKpsk2.
func TestParamsLargest(t *testing.T) {
	p := Params{AEADs: 3, Name: strings.Repeat("n", MaxName), Ethernet: true}
	for i := range MaxLinks {
		p.Indices = append(p.Indices, uint32(i+1))
	}
	for range MaxPrefixes {
		p.Prefixes = append(p.Prefixes, netip.MustParsePrefix("2001:db8::/32"))
	}
	const ikOverhead = 96
	if n := len(p.Append(nil)); n > MaxNoiseSize-ikOverhead {
		t.Errorf("%d bytes", n)
	}
	for range MaxAddresses { // which only responders send
		p.Addresses = append(p.Addresses, netip.MustParsePrefix("2001:db8::1/64"))
	}
	const responderOverhead = 48
	if n := len(p.Append(nil)); n > MaxNoiseSize-responderOverhead {
		t.Errorf("%d bytes with addresses", n)
	}
}

func TestParamsValidate(t *testing.T) {
	many := make([]uint32, MaxLinks+1)
	for i := range many {
		many[i] = uint32(i + 1)
	}
	for _, test := range []struct {
		p    Params
		want error
	}{
		{Params{Indices: many}, ErrLength},
		{Params{Indices: []uint32{1, 0}}, ErrValue},
		{Params{Indices: []uint32{1, 2, 1}}, ErrDuplicate},
		{Params{Name: strings.Repeat("n", MaxName+1)}, ErrValue},
		{Params{Name: "a\x00"}, ErrValue},
		{Params{Name: "\xff"}, ErrValue},
		{Params{Prefixes: make([]netip.Prefix, 1)}, ErrValue},
		{Params{Prefixes: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 8)}}, ErrValue},
		{Params{Prefixes: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104)}}, ErrValue},
		{Params{Prefixes: make([]netip.Prefix, MaxPrefixes+1)}, ErrLength},
	} {
		if err := test.p.Validate(); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v, want %v", test.p, err, test.want)
		}
	}
}

// A claimed length allocates nothing.
func TestParseParamsBounded(t *testing.T) {
	huge := append([]byte{paramIndices, 0xff, 0xff}, make([]byte, 100)...)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ParseParams(huge); err == nil {
			t.Error("accepted")
		}
	}); n > 4 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParseParams(b *testing.B) {
	b.ReportAllocs()
	p := Params{AEADs: 3, Indices: []uint32{1, 2, 3}, Name: "home", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	msg := p.Append(nil)
	for b.Loop() {
		if _, err := ParseParams(msg); err != nil {
			b.Fatal(err)
		}
	}
}
