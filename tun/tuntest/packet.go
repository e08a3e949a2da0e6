package tuntest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Protocol numbers.
const (
	protocolICMP   = 1
	protocolTCP    = 6
	protocolUDP    = 17
	protocolICMPv6 = 58
)

// TCP flags (RFC 9293, section 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// EtherTypes.
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeIPv6 = 0x86dd
)

// A TCP is what goes into a TCP header besides the ports.
type TCP struct {
	Seq, Ack uint32
	Flags    uint8
	Window   uint16 // 0 is 65535
	MSS      uint16 // 0 is no MSS option
}

// UDP4 returns an IPv4 packet with a UDP datagram. It panics if an address is not
// IPv4 or the packet would be longer than 65535 bytes, as do the other builders in
// their way.
func UDP4(src, dst netip.AddrPort, payload []byte) []byte {
	return ipv4(src.Addr(), dst.Addr(), protocolUDP, udp(src, dst, payload))
}

// UDP6 returns an IPv6 packet with a UDP datagram.
func UDP6(src, dst netip.AddrPort, payload []byte) []byte {
	return ipv6(src.Addr(), dst.Addr(), protocolUDP, udp(src, dst, payload))
}

// TCP4 returns an IPv4 packet with a TCP segment.
func TCP4(src, dst netip.AddrPort, h TCP, payload []byte) []byte {
	return ipv4(src.Addr(), dst.Addr(), protocolTCP, tcp(src, dst, h, payload))
}

// TCP6 returns an IPv6 packet with a TCP segment.
func TCP6(src, dst netip.AddrPort, h TCP, payload []byte) []byte {
	return ipv6(src.Addr(), dst.Addr(), protocolTCP, tcp(src, dst, h, payload))
}

// Echo4 returns an ICMP echo request, or a reply.
func Echo4(src, dst netip.Addr, reply bool, id, seq uint16, payload []byte) []byte {
	kind := byte(8)
	if reply {
		kind = 0
	}
	return ipv4(src, dst, protocolICMP, echo(kind, id, seq, payload))
}

// Echo6 returns an ICMPv6 echo request, or a reply.
func Echo6(src, dst netip.Addr, reply bool, id, seq uint16, payload []byte) []byte {
	kind := byte(128)
	if reply {
		kind = 129
	}
	return ipv6(src, dst, protocolICMPv6, echo(kind, id, seq, payload))
}

// Ethernet returns a frame without preamble and check sequence. It is not padded.
func Ethernet(dst, src [6]byte, etherType uint16, payload []byte) []byte {
	b := append(dst[:], src[:]...)
	b = binary.BigEndian.AppendUint16(b, etherType)
	return append(b, payload...)
}

func udp(src, dst netip.AddrPort, payload []byte) []byte {
	b := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return append(b, payload...)
}

func tcp(src, dst netip.AddrPort, h TCP, payload []byte) []byte {
	size := 20
	if h.MSS != 0 {
		size = 24
	}
	b := make([]byte, size, size+len(payload))
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint32(b[4:], h.Seq)
	binary.BigEndian.PutUint32(b[8:], h.Ack)
	b[12] = byte(size / 4 << 4)
	b[13] = h.Flags
	window := h.Window
	if window == 0 {
		window = 0xffff
	}
	binary.BigEndian.PutUint16(b[14:], window)
	if h.MSS != 0 {
		b[20], b[21] = 2, 4
		binary.BigEndian.PutUint16(b[22:], h.MSS)
	}
	return append(b, payload...)
}

func echo(kind byte, id, seq uint16, payload []byte) []byte {
	b := make([]byte, 8, 8+len(payload))
	b[0] = kind
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	return append(b, payload...)
}

func ipv4(src, dst netip.Addr, protocol byte, payload []byte) []byte {
	if !src.Unmap().Is4() || !dst.Unmap().Is4() {
		panic(fmt.Sprintf("tuntest: %v or %v is not an IPv4 address", src, dst))
	}
	total := 20 + len(payload)
	if total > 0xffff {
		panic(fmt.Sprintf("tuntest: an IPv4 packet of %d bytes", total))
	}
	b := make([]byte, 20, total)
	b[0] = 4<<4 | 5
	binary.BigEndian.PutUint16(b[2:], uint16(total))
	b[6] = 0x40 // don't fragment
	b[8] = 64
	b[9] = protocol
	a4, b4 := src.Unmap().As4(), dst.Unmap().As4()
	copy(b[12:], a4[:])
	copy(b[16:], b4[:])
	b = append(b, payload...)
	FixChecksums(b)
	return b
}

func ipv6(src, dst netip.Addr, protocol byte, payload []byte) []byte {
	if !src.Is6() || !dst.Is6() {
		panic(fmt.Sprintf("tuntest: %v or %v is not an IPv6 address", src, dst))
	}
	if len(payload) > 0xffff {
		panic(fmt.Sprintf("tuntest: an IPv6 packet with %d bytes of payload", len(payload)))
	}
	b := make([]byte, 40, 40+len(payload))
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	b[6] = protocol
	b[7] = 64
	a16, b16 := src.As16(), dst.As16()
	copy(b[8:], a16[:])
	copy(b[24:], b16[:])
	b = append(b, payload...)
	FixChecksums(b)
	return b
}

// FixChecksums computes the checksums of an IP packet without extension headers that a
// test has edited. It does nothing to a packet with a malformed header.
func FixChecksums(pkt []byte) {
	p, err := split(pkt)
	if err != nil {
		return
	}
	if p.version == 4 {
		pkt[10], pkt[11] = 0, 0
		binary.BigEndian.PutUint16(pkt[10:], ^sum(pkt[:p.header], 0))
	}
	if p.checksum < 0 {
		return
	}
	field := p.transport[p.checksum : p.checksum+2]
	field[0], field[1] = 0, 0
	c := ^sum(p.transport, p.pseudo)
	if c == 0 && p.protocol == protocolUDP {
		c = 0xffff // 0 would mean that there is no checksum (RFC 768)
	}
	binary.BigEndian.PutUint16(field, c)
}

// Check verifies the lengths and checksums of pkt, an IP packet: the IPv4 header's,
// and that of TCP, UDP, ICMP or ICMPv6 behind it. Fragments and IPv6 extension headers
// are refused, since nothing here makes them.
func Check(pkt []byte) error {
	p, err := split(pkt)
	if err != nil {
		return err
	}
	if p.version == 4 && sum(pkt[:p.header], 0) != 0xffff {
		return errors.New("tuntest: wrong IPv4 header checksum")
	}
	if p.checksum < 0 {
		return nil
	}
	if p.protocol == protocolUDP {
		if n := int(binary.BigEndian.Uint16(p.transport[4:])); n != len(p.transport) {
			return fmt.Errorf("tuntest: UDP length %d, want %d", n, len(p.transport))
		}
		if binary.BigEndian.Uint16(p.transport[6:]) == 0 {
			if p.version == 6 {
				return errors.New("tuntest: IPv6 packet without UDP checksum")
			}
			return nil
		}
	}
	if sum(p.transport, p.pseudo) != 0xffff {
		return fmt.Errorf("tuntest: wrong checksum in protocol %d", p.protocol)
	}
	return nil
}

// Payload returns what a valid packet carries behind its UDP, TCP or ICMP header, as a
// slice of pkt.
func Payload(pkt []byte) ([]byte, error) {
	if err := Check(pkt); err != nil {
		return nil, err
	}
	p, err := split(pkt)
	if err != nil {
		return nil, err
	}
	switch p.protocol {
	case protocolTCP:
		header := int(p.transport[12]>>4) * 4
		if header < 20 || header > len(p.transport) {
			return nil, fmt.Errorf("tuntest: TCP header of %d bytes in a segment of %d", header, len(p.transport))
		}
		return p.transport[header:], nil
	case protocolUDP, protocolICMP, protocolICMPv6:
		return p.transport[8:], nil
	}
	return p.transport, nil
}

type parts struct {
	version   int
	header    int // bytes
	protocol  byte
	transport []byte
	checksum  int    // offset in transport, -1 if there is none
	pseudo    uint32 // sum of the pseudo-header, not folded
}

func split(pkt []byte) (parts, error) {
	if len(pkt) < 20 {
		return parts{}, fmt.Errorf("tuntest: packet of %d bytes", len(pkt))
	}
	p := parts{version: int(pkt[0] >> 4), checksum: -1}
	var total int
	var addresses []byte
	switch p.version {
	case 4:
		p.header = int(pkt[0]&0xf) * 4
		total = int(binary.BigEndian.Uint16(pkt[2:]))
		p.protocol = pkt[9]
		addresses = pkt[12:20]
		if binary.BigEndian.Uint16(pkt[6:])&0x3fff != 0 {
			return p, errors.New("tuntest: fragment")
		}
	case 6:
		if len(pkt) < 40 {
			return p, fmt.Errorf("tuntest: IPv6 packet of %d bytes", len(pkt))
		}
		p.header = 40
		total = 40 + int(binary.BigEndian.Uint16(pkt[4:]))
		p.protocol = pkt[6]
		addresses = pkt[8:40]
		switch p.protocol {
		case 0, 43, 44, 51, 60:
			return p, fmt.Errorf("tuntest: IPv6 extension header %d", p.protocol)
		}
	default:
		return p, fmt.Errorf("tuntest: IP version %d", p.version)
	}
	if p.header < 20 || total < p.header || total != len(pkt) {
		return p, fmt.Errorf("tuntest: packet of %d bytes says header %d, total %d", len(pkt), p.header, total)
	}
	p.transport = pkt[p.header:]
	least := 0
	switch p.protocol {
	case protocolTCP:
		least, p.checksum = 20, 16
	case protocolUDP:
		least, p.checksum = 8, 6
	case protocolICMP, protocolICMPv6:
		least, p.checksum = 8, 2
	}
	if len(p.transport) < least {
		return p, fmt.Errorf("tuntest: protocol %d in %d bytes", p.protocol, len(p.transport))
	}
	if p.protocol != protocolICMP {
		p.pseudo = add(addresses, uint32(p.protocol)+uint32(len(p.transport)))
	}
	return p, nil
}

// sum returns the folded one's complement sum of b and initial (RFC 1071).
func sum(b []byte, initial uint32) uint16 {
	s := add(b, initial)
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func add(b []byte, s uint32) uint32 {
	for len(b) >= 2 {
		s += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}
