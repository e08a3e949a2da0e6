// Package flow looks into the packets that a tunnel carries: which flow they belong
// to, what they need, and how large the segments of their connection may be.
//
// Nothing in a packet is trusted. Whatever does not parse is reported as such, and
// no function reads beyond the packet or allocates.
package flow

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers that the package looks at (IANA, "Assigned Internet Protocol
// Numbers").
const (
	ProtocolICMP   = 1
	ProtocolTCP    = 6
	ProtocolUDP    = 17
	ProtocolICMPv6 = 58
)

// TCP flags (RFC 9293, section 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// EtherTypes that the package looks at.
const (
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd
	etherTypeVLAN = 0x8100
	etherTypeQinQ = 0x88a8
)

// Extension headers of IPv6 that the package walks over (RFC 8200, section 4).
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extDestination = 60

	maxExtensions = 8
)

// An Info is what the headers of one packet say.
type Info struct {
	// Version is 4 or 6, or 0 for an Ethernet frame that carries something else; then
	// only the fields of the frame are set.
	Version uint8

	// Protocol is IPv4's Protocol or the last Next Header of an IPv6 packet's chain
	// that could be reached.
	Protocol uint8

	// DSCP and ECN are the two parts of the traffic class (RFC 2474, RFC 3168).
	DSCP, ECN uint8

	// TCPFlags is 0 unless the packet holds a complete TCP header.
	TCPFlags uint8

	// Fragment says that the packet is one of several fragments, the first included.
	// Its ports are not looked at, so that all fragments of a datagram are alike.
	Fragment bool

	// Src and Dst are the addresses, never in the IPv6-mapped form of IPv4.
	Src, Dst netip.Addr

	// SrcPort and DstPort are those of a complete TCP or UDP header, otherwise 0.
	SrcPort, DstPort uint16

	// Length is the length in bytes of the IP packet, from its header's first byte to
	// its last as the header says; of the whole frame if Version is 0.
	Length int

	// Payload is the number of bytes behind the TCP or UDP header, or behind the IP
	// header and its extensions where no such header was read.
	Payload int

	// EtherType, SrcMAC and DstMAC belong to Ethernet frames. EtherType is the one
	// behind the VLAN tag if there is a tag.
	EtherType      uint16
	SrcMAC, DstMAC [6]byte
}

// Parse reads the headers of pkt, an IP packet or, if ethernet is set, an Ethernet
// frame with at most one VLAN tag and without preamble and check sequence. Bytes
// beyond the length in the IP header, such as Ethernet padding, are ignored.
//
// It returns false if pkt is not an IP packet with a valid header and all of the
// bytes that the header announces, nor a frame of another EtherType. A packet with
// something wrong behind the IP header is still a packet: it has no ports. Parse
// borrows pkt until it returns.
func Parse(pkt []byte, ethernet bool) (Info, bool) {
	var f Info
	if ethernet {
		return f, f.parseFrame(pkt)
	}
	return f, f.parseIP(pkt)
}

func (f *Info) parseFrame(pkt []byte) bool {
	if len(pkt) < 14 {
		return false
	}
	copy(f.DstMAC[:], pkt)
	copy(f.SrcMAC[:], pkt[6:])
	f.EtherType = binary.BigEndian.Uint16(pkt[12:])
	ip := pkt[14:]
	if f.EtherType == etherTypeVLAN || f.EtherType == etherTypeQinQ {
		if len(pkt) < 18 {
			return false
		}
		f.EtherType = binary.BigEndian.Uint16(pkt[16:])
		ip = pkt[18:]
	}
	switch f.EtherType {
	case etherTypeIPv4:
		return len(ip) > 0 && ip[0]>>4 == 4 && f.parseIP(ip)
	case etherTypeIPv6:
		return len(ip) > 0 && ip[0]>>4 == 6 && f.parseIP(ip)
	}
	f.Length = len(pkt)
	return true
}

func (f *Info) parseIP(pkt []byte) bool {
	if len(pkt) == 0 {
		return false
	}
	switch pkt[0] >> 4 {
	case 4:
		return f.parseIPv4(pkt)
	case 6:
		return f.parseIPv6(pkt)
	}
	return false
}

func (f *Info) parseIPv4(pkt []byte) bool {
	if len(pkt) < 20 {
		return false
	}
	header := int(pkt[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(pkt[2:]))
	if header < 20 || total < header || total > len(pkt) {
		return false
	}
	f.Version = 4
	f.DSCP, f.ECN = pkt[1]>>2, pkt[1]&3
	f.Protocol = pkt[9]
	f.Src = netip.AddrFrom4([4]byte(pkt[12:16]))
	f.Dst = netip.AddrFrom4([4]byte(pkt[16:20]))
	f.Length = total
	f.Fragment = binary.BigEndian.Uint16(pkt[6:])&0x3fff != 0 // more fragments, or an offset
	f.parseTransport(pkt[header:total])
	return true
}

func (f *Info) parseIPv6(pkt []byte) bool {
	if len(pkt) < 40 {
		return false
	}
	total := 40 + int(binary.BigEndian.Uint16(pkt[4:]))
	if total > len(pkt) {
		return false
	}
	class := pkt[0]<<4 | pkt[1]>>4
	f.Version = 6
	f.DSCP, f.ECN = class>>2, class&3
	f.Src = netip.AddrFrom16([16]byte(pkt[8:24]))
	f.Dst = netip.AddrFrom16([16]byte(pkt[24:40]))
	if f.Src.Is4In6() {
		f.Src = f.Src.Unmap()
	}
	if f.Dst.Is4In6() {
		f.Dst = f.Dst.Unmap()
	}
	f.Length = total
	f.Protocol = pkt[6]
	f.parseTransport(f.skipExtensions(pkt[40:total]))
	return true
}

// skipExtensions walks over the extension headers at the start of b, beginning with
// the type in f.Protocol, and returns what is behind them. It leaves in f.Protocol
// the type at which it stopped: that of a transport protocol, of an extension it
// does not know or cannot step over, or what a fragment contains.
func (f *Info) skipExtensions(b []byte) []byte {
	for range maxExtensions {
		var size int
		switch f.Protocol {
		case extHopByHop, extRouting, extDestination:
			if len(b) < 8 {
				return b
			}
			size = 8 + int(b[1])*8
		case extFragment:
			if len(b) < 8 {
				return b
			}
			size = 8
			// An atomic fragment (RFC 6946), with no offset and none to follow, is a
			// whole packet.
			f.Fragment = binary.BigEndian.Uint16(b[2:])&0xfff9 != 0
		default:
			return b
		}
		if size > len(b) {
			return b
		}
		f.Protocol = b[0]
		b = b[size:]
		if f.Fragment {
			return b
		}
	}
	return b
}

func (f *Info) parseTransport(b []byte) {
	f.Payload = len(b)
	if f.Fragment {
		return
	}
	switch f.Protocol {
	case ProtocolTCP:
		if len(b) < 20 {
			return
		}
		header := int(b[12]>>4) * 4
		if header < 20 || header > len(b) {
			return
		}
		f.TCPFlags = b[13]
		f.Payload -= header
	case ProtocolUDP:
		if len(b) < 8 {
			return
		}
		f.Payload -= 8
	default:
		return
	}
	f.SrcPort = binary.BigEndian.Uint16(b)
	f.DstPort = binary.BigEndian.Uint16(b[2:])
}
