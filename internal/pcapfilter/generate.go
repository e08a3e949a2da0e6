package pcapfilter

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"
)

// A generator makes nodes for the headers of one link type. The order of what it
// compares is that of libpcap: see node.
type generator struct {
	link LinkType
}

const etherHeader = 14

// etherTypes has the EtherTypes (IEEE 802 Numbers) of the protocols by name.
var etherTypes = map[string]uint32{"ip": 0x0800, "ip6": 0x86dd, "arp": 0x0806, "rarp": 0x8035}

// network returns the offset of the network layer's header.
func (g *generator) network() uint32 {
	if g.link == Ethernet {
		return etherHeader
	}
	return 0
}

// load returns the condition that size bytes at an offset, masked, are as cond says to
// what they are compared with. The mask ^0 masks nothing.
func load(offset uint32, size int, mask uint32, cond bpf.JumpTest, with uint32) *node {
	n := &node{kind: test, code: []bpf.Instruction{bpf.LoadAbsolute{Off: offset, Size: size}}, cond: cond, with: with}
	if mask != ^uint32(0) {
		n.code = append(n.code, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: mask})
	}
	return n
}

func equal(offset uint32, size int, value uint32) *node {
	return load(offset, size, ^uint32(0), bpf.JumpEqual, value)
}

// proto returns whether a packet is of the network protocol called name.
func (g *generator) proto(name string) *node { return g.etherType(etherTypes[name]) }

const (
	// maxLength is the largest value of an Ethernet frame's type field that is a length
	// (IEEE 802.3).
	maxLength = 1500
	// Service access points that mean something only at both ends (IEEE 802.2).
	sapISO     = 0xfe
	sapNetBEUI = 0xf0
)

// oddTypes are the protocols that Ethernet frames carry in more than one way.
var oddTypes = map[uint32]bool{0xe0: true, 0x809b: true, 0x80f3: true} // IPX, AppleTalk, AARP

func (g *generator) etherType(n uint32) *node {
	if g.link == Raw {
		switch n {
		case etherTypes["ip"]:
			return load(0, 1, 0xf0, bpf.JumpEqual, 0x40)
		case etherTypes["ip6"]:
			return load(0, 1, 0xf0, bpf.JumpEqual, 0x60)
		}
		return always(false)
	}
	if n > maxLength {
		return equal(12, 2, n)
	}
	short := not(load(12, 2, ^uint32(0), bpf.JumpGreaterThan, maxLength))
	if n == sapISO || n == sapNetBEUI {
		return and(short, equal(14, 2, n<<8|n))
	}
	return and(short, equal(14, 1, n))
}

// protocols has the protocol numbers (IANA) of the protocols that have a keyword.
var protocols = map[string]uint32{
	"icmp": 1, "igmp": 2, "tcp": 6, "igrp": 9, "udp": 17, "esp": 50, "ah": 51, "icmp6": 58,
	"pim": 103, "carp": 112, "vrrp": 112, "sctp": 132,
}

// transport reports whether bytes can be read by their place in proto's header.
func (g *generator) transport(proto string) bool {
	switch proto {
	case "sctp", "tcp", "udp", "icmp", "igmp", "igrp", "pim", "vrrp", "carp":
		return true
	}
	return false
}

// abbreviation returns what a protocol's keyword alone stands for.
func (g *generator) abbreviation(proto string) *node {
	switch n := protocols[proto]; proto {
	case "icmp", "igmp", "igrp", "vrrp", "carp":
		return g.ipProto(n)
	case "icmp6":
		return g.ip6Proto(n)
	case "tcp", "udp", "sctp", "pim", "ah", "esp":
		return or(g.ipProto(n), g.ip6Proto(n))
	}
	return g.proto(proto)
}

func (g *generator) ipProto(n uint32) *node {
	return and(g.proto("ip"), equal(g.network()+9, 1, n))
}

// ip6Proto looks at the next header, and behind a fragment header.
func (g *generator) ip6Proto(n uint32) *node {
	const fragment = 44
	behind := and(g.nextHeader(fragment), equal(g.network()+40, 1, n))
	return and(g.proto("ip6"), or(g.nextHeader(n), behind))
}

func (g *generator) nextHeader(n uint32) *node { return equal(g.network()+6, 1, n) }

// notFragment returns whether an IPv4 packet begins a datagram.
func (g *generator) notFragment() *node {
	return not(load(g.network()+6, 2, ^uint32(0), bpf.JumpBitsSet, 0x1fff))
}

// direct combines what is said of source and destination.
func direct(dir direction, src, dst *node) *node {
	switch dir {
	case dirSrc:
		return src
	case dirDst:
		return dst
	case dirBoth:
		return and(src, dst)
	}
	return or(src, dst)
}

// host4 returns whether an address is in a network; proto is ip, arp, rarp or empty.
func (g *generator) host4(addr, mask uint32, proto string, dir direction) *node {
	at := func(proto string, src, dst uint32) *node {
		compare := func(offset uint32) *node {
			return load(g.network()+offset, 4, mask, bpf.JumpEqual, addr)
		}
		return and(g.proto(proto), direct(dir, compare(src), compare(dst)))
	}
	switch proto {
	case "ip":
		return at("ip", 12, 16)
	case "arp", "rarp":
		return at(proto, 14, 24)
	}
	return or(or(at("ip", 12, 16), at("arp", 14, 24)), at("rarp", 14, 24))
}

// host6 does the same for IPv6.
func (g *generator) host6(p netip.Prefix, dir direction) *node {
	addr := p.Addr().As16()
	compare := func(offset uint32) *node {
		var n *node
		for i := 3; i >= 0; i-- {
			bits := min(max(p.Bits()-32*i, 0), 32)
			mask := ^uint32(0) << (32 - bits)
			word := load(g.network()+offset+uint32(4*i), 4, mask, bpf.JumpEqual, binary.BigEndian.Uint32(addr[4*i:]))
			if n == nil {
				n = word
			} else {
				n = and(word, n)
			}
		}
		return n
	}
	return and(g.proto("ip6"), direct(dir, compare(8), compare(24)))
}

// ports returns whether a port is between two. protos are those to look at.
func (g *generator) ports(low, high uint32, protos []string, dir direction) *node {
	between := func(at func(cond bpf.JumpTest, with uint32) *node) *node {
		if low == high {
			return at(bpf.JumpEqual, low)
		}
		return and(at(bpf.JumpGreaterOrEqual, low), not(at(bpf.JumpGreaterThan, high)))
	}
	at4 := func(offset uint32) *node {
		return between(func(cond bpf.JumpTest, with uint32) *node {
			return &node{kind: test, cond: cond, with: with, code: []bpf.Instruction{
				bpf.LoadMemShift{Off: g.network()}, bpf.LoadIndirect{Off: g.network() + offset, Size: 2}}}
		})
	}
	at6 := func(offset uint32) *node {
		return between(func(cond bpf.JumpTest, with uint32) *node {
			return load(g.network()+40+offset, 2, ^uint32(0), cond, with)
		})
	}
	any4, any6 := always(false), always(false)
	for _, proto := range protos {
		is4 := and(equal(g.network()+9, 1, protocols[proto]), g.notFragment())
		any4 = or(any4, and(is4, direct(dir, at4(0), at4(2))))
		any6 = or(any6, and(g.nextHeader(protocols[proto]), direct(dir, at6(0), at6(2))))
	}
	return or(and(g.proto("ip6"), any6), and(g.proto("ip"), any4))
}

// mac returns whether an Ethernet address is a frame's source or destination.
func (g *generator) mac(addr [6]byte, dir direction) *node {
	compare := func(offset uint32) *node {
		return and(equal(offset+2, 4, binary.BigEndian.Uint32(addr[2:])), equal(offset, 2, uint32(binary.BigEndian.Uint16(addr[:]))))
	}
	return direct(dir, compare(6), compare(0))
}

// multicast returns whether a packet is for a group, by its Ethernet or IP address.
func (g *generator) multicast(proto string) *node {
	switch proto {
	case "ip":
		return and(g.proto("ip"), load(g.network()+16, 1, ^uint32(0), bpf.JumpGreaterOrEqual, 224))
	case "ip6":
		return and(g.proto("ip6"), equal(g.network()+24, 1, 255))
	}
	return load(0, 1, ^uint32(0), bpf.JumpBitsSet, 1)
}

// size returns whether a packet's length compares so.
func size(cond bpf.JumpTest, with uint32) *node {
	return &node{kind: test, code: length().code, cond: cond, with: with}
}
