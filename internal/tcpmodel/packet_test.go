package tcpmodel

import (
	"net/netip"
	"testing"
)

var (
	addrA = netip.MustParseAddrPort("10.0.0.1:1234")
	addrB = netip.MustParseAddrPort("10.0.0.2:80")
)

func TestPacket(t *testing.T) {
	for _, want := range []Segment{
		{Flags: FlagSYN, MSS: 1460, Window: 65535, TSVal: 1},
		{Flags: FlagSYN | FlagACK, Ack: 1, MSS: 1400, Window: 65535, TSVal: 7, TSEcr: 1},
		{Flags: FlagACK, Seq: 0xfffffff0, Ack: 1, Len: 1448, Window: 3 << 20, TSVal: 9, TSEcr: 8},
		{Flags: FlagACK, Seq: 1, Ack: 0xfffffff0, Window: 1 << 20, TSVal: 9, NumBlocks: 3, Blocks: [3]Block{{1, 2}, {30, 40}, {0xfffffff0, 5}}},
		{Flags: FlagACK, Len: 7, Window: 1 << 14, NumBlocks: 1, Blocks: [3]Block{{1, 2}}},
	} {
		pkt := AppendPacket([]byte("x"), addrA, addrB, &want)[1:]
		src, dst, got, err := ParsePacket(pkt)
		if err != nil || src != addrA || dst != addrB || got != want {
			t.Errorf("%+v came back as %+v, %v to %v, error %v", want, got, src, dst, err)
		}
		if want.Flags == FlagACK && want.NumBlocks == 0 && len(pkt) != Overhead+want.Len {
			t.Errorf("a segment of %d bytes makes a packet of %d, want %d more", want.Len, len(pkt), Overhead)
		}
		for i := range pkt {
			pkt[i] ^= 4
			if _, _, _, err := ParsePacket(pkt); err == nil {
				t.Errorf("byte %d of %d damaged, and nobody noticed", i, len(pkt))
			}
			pkt[i] ^= 4
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	s := Segment{Flags: FlagACK, Len: 20, NumBlocks: 2, TSVal: 1}
	f.Add(AppendPacket(nil, addrA, addrB, &s), false)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, b []byte, repair bool) {
		if repair && len(b) >= headerIPv4+headerTCP {
			// Random bytes have no valid checksums: give them some.
			b[0], b[9] = 0x45, protoTCP
			b[2], b[3] = byte(len(b)>>8), byte(len(b))
			b[10], b[11], b[36], b[37] = 0, 0, 0, 0
			c := ^fold(sum(b[:headerIPv4]))
			b[10], b[11] = byte(c>>8), byte(c)
			c = ^fold(pseudo(b) + sum(b[headerIPv4:]))
			b[36], b[37] = byte(c>>8), byte(c)
		}
		_, _, s, err := ParsePacket(b)
		if err == nil && (s.Len < 0 || s.Len > len(b) || int(s.NumBlocks) > maxBlocks) {
			t.Errorf("parsed %+v from %d bytes", s, len(b))
		}
	})
}

func TestUnwrap(t *testing.T) {
	for _, test := range []struct {
		ref  uint64
		v    uint32
		want uint64
	}{
		{5, 7, 7},
		{1<<32 + 5, 7, 1<<32 + 7},
		{1<<32 - 5, 7, 1<<32 + 7},
		{1<<32 + 5, 0xfffffff0, 1<<32 - 16},
		{7 << 32, 1 << 30, 7<<32 + 1<<30},
	} {
		if got := unwrap(test.ref, test.v); got != test.want {
			t.Errorf("unwrap(%#x, %#x) = %#x, want %#x", test.ref, test.v, got, test.want)
		}
	}
}
