package tcpmodel

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

const (
	headerIPv4 = 20
	headerTCP  = 20
	protoTCP   = 6

	// windowShift is the window scale that both ends use: windows up to 64 MiB.
	windowShift = 10

	optionEnd       = 0
	optionNop       = 1
	optionMSS       = 2
	optionScale     = 3
	optionPermitted = 4
	optionSACK      = 5
	optionTimes     = 8
)

// Overhead is the size of the headers of a full data segment: IPv4, TCP, timestamps.
// The largest payload of a Segment that fits in an MTU is the MTU less this.
const Overhead = headerIPv4 + headerTCP + 12

// errPacket is all that ParsePacket says: its packets are our own, and one that does not
// parse was damaged on the way.
var errPacket = errors.New("tcpmodel: not an intact IPv4 packet with a TCP segment")

// AppendPacket appends to b an IPv4 packet that carries the segment, and returns the
// extended slice. The addresses must be IPv4.
func AppendPacket(b []byte, src, dst netip.AddrPort, s *Segment) []byte {
	start := len(b)
	b = append(b, make([]byte, headerIPv4+headerTCP)...)
	b = appendOptions(b, s)
	header := len(b) - start - headerIPv4
	b = append(b, zeros[:s.Len]...)
	ip := b[start:]
	tcp := ip[headerIPv4:]

	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[6] = 0x40 // don't fragment
	ip[8] = 64
	ip[9] = protoTCP
	from, to := src.Addr().As4(), dst.Addr().As4()
	copy(ip[12:], from[:])
	copy(ip[16:], to[:])
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum(ip[:headerIPv4])))

	binary.BigEndian.PutUint16(tcp, src.Port())
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	binary.BigEndian.PutUint32(tcp[4:], s.Seq)
	binary.BigEndian.PutUint32(tcp[8:], s.Ack)
	tcp[12] = byte(header / 4 << 4)
	tcp[13] = s.Flags
	window := s.Window >> windowShift
	if s.Flags&FlagSYN != 0 {
		window = s.Window // never scaled (RFC 7323, section 2.2)
	}
	binary.BigEndian.PutUint16(tcp[14:], uint16(min(window, 0xffff)))
	// The payload is zeros and adds nothing to the sum.
	binary.BigEndian.PutUint16(tcp[16:], ^fold(pseudo(ip)+sum(tcp[:header])))
	return b
}

// zeros is where the payload of a packet comes from.
var zeros [65536]byte

func appendOptions(b []byte, s *Segment) []byte {
	if s.Flags&FlagSYN != 0 {
		b = append(b, optionMSS, 4, byte(s.MSS>>8), byte(s.MSS), optionPermitted, 2)
		b = appendTimes(b, s)
		return append(b, optionNop, optionScale, 3, windowShift)
	}
	b = append(b, optionNop, optionNop)
	b = appendTimes(b, s)
	if n := int(s.NumBlocks); n > 0 {
		b = append(b, optionNop, optionNop, optionSACK, byte(2+8*n))
		for _, block := range s.Blocks[:n] {
			b = binary.BigEndian.AppendUint32(b, block.Left)
			b = binary.BigEndian.AppendUint32(b, block.Right)
		}
	}
	return b
}

func appendTimes(b []byte, s *Segment) []byte {
	b = append(b, optionTimes, 10)
	b = binary.BigEndian.AppendUint32(b, s.TSVal)
	return binary.BigEndian.AppendUint32(b, s.TSEcr)
}

// ParsePacket reads a packet of AppendPacket, and verifies its checksums. A packet whose
// MSS option was lowered on the way, and the checksum with it, is intact. It borrows b
// until it returns.
func ParsePacket(b []byte) (src, dst netip.AddrPort, s Segment, err error) {
	if len(b) < headerIPv4+headerTCP || b[0] != 0x45 || b[9] != protoTCP || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
		return src, dst, s, errPacket
	}
	tcp := b[headerIPv4:]
	header := int(tcp[12]>>4) * 4
	if header < headerTCP || header > len(tcp) {
		return src, dst, s, errPacket
	}
	if fold(sum(b[:headerIPv4])) != 0xffff || fold(pseudo(b)+sum(tcp)) != 0xffff {
		return src, dst, s, errPacket
	}
	src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), binary.BigEndian.Uint16(tcp))
	dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), binary.BigEndian.Uint16(tcp[2:]))
	s.Seq = binary.BigEndian.Uint32(tcp[4:])
	s.Ack = binary.BigEndian.Uint32(tcp[8:])
	s.Flags = tcp[13]
	s.Len = len(tcp) - header
	s.Window = int(binary.BigEndian.Uint16(tcp[14:]))
	if s.Flags&FlagSYN == 0 {
		s.Window <<= windowShift
	}
	if !s.parseOptions(tcp[headerTCP:header]) {
		return src, dst, s, errPacket
	}
	return src, dst, s, nil
}

func (s *Segment) parseOptions(b []byte) bool {
	for len(b) > 0 {
		switch b[0] {
		case optionEnd:
			return true
		case optionNop:
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return false
		}
		kind, value := b[0], b[2:b[1]]
		b = b[b[1]:]
		switch {
		case kind == optionMSS && len(value) == 2:
			s.MSS = int(binary.BigEndian.Uint16(value))
		case kind == optionTimes && len(value) == 8:
			s.TSVal = binary.BigEndian.Uint32(value)
			s.TSEcr = binary.BigEndian.Uint32(value[4:])
		case kind == optionSACK && len(value)%8 == 0 && len(value) <= 8*maxBlocks:
			s.NumBlocks = 0 // a second such option replaces the first
			for ; len(value) > 0; value = value[8:] {
				s.Blocks[s.NumBlocks] = Block{binary.BigEndian.Uint32(value), binary.BigEndian.Uint32(value[4:])}
				s.NumBlocks++
			}
		}
	}
	return true
}

// sum adds up the 16-bit words of b as RFC 1071 does, four at a time.
func sum(b []byte) uint64 {
	var n uint64
	for ; len(b) >= 8; b = b[8:] {
		v := binary.BigEndian.Uint64(b)
		n += v>>32 + v&0xffffffff
	}
	for ; len(b) >= 2; b = b[2:] {
		n += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		n += uint64(b[0]) << 8
	}
	return n
}

// pseudo is the sum of the pseudo-header of the segment in an IPv4 packet.
func pseudo(ip []byte) uint64 {
	return sum(ip[12:20]) + protoTCP + uint64(len(ip)-headerIPv4)
}

func fold(n uint64) uint16 {
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}
