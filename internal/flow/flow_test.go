package flow

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

var (
	src4, dst4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.7")
	src6, dst6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:1::2")
)

// ip4 returns an IPv4 packet. fragment is the flags and offset field.
func ip4(protocol, tos byte, fragment uint16, payload []byte) []byte {
	b := make([]byte, 20)
	b[0] = 0x45
	b[1] = tos
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(b[6:], fragment)
	b[8], b[9] = 64, protocol
	copy(b[12:], src4.AsSlice())
	copy(b[16:], dst4.AsSlice())
	return append(b, payload...)
}

// ip6 returns an IPv6 packet, whose payload begins with a header of type next.
func ip6(next, class byte, payload []byte) []byte {
	b := make([]byte, 40)
	binary.BigEndian.PutUint32(b, 6<<28|uint32(class)<<20)
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	b[6], b[7] = next, 64
	copy(b[8:], src6.AsSlice())
	copy(b[24:], dst6.AsSlice())
	return append(b, payload...)
}

func tcp(src, dst uint16, flags byte, options, payload []byte) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	b[12] = byte((20 + len(options)) / 4 << 4)
	b[13] = flags
	b = append(b, options...)
	return append(b, payload...)
}

func udp(src, dst uint16, payload int) []byte {
	b := make([]byte, 8+payload)
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}

// ext returns an extension header of 8 + 8*units bytes.
func ext(next byte, units int) []byte {
	b := make([]byte, 8+8*units)
	b[0], b[1] = next, byte(units)
	return b
}

func fragment6(next byte, offset uint16, more bool) []byte {
	b := ext(next, 0)
	field := offset << 3
	if more {
		field |= 1
	}
	binary.BigEndian.PutUint16(b[2:], field)
	return b
}

func cat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func frame(etherType uint16, tag bool, payload []byte) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	if tag {
		b = append(b, 0x81, 0x00, 0, 5)
	}
	return append(binary.BigEndian.AppendUint16(b, etherType), payload...)
}

func TestParse(t *testing.T) {
	v4 := Info{Version: 4, Src: src4, Dst: dst4}
	v6 := Info{Version: 6, Src: src6, Dst: dst6}
	with := func(f Info, edit func(*Info)) Info { edit(&f); return f }
	inFrame := func(f Info, etherType uint16) Info {
		f.EtherType = etherType
		f.DstMAC, f.SrcMAC = [6]byte{2, 0, 0, 0, 0, 2}, [6]byte{2, 0, 0, 0, 0, 1}
		return f
	}
	udp4 := with(v4, func(f *Info) {
		f.Protocol, f.SrcPort, f.DstPort, f.Length, f.Payload = ProtocolUDP, 1000, 2000, 38, 10
	})
	for _, tt := range []struct {
		name     string
		pkt      []byte
		ethernet bool
		want     Info
		bad      bool
	}{
		{name: "empty", bad: true},
		{name: "empty frame", ethernet: true, bad: true},
		{name: "version 5", pkt: append([]byte{0x50}, make([]byte, 60)...), bad: true},
		{name: "IPv4 cut", pkt: ip4(ProtocolUDP, 0, 0, nil)[:19], bad: true},
		{name: "IPv4 length beyond the packet", pkt: ip4(ProtocolUDP, 0, 0, make([]byte, 9))[:28], bad: true},
		{name: "IPv4 header of 16 bytes", pkt: append([]byte{0x44}, ip4(ProtocolUDP, 0, 0, nil)[1:]...), bad: true},
		{name: "IPv4 header beyond the length", pkt: append([]byte{0x46}, ip4(ProtocolUDP, 0, 0, nil)[1:]...), bad: true},
		{name: "IPv6 cut", pkt: ip6(ProtocolUDP, 0, nil)[:39], bad: true},
		{name: "IPv6 length beyond the packet", pkt: ip6(ProtocolUDP, 0, make([]byte, 9))[:48], bad: true},

		{name: "UDP", pkt: ip4(ProtocolUDP, 0, 0x4000, udp(1000, 2000, 10)), want: udp4},
		{name: "padding", pkt: append(ip4(ProtocolUDP, 0, 0, udp(1000, 2000, 10)), make([]byte, 8)...), want: udp4},
		{name: "DSCP and ECN", pkt: ip4(ProtocolUDP, 46<<2|1, 0, udp(1000, 2000, 10)),
			want: with(udp4, func(f *Info) { f.DSCP, f.ECN = 46, 1 })},
		{name: "TCP", pkt: ip4(ProtocolTCP, 0, 0, tcp(80, 3333, ACK|PSH, make([]byte, 12), make([]byte, 100))),
			want: with(v4, func(f *Info) {
				f.Protocol, f.SrcPort, f.DstPort, f.TCPFlags, f.Length, f.Payload = ProtocolTCP, 80, 3333, ACK|PSH, 152, 100
			})},
		{name: "TCP header cut", pkt: ip4(ProtocolTCP, 0, 0, tcp(80, 3333, SYN, nil, nil)[:19]),
			want: with(v4, func(f *Info) { f.Protocol, f.Length, f.Payload = ProtocolTCP, 39, 19 })},
		{name: "TCP options cut", pkt: ip4(ProtocolTCP, 0, 0, tcp(80, 3333, SYN, make([]byte, 8), nil)[:24]),
			want: with(v4, func(f *Info) { f.Protocol, f.Length, f.Payload = ProtocolTCP, 44, 24 })},
		{name: "UDP header cut", pkt: ip4(ProtocolUDP, 0, 0, udp(1, 2, 0)[:7]),
			want: with(v4, func(f *Info) { f.Protocol, f.Length, f.Payload = ProtocolUDP, 27, 7 })},
		{name: "ICMP", pkt: ip4(ProtocolICMP, 0, 0, make([]byte, 64)),
			want: with(v4, func(f *Info) { f.Protocol, f.Length, f.Payload = ProtocolICMP, 84, 64 })},
		{name: "first fragment", pkt: ip4(ProtocolUDP, 0, 0x2000, udp(1000, 2000, 8)),
			want: with(v4, func(f *Info) { f.Protocol, f.Fragment, f.Length, f.Payload = ProtocolUDP, true, 36, 16 })},
		{name: "last fragment", pkt: ip4(ProtocolUDP, 0, 0x0002, udp(1000, 2000, 8)),
			want: with(v4, func(f *Info) { f.Protocol, f.Fragment, f.Length, f.Payload = ProtocolUDP, true, 36, 16 })},

		{name: "UDP over IPv6", pkt: ip6(ProtocolUDP, 46<<2|3, udp(1000, 2000, 10)),
			want: with(v6, func(f *Info) {
				f.Protocol, f.DSCP, f.ECN, f.SrcPort, f.DstPort, f.Length, f.Payload = ProtocolUDP, 46, 3, 1000, 2000, 58, 10
			})},
		{name: "extensions", pkt: ip6(0, 0, cat(ext(60, 1), ext(43, 0), ext(44, 2), fragment6(ProtocolUDP, 0, false), udp(1000, 2000, 10))),
			want: with(v6, func(f *Info) {
				f.Protocol, f.SrcPort, f.DstPort, f.Length, f.Payload = ProtocolUDP, 1000, 2000, 40+16+8+24+8+18, 10
			})},
		{name: "IPv6 first fragment", pkt: ip6(44, 0, cat(fragment6(ProtocolUDP, 0, true), udp(1000, 2000, 8))),
			want: with(v6, func(f *Info) { f.Protocol, f.Fragment, f.Length, f.Payload = ProtocolUDP, true, 64, 16 })},
		{name: "IPv6 last fragment", pkt: ip6(44, 0, cat(fragment6(ProtocolUDP, 2, false), udp(1000, 2000, 8))),
			want: with(v6, func(f *Info) { f.Protocol, f.Fragment, f.Length, f.Payload = ProtocolUDP, true, 64, 16 })},
		{name: "extension cut", pkt: ip6(60, 0, ext(ProtocolUDP, 1)[:15]),
			want: with(v6, func(f *Info) { f.Protocol, f.Length, f.Payload = 60, 55, 15 })},
		{name: "too many extensions", pkt: ip6(60, 0, cat(ext(60, 0), ext(60, 0), ext(60, 0), ext(60, 0), ext(60, 0), ext(60, 0), ext(60, 0), ext(60, 0), ext(17, 0), udp(1, 2, 0))),
			want: with(v6, func(f *Info) { f.Protocol, f.Length, f.Payload = 60, 120, 16 })},
		{name: "as many extensions as allowed", pkt: ip6(60, 0, cat(ext(60, 0), ext(60, 0), ext(60, 0), ext(60, 0), ext(60, 0), ext(60, 0), ext(60, 0), ext(17, 0), udp(1, 2, 0))),
			want: with(v6, func(f *Info) { f.Protocol, f.SrcPort, f.DstPort, f.Length = 17, 1, 2, 112 })},
		{name: "no next header", pkt: ip6(59, 0, make([]byte, 4)),
			want: with(v6, func(f *Info) { f.Protocol, f.Length, f.Payload = 59, 44, 4 })},

		{name: "frame", ethernet: true, pkt: frame(0x0800, false, ip4(ProtocolUDP, 0, 0, udp(1000, 2000, 10))), want: inFrame(udp4, 0x0800)},
		{name: "tagged frame", ethernet: true, pkt: frame(0x0800, true, ip4(ProtocolUDP, 0, 0, udp(1000, 2000, 10))), want: inFrame(udp4, 0x0800)},
		{name: "ARP", ethernet: true, pkt: frame(0x0806, false, make([]byte, 28)), want: inFrame(Info{Length: 42}, 0x0806)},
		{name: "tagged ARP", ethernet: true, pkt: frame(0x0806, true, make([]byte, 28)), want: inFrame(Info{Length: 46}, 0x0806)},
		{name: "frame cut", ethernet: true, pkt: frame(0x0800, false, nil)[:13], bad: true},
		{name: "tagged frame cut", ethernet: true, pkt: frame(0x0800, true, nil)[:17], bad: true},
		{name: "frame without packet", ethernet: true, pkt: frame(0x0800, false, nil), bad: true},
		{name: "IPv6 in an IPv4 frame", ethernet: true, pkt: frame(0x0800, false, ip6(17, 0, udp(1, 2, 0))), bad: true},
		{name: "IPv4 in an IPv6 frame", ethernet: true, pkt: frame(0x86dd, false, ip4(17, 0, 0, udp(1, 2, 0))), bad: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Parse(tt.pkt, tt.ethernet)
			if ok == tt.bad {
				t.Fatalf("Parse returned %v", ok)
			}
			if ok && got != tt.want {
				t.Fatalf("Parse =\n%+v, want\n%+v", got, tt.want)
			}
		})
	}
}

// TestParsePrefixes cuts packets everywhere: Parse must neither panic nor accept one
// whose header announces more.
func TestParsePrefixes(t *testing.T) {
	for _, pkt := range seeds() {
		for n := range pkt {
			if f, ok := Parse(pkt[:n:n], false); ok && f.Length > n {
				t.Fatalf("accepted %d of %d bytes of % x", n, f.Length, pkt)
			}
			Parse(pkt[:n:n], true)
		}
	}
}

func TestMappedAddressesAreUnmapped(t *testing.T) {
	pkt := ip6(ProtocolUDP, 0, udp(1, 2, 0))
	mapped := netip.AddrFrom16(src4.As16())
	copy(pkt[8:], mapped.AsSlice())
	f, ok := Parse(pkt, false)
	if !ok || f.Src != src4 || f.Dst != dst6 {
		t.Fatalf("Parse = %+v, %v", f, ok)
	}
}

func seeds() [][]byte {
	return [][]byte{
		ip4(ProtocolUDP, 0, 0, udp(1000, 2000, 10)),
		ip4(ProtocolTCP, 0, 0, tcp(80, 3333, ACK|SYN, []byte{1, 2, 4, 5, 180, 1, 0, 0}, make([]byte, 10))),
		ip4(ProtocolUDP, 0, 0x2001, udp(1000, 2000, 8)),
		ip6(ProtocolTCP, 0, tcp(80, 3333, SYN, []byte{2, 4, 5, 180}, nil)),
		ip6(0, 0, cat(ext(60, 1), ext(43, 0), ext(44, 2), fragment6(ProtocolUDP, 0, false), udp(1000, 2000, 10))),
		ip6(44, 0, cat(fragment6(ProtocolUDP, 2, true), udp(1000, 2000, 8))),
		frame(0x0800, true, ip4(ProtocolUDP, 0, 0, udp(1000, 2000, 10))),
		frame(0x0806, false, make([]byte, 28)),
	}
}

// naive parses an IP packet with the parsers of x/net where they go, and otherwise in
// the plainest way. Its extension walk is recursive.
func naive(pkt []byte) (f Info, ok bool) {
	if len(pkt) > 0 && pkt[0]>>4 == 4 {
		h, err := ipv4.ParseHeader(pkt)
		if err != nil {
			return f, false
		}
		// On some systems x/net expects these two as raw sockets have them there.
		h.TotalLen = int(pkt[2])<<8 + int(pkt[3])
		fragment := int(pkt[6])<<8 + int(pkt[7])
		if h.Len < 20 || h.TotalLen < h.Len || h.TotalLen > len(pkt) {
			return f, false
		}
		src, _ := netip.AddrFromSlice(h.Src)
		dst, _ := netip.AddrFromSlice(h.Dst)
		f = Info{Version: 4, Protocol: byte(h.Protocol), Src: src.Unmap(), Dst: dst.Unmap(), Length: h.TotalLen}
		f.DSCP, f.ECN = byte(h.TOS/4), byte(h.TOS%4)
		f.Fragment = fragment%0x2000 != 0 || fragment&0x2000 != 0
		return naiveTransport(f, pkt[h.Len:h.TotalLen]), true
	}
	if len(pkt) > 0 && pkt[0]>>4 == 6 {
		h, err := ipv6.ParseHeader(pkt)
		if err != nil || h.PayloadLen+40 > len(pkt) {
			return f, false
		}
		src, _ := netip.AddrFromSlice(h.Src)
		dst, _ := netip.AddrFromSlice(h.Dst)
		f = Info{Version: 6, Src: src.Unmap(), Dst: dst.Unmap(), Length: 40 + h.PayloadLen}
		f.DSCP, f.ECN = byte(h.TrafficClass/4), byte(h.TrafficClass%4)
		return naiveExtensions(f, byte(h.NextHeader), pkt[40:40+h.PayloadLen], 8), true
	}
	return f, false
}

func naiveExtensions(f Info, next byte, b []byte, left int) Info {
	f.Protocol = next
	known := next == 0 || next == 43 || next == 44 || next == 60
	if !known || left == 0 || len(b) < 8 {
		return naiveTransport(f, b)
	}
	n := 8 * (int(b[1]) + 1)
	if next == 44 {
		n = 8
		field := int(b[2])<<8 + int(b[3])
		if field/8 != 0 || field%2 != 0 {
			f.Fragment = true
			f.Protocol = b[0]
			return naiveTransport(f, b[8:])
		}
	}
	if n > len(b) {
		return naiveTransport(f, b)
	}
	return naiveExtensions(f, b[0], b[n:], left-1)
}

func naiveTransport(f Info, b []byte) Info {
	f.Payload = len(b)
	if f.Fragment {
		return f
	}
	header := 0
	if f.Protocol == 17 && len(b) >= 8 {
		header = 8
	}
	if f.Protocol == 6 && len(b) >= 20 {
		if n := int(b[12]/16) * 4; n >= 20 && n <= len(b) {
			header = n
			f.TCPFlags = b[13]
		}
	}
	if header > 0 {
		f.SrcPort = uint16(b[0])<<8 + uint16(b[1])
		f.DstPort = uint16(b[2])<<8 + uint16(b[3])
		f.Payload -= header
	}
	return f
}

func FuzzParse(f *testing.F) {
	for _, pkt := range seeds() {
		f.Add(pkt)
	}
	f.Fuzz(func(t *testing.T, pkt []byte) {
		got, ok := Parse(pkt, false)
		want, wantOK := naive(pkt)
		if ok != wantOK || ok && got != want {
			t.Fatalf("Parse =\n%+v, %v, want\n%+v, %v", got, ok, want, wantOK)
		}
		if inFrame, frameOK := Parse(pkt, true); frameOK && inFrame.Length > len(pkt) {
			t.Fatalf("frame of %d bytes, length %d", len(pkt), inFrame.Length)
		}
		if ok {
			clampKeepsRest(t, pkt)
		}
	})
}

// clampKeepsRest checks that ClampMSS touches nothing but MSS values and the checksum,
// keeps a right checksum right, and does nothing the second time.
func clampKeepsRest(t *testing.T, pkt []byte) {
	t.Helper()
	edited := append([]byte(nil), pkt...)
	before, _ := Parse(pkt, false)
	changed := ClampMSS(edited, 1000)
	after, ok := Parse(edited, false)
	if !ok || after != before {
		t.Fatalf("ClampMSS changed %+v to %+v", before, after)
	}
	diff := 0
	for i := range pkt {
		if pkt[i] != edited[i] {
			diff++
		}
	}
	if !changed && diff != 0 {
		t.Fatal("ClampMSS edited the packet and said no")
	}
	if changed {
		n := before.transportOffset(pkt)
		if a, b := fullSum(before, pkt[n:before.Length]), fullSum(before, edited[n:before.Length]); a != b {
			t.Fatalf("sum over the segment was %#x, is %#x", a, b)
		}
	}
	if ClampMSS(edited, 1000) {
		t.Fatal("ClampMSS changed the packet again")
	}
}

// fullSum returns the one's complement sum of a segment, with both zeros as 0.
func fullSum(_ Info, segment []byte) uint32 {
	var s uint32
	for i, v := range segment {
		if i%2 == 0 {
			s += uint32(v) << 8
		} else {
			s += uint32(v)
		}
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return s % 0xffff
}

func TestAllocs(t *testing.T) {
	pkt := ip4(ProtocolTCP, 0, 0, tcp(80, 3333, SYN, []byte{2, 4, 5, 180}, nil))
	sum := 0
	if n := testing.AllocsPerRun(100, func() {
		f, _ := Parse(pkt, false)
		sum += Bucket(f.Hash(1), 64)
		binary.BigEndian.PutUint16(pkt[42:], 1460)
		if !ClampMSS(pkt, 1400) {
			t.Fatal("not clamped")
		}
		if f.Ordered() || !f.Interactive() {
			t.Fatal("wrong class")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, bb := range []struct {
		name string
		pkt  []byte
	}{
		{"tcp4", ip4(ProtocolTCP, 0, 0, tcp(80, 3333, ACK, make([]byte, 12), make([]byte, 1356)))},
		{"udp6", ip6(ProtocolUDP, 0, udp(80, 3333, 1300))},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Parse(bb.pkt, false)
			}
		})
	}
}

func BenchmarkBucket(b *testing.B) {
	f, _ := Parse(ip4(ProtocolUDP, 0, 0, udp(80, 3333, 1300)), false)
	b.ReportAllocs()
	for b.Loop() {
		Bucket(f.Hash(7), 64)
	}
}
