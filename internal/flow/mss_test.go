package flow

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// checksum sets the TCP checksum of pkt, whose segment begins at start, as the sender
// does: over the pseudo-header and the segment.
func checksum(pkt []byte, start int) uint16 {
	var s uint32
	add := func(b []byte) {
		for i, v := range b {
			if i%2 == 0 {
				s += uint32(v) << 8
			} else {
				s += uint32(v)
			}
		}
	}
	segment := pkt[start:]
	saved := [2]byte(segment[16:18])
	segment[16], segment[17] = 0, 0
	if pkt[0]>>4 == 4 {
		add(pkt[12:20])
	} else {
		add(pkt[8:40])
	}
	s += ProtocolTCP + uint32(len(segment))
	add(segment)
	copy(segment[16:], saved[:])
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

func TestClampMSS(t *testing.T) {
	mss := func(v uint16) []byte { return []byte{2, 4, byte(v >> 8), byte(v)} }
	for _, tt := range []struct {
		name string
		pkt  []byte
		at   int // offset of the segment
		mss  int // offset of the MSS value, 0 for none
		mtu  int
		want uint16 // 0 for no change
	}{
		{"IPv4", ip4(6, 0, 0x4000, tcp(1, 2, SYN, mss(1460), nil)), 20, 42, 1408, 1368},
		{"IPv4 SYN ACK", ip4(6, 0, 0, tcp(1, 2, SYN|ACK, mss(1460), nil)), 20, 42, 1408, 1368},
		{"IPv6", ip6(6, 0, tcp(1, 2, SYN, mss(1440), nil)), 40, 62, 1408, 1348},
		{"IPv6 extensions", ip6(0, 0, cat(ext(60, 0), ext(6, 1), tcp(1, 2, SYN, mss(1440), nil))), 64, 86, 1408, 1348},
		{"odd offset", ip4(6, 0, 0, tcp(1, 2, SYN, cat([]byte{1}, mss(1460), []byte{1, 1, 0}), nil)), 20, 43, 1408, 1368},
		{"behind others", ip4(6, 0, 0, tcp(1, 2, SYN, cat([]byte{4, 2, 3, 3, 7}, mss(9000), []byte{1, 1, 0}), nil)), 20, 47, 1408, 1368},
		{"with data", ip4(6, 0, 0, tcp(1, 2, SYN, mss(1460), []byte{1, 2, 3})), 20, 42, 1408, 1368},
		{"fits", ip4(6, 0, 0, tcp(1, 2, SYN, mss(1368), nil)), 20, 42, 1408, 0},
		{"no SYN", ip4(6, 0, 0, tcp(1, 2, ACK, mss(1460), nil)), 20, 42, 1408, 0},
		{"no option", ip4(6, 0, 0, tcp(1, 2, SYN, []byte{1, 1, 1, 0}, nil)), 20, 0, 1408, 0},
		{"behind the end", ip4(6, 0, 0, tcp(1, 2, SYN, cat([]byte{0, 1, 1, 1}, mss(1460)), nil)), 20, 46, 1408, 0},
		{"option cut", ip4(6, 0, 0, tcp(1, 2, SYN, []byte{1, 1, 2, 4}, []byte{5, 180})), 20, 0, 1408, 0},
		{"option of length 0", ip4(6, 0, 0, tcp(1, 2, SYN, cat([]byte{9, 0, 1, 1}, mss(1460)), nil)), 20, 46, 1408, 0},
		{"kind alone", ip4(6, 0, 0, tcp(1, 2, SYN, []byte{1, 1, 1, 2}, nil)), 20, 0, 1408, 0},
		{"fragment", ip4(6, 0, 0x2000, tcp(1, 2, SYN, mss(1460), nil)), 20, 42, 1408, 0},
		{"UDP", ip4(17, 0, 0, tcp(1, 2, SYN, mss(1460), nil)), 20, 42, 1408, 0},
		{"MTU too small", ip4(6, 0, 0, tcp(1, 2, SYN, mss(1460), nil)), 20, 42, 40, 0},
		{"header cut", ip4(6, 0, 0, tcp(1, 2, SYN, mss(1460), nil)[:22]), 20, 0, 1408, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.pkt) >= tt.at+20 {
				binary.BigEndian.PutUint16(tt.pkt[tt.at+16:], checksum(tt.pkt, tt.at))
			}
			before := append([]byte(nil), tt.pkt...)
			changed := ClampMSS(tt.pkt, tt.mtu)
			if changed != (tt.want != 0) {
				t.Fatalf("ClampMSS = %v", changed)
			}
			if !changed {
				if string(before) != string(tt.pkt) {
					t.Fatalf("packet changed from % x to % x", before, tt.pkt)
				}
				return
			}
			if got := binary.BigEndian.Uint16(tt.pkt[tt.mss:]); got != tt.want {
				t.Errorf("MSS is %d, want %d", got, tt.want)
			}
			if got, want := binary.BigEndian.Uint16(tt.pkt[tt.at+16:]), checksum(tt.pkt, tt.at); got != want {
				t.Errorf("checksum is %#x, want %#x", got, want)
			}
		})
	}
}

// TestClampMSSChecksum compares the incremental checksum with the full one on random
// segments, with the option at all offsets.
func TestClampMSSChecksum(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 20000 {
		options := make([]byte, 12)
		for i := range options {
			options[i] = 1
		}
		at := r.IntN(9)
		copy(options[at:], []byte{2, 4, byte(1400 >> 8), 0})
		binary.BigEndian.PutUint16(options[at+2:], uint16(1000+r.IntN(60000)))
		pkt := ip4(6, 0, 0, tcp(uint16(r.Uint32()), uint16(r.Uint32()), SYN, options, make([]byte, r.IntN(4))))
		binary.BigEndian.PutUint32(pkt[24:], r.Uint32())
		binary.BigEndian.PutUint16(pkt[36:], checksum(pkt, 20))
		if !ClampMSS(pkt, 500+r.IntN(500)) {
			t.Fatal("not clamped")
		}
		if got, want := binary.BigEndian.Uint16(pkt[36:]), checksum(pkt, 20); got != want {
			t.Fatalf("checksum is %#x, want %#x", got, want)
		}
	}
}
