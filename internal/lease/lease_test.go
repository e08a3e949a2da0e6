package lease

import (
	"fmt"
	"net/netip"
	"testing"
)

// all takes addresses until there is none left.
func all(p *Pool, next func() (netip.Prefix, bool)) (addrs []netip.Addr) {
	for {
		a, ok := next()
		if !ok {
			return addrs
		}
		p.Take(a.Addr())
		addrs = append(addrs, a.Addr())
	}
}

func TestAllAddresses(t *testing.T) {
	for own, want := range map[string]int{
		"10.0.0.1/24":    253,
		"10.0.0.7/29":    6, // 7 is the broadcast address, and this end's all the same
		"10.0.0.1/30":    1,
		"10.0.0.0/31":    1,
		"10.0.0.1/32":    0,
		"fd00::1/120":    254,
		"fd00::1/127":    1,
		"fd00::/120":     255, // this end has the subnet-router address
		"192.168.0.1/22": 1021,
	} {
		for name, next := range map[string]func(p *Pool, n int) (netip.Prefix, bool){
			"lowest": func(p *Pool, _ int) (netip.Prefix, bool) { return p.Lowest() },
			"by id":  func(p *Pool, n int) (netip.Prefix, bool) { return p.For(fmt.Append(nil, n)) },
		} {
			net := netip.MustParsePrefix(own)
			p, seen, n := New(net), make(map[netip.Addr]bool), 0
			got := all(p, func() (netip.Prefix, bool) { n++; return next(p, n) })
			for _, a := range got {
				switch {
				case seen[a]:
					t.Errorf("%s: %v twice", own, a)
				case !net.Contains(a), a == net.Addr():
					t.Errorf("%s: %v", own, a)
				case net.Bits() < a.BitLen()-1 && a == net.Masked().Addr():
					t.Errorf("%s: %v is the network's own", own, a)
				}
				seen[a] = true
			}
			if len(got) != want {
				t.Errorf("%s: %d addresses %s, want %d", own, len(got), name, want)
			}
		}
	}
}

func TestStable(t *testing.T) {
	own := netip.MustParsePrefix("10.1.0.1/16")
	p, q := New(own), New(own)
	for i := range 50 { // q asks in another order
		q.For(fmt.Append(nil, 49-i))
	}
	for i := range 50 {
		a, _ := p.For(fmt.Append(nil, i))
		b, ok := q.For(fmt.Append(nil, i))
		if a != b || !ok || a.Bits() != 16 {
			t.Errorf("%d gets %v and %v", i, a, b)
		}
	}
	a, _ := p.For([]byte("x"))
	p.Take(a.Addr())
	b, _ := p.For([]byte("x"))
	if b == a {
		t.Errorf("%v is given out twice", a)
	}
	p.Release(a.Addr())
	if c, _ := p.For([]byte("x")); c != a {
		t.Errorf("%v, want %v again", c, a)
	}
}

func TestLargeNetwork(t *testing.T) {
	p := New(netip.MustParsePrefix("fd12:3456::1/64"))
	a, ok := p.For([]byte("x"))
	if !ok || !p.Network().Contains(a.Addr()) || a.Bits() != 64 {
		t.Errorf("%v", a)
	}
	if low, _ := p.Lowest(); low.String() != "fd12:3456::2/64" {
		t.Errorf("the lowest is %v", low)
	}
	if p.Take(netip.MustParseAddr("fd12:3457::1")) || p.Take(netip.MustParseAddr("fd12:3456::1")) {
		t.Error("took a foreign address or this end's")
	}
}
