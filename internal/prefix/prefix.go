// Package prefix finds the longest prefix that an IP address is in.
//
// A Table is a binary trie with one node for each prefix and each place where two of
// them part (Morrison's PATRICIA, 1968, as routers have it): a lookup takes as many
// steps as the address shares such places, about log2 of the number of prefixes for
// prefixes of one length, and allocates nothing.
package prefix

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// A Table maps prefixes to values. The zero Table is empty and ready to use. It is not
// safe for concurrent use.
type Table[V any] struct {
	four, six *node[V]
	n         int
}

type node[V any] struct {
	key   address
	bits  int // of key that count
	child [2]*node[V]
	value V
	has   bool // there is a value: the node is not only where two prefixes part
}

// An address is the bits of an IP address, first bit first. One of IPv4 fills the upper
// half of hi.
type address struct{ hi, lo uint64 }

func addressOf(a netip.Addr) address {
	if a.Is4() {
		b := a.As4()
		return address{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	b := a.As16()
	return address{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])}
}

// bit returns bit i, 0 being the first.
func (a address) bit(i int) int {
	if i < 64 {
		return int(a.hi >> (63 - i) & 1)
	}
	return int(a.lo >> (127 - i) & 1)
}

// common returns how many leading bits a and b share.
func (a address) common(b address) int {
	if x := a.hi ^ b.hi; x != 0 {
		return bits.LeadingZeros64(x)
	}
	return 64 + bits.LeadingZeros64(a.lo^b.lo)
}

// root returns the trie of the address family. IPv4-mapped addresses of IPv6 are those
// of IPv6 that they are.
func (t *Table[V]) root(a netip.Addr) **node[V] {
	if a.Is4() {
		return &t.four
	}
	return &t.six
}

// Len returns the number of prefixes.
func (t *Table[V]) Len() int { return t.n }

// Set maps a prefix, which must be valid, to a value, in the place of an earlier one.
// Host bits do not count.
func (t *Table[V]) Set(p netip.Prefix, v V) {
	p = p.Masked()
	key, size := addressOf(p.Addr()), p.Bits()
	at := t.root(p.Addr())
	for {
		n := *at
		if n == nil {
			*at = &node[V]{key: key, bits: size, value: v, has: true}
			t.n++
			return
		}
		same := min(key.common(n.key), n.bits, size)
		switch {
		case same < n.bits && same == size:
			// The new prefix contains this one.
			above := &node[V]{key: key, bits: size, value: v, has: true}
			above.child[n.key.bit(size)] = n
			*at = above
			t.n++
			return
		case same < n.bits:
			fork := &node[V]{key: key, bits: same}
			fork.child[n.key.bit(same)] = n
			fork.child[key.bit(same)] = &node[V]{key: key, bits: size, value: v, has: true}
			*at = fork
			t.n++
			return
		case n.bits == size:
			if !n.has {
				n.has = true
				t.n++
			}
			n.value = v
			return
		}
		at = &n.child[key.bit(n.bits)]
	}
}

// Delete removes a prefix and reports whether it was there.
func (t *Table[V]) Delete(p netip.Prefix) bool {
	p = p.Masked()
	key, size := addressOf(p.Addr()), p.Bits()
	at := t.root(p.Addr())
	var above **node[V] // of the node that leads to at
	for {
		n := *at
		if n == nil || n.bits > size || key.common(n.key) < n.bits {
			return false
		}
		if n.bits == size {
			if !n.has {
				return false
			}
			t.n--
			var none V
			n.value, n.has = none, false
			prune(at)
			if above != nil {
				prune(above)
			}
			return true
		}
		above, at = at, &n.child[key.bit(n.bits)]
	}
}

// prune removes a node without a value that no two prefixes part at.
func prune[V any](at **node[V]) {
	switch n := *at; {
	case n.has:
	case n.child[0] == nil:
		*at = n.child[1]
	case n.child[1] == nil:
		*at = n.child[0]
	}
}

// Get returns the value of exactly this prefix.
func (t *Table[V]) Get(p netip.Prefix) (v V, ok bool) {
	p = p.Masked()
	key, size := addressOf(p.Addr()), p.Bits()
	for n := *t.root(p.Addr()); n != nil && n.bits <= size && key.common(n.key) >= n.bits; n = n.child[key.bit(n.bits)] {
		if n.bits == size {
			return n.value, n.has
		}
	}
	return v, false
}

// Lookup returns the value of the longest prefix that contains an address, and the
// length of that prefix in bits. No prefix contains the zero Addr.
func (t *Table[V]) Lookup(a netip.Addr) (v V, size int, ok bool) {
	if !a.IsValid() {
		return v, 0, false
	}
	key, last := addressOf(a), a.BitLen()
	var best *node[V]
	for n := *t.root(a); n != nil && key.common(n.key) >= n.bits; n = n.child[key.bit(n.bits)] {
		if n.has {
			best = n
		}
		if n.bits == last {
			break
		}
	}
	if best == nil {
		return v, 0, false
	}
	return best.value, best.bits, true
}

// Contains reports whether any prefix contains an address.
func (t *Table[V]) Contains(a netip.Addr) bool {
	_, _, ok := t.Lookup(a)
	return ok
}

// A Set is a set of addresses, given by prefixes. It is not changed after NewSet, and
// so safe for concurrent use.
type Set struct{ t Table[struct{}] }

// NewSet returns the set of the addresses in any of the prefixes, which must be valid;
// nil if there is none.
func NewSet(prefixes []netip.Prefix) *Set {
	if len(prefixes) == 0 {
		return nil
	}
	s := new(Set)
	for _, p := range prefixes {
		s.t.Set(p, struct{}{})
	}
	return s
}

// Contains reports whether an address is in the set. A nil Set contains nothing.
func (s *Set) Contains(a netip.Addr) bool { return s != nil && s.t.Contains(a) }
