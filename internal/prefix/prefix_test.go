package prefix

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// A model is a Table that looks at each prefix.
type model map[netip.Prefix]int

func (m model) lookup(a netip.Addr) (v, size int, ok bool) {
	for p, x := range m {
		if p.Contains(a) && (!ok || p.Bits() > size) {
			v, size, ok = x, p.Bits(), true
		}
	}
	return v, size, ok
}

// randomAddr returns addresses that often share bits.
func randomAddr(r *rand.Rand) netip.Addr {
	if r.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{10, byte(r.IntN(2)), byte(r.IntN(3)) << 6, byte(r.IntN(256))})
	}
	a := [16]byte{0: 0xfd, 7: byte(r.IntN(3)), 8: byte(r.IntN(3)) << 7, 15: byte(r.IntN(256))}
	if r.IntN(8) == 0 {
		a = [16]byte{10: 0xff, 11: 0xff, 12: 10, 15: byte(r.IntN(4))} // IPv4-mapped
	}
	return netip.AddrFrom16(a)
}

func TestModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var table Table[int]
		m := make(model)
		for step := range 300 {
			a := randomAddr(r)
			p := netip.PrefixFrom(a, r.IntN(a.BitLen()+1))
			switch r.IntN(3) {
			case 0:
				_, had := m[p.Masked()]
				delete(m, p.Masked())
				if table.Delete(p) != had {
					t.Fatalf("seed %d, step %d: delete %v: %v", seed, step, p, !had)
				}
			default:
				table.Set(p, step)
				m[p.Masked()] = step
			}
			if table.Len() != len(m) {
				t.Fatalf("seed %d, step %d: %d prefixes, want %d", seed, step, table.Len(), len(m))
			}
			b := randomAddr(r)
			v, size, ok := table.Lookup(b)
			mv, msize, mok := m.lookup(b)
			if v != mv || size != msize || ok != mok {
				t.Fatalf("seed %d, step %d: %v is in %d/%d %v, want %d/%d %v", seed, step, b, v, size, ok, mv, msize, mok)
			}
			got, has := table.Get(p)
			want, mhas := m[p.Masked()]
			if got != want || has != mhas {
				t.Fatalf("seed %d, step %d: %v has %d %v, want %d %v", seed, step, p, got, has, want, mhas)
			}
		}
		for p := range m {
			table.Delete(p)
		}
		if table.four != nil || table.six != nil {
			t.Fatalf("seed %d: nodes are left when all prefixes are gone", seed)
		}
	}
}

func TestFamilies(t *testing.T) {
	var table Table[string]
	table.Set(netip.MustParsePrefix("0.0.0.0/0"), "four")
	if _, _, ok := table.Lookup(netip.MustParseAddr("::ffff:10.0.0.1")); ok {
		t.Error("an IPv4-mapped address is in a prefix of IPv4")
	}
	table.Set(netip.MustParsePrefix("::/0"), "six")
	for addr, want := range map[string]string{"10.0.0.1": "four", "::1": "six", "::ffff:10.0.0.1": "six"} {
		if v, size, ok := table.Lookup(netip.MustParseAddr(addr)); v != want || size != 0 || !ok {
			t.Errorf("%s: %q %d %v", addr, v, size, ok)
		}
	}
	table.Set(netip.MustParsePrefix("::/128"), "zero")
	if table.Contains(netip.Addr{}) {
		t.Error("no address at all is in a prefix")
	}
}

func TestSet(t *testing.T) {
	if NewSet(nil) != nil || (*Set)(nil).Contains(netip.MustParseAddr("10.0.0.1")) {
		t.Error("the empty set is not empty")
	}
	s := NewSet([]netip.Prefix{netip.MustParsePrefix("10.0.0.7/8")})
	if !s.Contains(netip.MustParseAddr("10.1.1.1")) || s.Contains(netip.MustParseAddr("11.0.0.0")) {
		t.Error("10.0.0.7/8 is not what it says")
	}
}

// thousands is a table with n clients of two addresses each.
func thousands(n int) (t Table[int], addrs []netip.Addr) {
	for i := range n {
		a4 := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		a6 := netip.AddrFrom16([16]byte{0: 0xfd, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
		t.Set(netip.PrefixFrom(a4, 32), i)
		t.Set(netip.PrefixFrom(a6, 128), i)
		addrs = append(addrs, a4, a6)
	}
	return t, addrs
}

func TestLookupDoesNotAllocate(t *testing.T) {
	table, addrs := thousands(1000)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		table.Lookup(addrs[i%len(addrs)])
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1, 100, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, addrs := thousands(n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, _, ok := table.Lookup(addrs[i%len(addrs)]); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}

func FuzzTable(f *testing.F) {
	f.Add([]byte{1, 8, 2, 24, 3, 32})
	f.Fuzz(func(t *testing.T, b []byte) {
		var table Table[int]
		m := make(model)
		for i := 0; i+2 < len(b); i += 3 {
			a := netip.AddrFrom4([4]byte{b[i], b[i+1] & 3})
			if b[i]&1 != 0 {
				a = netip.AddrFrom16([16]byte{b[i], b[i+1] & 3, 15: b[i+1]})
			}
			p := netip.PrefixFrom(a, int(b[i+2])%(a.BitLen()+1))
			if b[i+1]&0x80 != 0 {
				table.Delete(p)
				delete(m, p.Masked())
			} else {
				table.Set(p, i)
				m[p.Masked()] = i
			}
			v, size, ok := table.Lookup(a)
			if mv, msize, mok := m.lookup(a); v != mv || size != msize || ok != mok {
				t.Fatalf("%v: %d/%d %v, want %d/%d %v", a, v, size, ok, mv, msize, mok)
			}
		}
	})
}
