package flow

import "encoding/binary"

// ClampMSS lowers the maximum segment size that a TCP SYN announces in pkt, an IP
// packet, to what fits an MTU of mtu bytes: mtu less 40 (IPv4) or 60 (IPv6), the
// sizes of the fixed headers (RFC 6691). It corrects the TCP checksum, which must be
// complete, incrementally (RFC 1624), so that a wrong one stays wrong.
//
// It reports whether it changed pkt. Packets that are not SYN segments, fragments
// and malformed packets are left alone.
func ClampMSS(pkt []byte, mtu int) bool {
	var f Info
	if !f.parseIP(pkt) || f.Protocol != ProtocolTCP || f.TCPFlags&SYN == 0 {
		return false
	}
	limit := mtu - 40
	if f.Version == 6 {
		limit = mtu - 60
	}
	if limit <= 0 || limit > 0xffff {
		return false
	}
	// TCPFlags is set, so the segment and its options are complete.
	start := f.transportOffset(pkt)
	segment := pkt[start:f.Length]
	options := segment[20 : int(segment[12]>>4)*4]
	changed := false
	for i := 0; i < len(options); {
		kind := options[i]
		if kind == 0 { // end of the list
			break
		}
		if kind == 1 { // no-operation
			i++
			continue
		}
		if i+1 >= len(options) {
			break
		}
		size := int(options[i+1])
		if size < 2 || i+size > len(options) {
			break
		}
		if kind == 2 && size == 4 {
			old := binary.BigEndian.Uint16(options[i+2:])
			if int(old) > limit {
				binary.BigEndian.PutUint16(options[i+2:], uint16(limit))
				updateChecksum(segment[16:18], old, uint16(limit), i%2 != 0)
				changed = true
			}
		}
		i += size
	}
	return changed
}

// transportOffset returns where the TCP header of pkt begins. The Info is pkt's, and
// its TCP header was complete.
func (f *Info) transportOffset(pkt []byte) int {
	if f.Version == 4 {
		return int(pkt[0]&0x0f) * 4
	}
	walk := Info{Protocol: pkt[6]}
	return f.Length - len(walk.skipExtensions(pkt[40:f.Length]))
}

// updateChecksum changes the Internet checksum at sum for a 16-bit field that was
// from and becomes to (RFC 1624, equation 3). A field at an odd offset straddles two
// of the words that are summed, which swaps its bytes (RFC 1071, section 2).
func updateChecksum(sum []byte, from, to uint16, odd bool) {
	if odd {
		from, to = from<<8|from>>8, to<<8|to>>8
	}
	s := uint32(^binary.BigEndian.Uint16(sum)) + uint32(^from) + uint32(to)
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	binary.BigEndian.PutUint16(sum, ^uint16(s))
}
