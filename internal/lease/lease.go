// Package lease chooses addresses for hosts from a network.
//
// The choice follows from who asks: a host gets the same address again as long as no
// other holds it, after a restart, too, and with nothing stored. With n of N addresses
// taken, two hosts want the same one with a probability of about n²/2N (the birthday
// bound); then the later one gets the next that is free.
package lease

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// A Pool is a network whose addresses are given out. It is not safe for concurrent use.
type Pool struct {
	network netip.Prefix
	first   uint64 // offset of the first address that can be given out
	size    uint64 // how many there are from there
	taken   map[netip.Addr]struct{}
}

// maxHostBits bounds the addresses that are given out of a network: more are of no use.
const maxHostBits = 32

// New returns the pool of a network that own, one of its addresses with the length of its
// prefix, belongs to. own is taken. The network's own and its broadcast address, which
// those of IPv6 do not have, and the subnet-router address of IPv6 (RFC 4291, section
// 2.6.1) are never given out.
func New(own netip.Prefix) *Pool {
	host := own.Addr().BitLen() - own.Bits()
	p := &Pool{network: own.Masked(), size: 1 << min(host, maxHostBits), taken: make(map[netip.Addr]struct{})}
	if host > 1 {
		p.first = 1
		p.size--
		if own.Addr().Is4() {
			p.size--
		}
	}
	p.Take(own.Addr())
	return p
}

// Network returns the pool's network.
func (p *Pool) Network() netip.Prefix { return p.network }

// Take takes an address, and reports false if it is not of the network or taken already.
func (p *Pool) Take(a netip.Addr) bool {
	if _, taken := p.taken[a]; taken || !p.network.Contains(a) {
		return false
	}
	p.taken[a] = struct{}{}
	return true
}

// Release gives an address back.
func (p *Pool) Release(a netip.Addr) { delete(p.taken, a) }

// For returns the address for the host that id identifies, with the length of the
// network's prefix, and false if all are taken. It does not take it.
func (p *Pool) For(id []byte) (netip.Prefix, bool) {
	sum := sha256.Sum256(id)
	return p.from(binary.BigEndian.Uint64(sum[:]) % p.size)
}

// Lowest returns the lowest address that is free. It does not take it.
func (p *Pool) Lowest() (netip.Prefix, bool) { return p.from(0) }

// from returns the first free address at or after the one at an offset. Not more than
// the taken ones can be in the way.
func (p *Pool) from(start uint64) (netip.Prefix, bool) {
	for i := range min(p.size, uint64(len(p.taken))+1) {
		a := p.at((start + i) % p.size)
		if _, taken := p.taken[a]; !taken {
			return netip.PrefixFrom(a, p.network.Bits()), true
		}
	}
	return netip.Prefix{}, false
}

// at returns the address at an offset from the first.
func (p *Pool) at(offset uint64) netip.Addr {
	offset += p.first
	b := p.network.Addr().As16()
	low := binary.BigEndian.Uint64(b[8:]) | offset // the host bits of the network are 0
	binary.BigEndian.PutUint64(b[8:], low)
	a := netip.AddrFrom16(b)
	if p.network.Addr().Is4() {
		a = a.Unmap()
	}
	return a
}
