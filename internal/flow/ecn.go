package flow

import "encoding/binary"

// CE is the ECN code point "congestion experienced" (RFC 3168).
const CE = 3

// MarkCE sets the ECN field of an IP packet, or of one in an Ethernet frame, to CE, and
// reports whether it could: the packet must be of a transport that understands ECN.
func MarkCE(pkt []byte, ethernet bool) bool {
	info, ok := Parse(pkt, ethernet)
	if !ok || info.ECN == 0 || info.Version == 0 {
		return false
	}
	if info.ECN == CE {
		return true
	}
	ip := pkt
	if ethernet {
		ip = pkt[14:]
		if t := binary.BigEndian.Uint16(pkt[12:]); t == etherTypeVLAN || t == etherTypeQinQ {
			ip = pkt[18:]
		}
	}
	if info.Version == 6 {
		ip[1] |= CE << 4
		return true
	}
	was := binary.BigEndian.Uint16(ip)
	ip[1] |= CE
	// The checksum is updated as RFC 1624 has it: HC' = ~(~HC + ~m + m').
	sum := uint32(^binary.BigEndian.Uint16(ip[10:])) + uint32(^was) + uint32(binary.BigEndian.Uint16(ip))
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
	return true
}
