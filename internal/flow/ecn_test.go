package flow

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// sumIP4 gives an IPv4 packet the checksum of RFC 791.
func sumIP4(pkt []byte) []byte {
	h := pkt[:int(pkt[0]&15)*4]
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^uint16(fullSum(Info{}, h)))
	return pkt
}

// Whatever the header holds, a marked IPv4 packet has the checksum of a new one, and a
// wrong checksum stays wrong by as much.
func TestMarkCEChecksum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	for range 20000 {
		pkt := ip4(17, byte(rng.Uint32()), 0, udp(1, 2, 20))
		binary.BigEndian.PutUint32(pkt[12:], rng.Uint32())
		binary.BigEndian.PutUint32(pkt[16:], rng.Uint32())
		binary.BigEndian.PutUint16(pkt[4:], uint16(rng.Uint32()))
		sumIP4(pkt)
		wrong := uint16(rng.Uint32N(3))
		binary.BigEndian.PutUint16(pkt[10:], binary.BigEndian.Uint16(pkt[10:])+wrong)
		before := bytes.Clone(pkt)
		ect := pkt[1]&3 != 0
		if got := MarkCE(pkt, false); got != ect {
			t.Fatalf("traffic class %02x: marked %v", before[1], got)
		}
		if !ect {
			if !bytes.Equal(pkt, before) {
				t.Fatalf("a packet that is not marked was changed: %x, was %x", pkt, before)
			}
			continue
		}
		want := bytes.Clone(before)
		want[1] |= 3
		copy(want[10:12], pkt[10:12])
		if !bytes.Equal(pkt, want) {
			t.Fatalf("have %x\nwant %x", pkt, want)
		}
		// 0 is right, and 0xffff counts as 0.
		if was, is := fullSum(Info{}, before[:20]), fullSum(Info{}, pkt[:20]); was != is {
			t.Fatalf("the header summed up to %04x, and now to %04x: %x", was, is, pkt[:20])
		}
	}
}

func TestMarkCE(t *testing.T) {
	data := udp(1, 2, 20)
	v4 := func(tos byte) []byte { return sumIP4(ip4(17, tos, 0, data)) }
	v6 := func(class byte) []byte { return ip6(17, class, data) }
	qinq := frame(0x0800, true, v4(2))
	binary.BigEndian.PutUint16(qinq[12:], etherTypeQinQ)
	marked := frame(0x0800, true, v4(3))
	binary.BigEndian.PutUint16(marked[12:], etherTypeQinQ)
	for _, tt := range []struct {
		name     string
		pkt      []byte
		ethernet bool
		want     []byte // nil: not marked
	}{
		{name: "IPv4 ECT(0)", pkt: v4(0xb8 | 2), want: v4(0xb8 | 3)},
		{name: "IPv4 ECT(1)", pkt: v4(1), want: v4(3)},
		{name: "IPv4 CE", pkt: v4(3), want: v4(3)},
		{name: "IPv4 not-ECT", pkt: v4(0xfc)},
		{name: "IPv6 ECT(0)", pkt: v6(0xb8 | 2), want: v6(0xb8 | 3)},
		{name: "IPv6 ECT(1)", pkt: v6(1), want: v6(3)},
		{name: "IPv6 CE", pkt: v6(0xff), want: v6(0xff)},
		{name: "IPv6 not-ECT", pkt: v6(0xfc)},
		{name: "frame", pkt: frame(0x0800, false, v4(2)), ethernet: true, want: frame(0x0800, false, v4(3))},
		{name: "frame with a tag", pkt: frame(0x86dd, true, v6(2)), ethernet: true, want: frame(0x86dd, true, v6(3))},
		{name: "frame with a service tag", pkt: qinq, ethernet: true, want: marked},
		{name: "ARP", pkt: frame(0x0806, false, make([]byte, 28)), ethernet: true},
		{name: "cut off", pkt: v4(2)[:19]},
		{name: "empty", pkt: nil},
	} {
		got := bytes.Clone(tt.pkt)
		want := tt.want
		if want == nil {
			want = tt.pkt
		}
		if ok := MarkCE(got, tt.ethernet); ok != (tt.want != nil) || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, %x\nwant %v, %x", tt.name, ok, got, tt.want != nil, want)
		}
	}
}

// Whatever the packet, MarkCE does as it says, and changes nothing but the ECN field and
// the checksum of IPv4.
func FuzzMarkCE(f *testing.F) {
	for _, pkt := range seeds() {
		f.Add(pkt, false)
		f.Add(pkt, true)
	}
	f.Fuzz(func(t *testing.T, pkt []byte, ethernet bool) {
		before := bytes.Clone(pkt)
		was, _ := Parse(before, ethernet)
		marked := MarkCE(pkt, ethernet)
		is, ok := Parse(pkt, ethernet)
		if marked && (!ok || is.ECN != CE) || !marked && !bytes.Equal(before, pkt) {
			t.Fatalf("marked %v: %+v, was %+v", marked, is, was)
		}
		changed := 0
		for i := range pkt {
			if pkt[i] != before[i] {
				changed++
			}
		}
		was.ECN, is.ECN = 0, 0
		if was != is || changed > 3 {
			t.Fatalf("%d bytes were changed: %+v, was %+v", changed, is, was)
		}
	})
}

func TestSteady(t *testing.T) {
	data := make([]byte, 1000)
	for _, tt := range []struct {
		name string
		pkt  []byte
		want bool
	}{
		{"TCP data", ip4(6, 0, 0, tcp(443, 5000, ACK, nil, data)), true},
		{"TCP SYN", ip4(6, 0, 0, tcp(443, 5000, SYN, nil, nil)), true},
		{"TCP SYN ACK", ip6(6, 0, tcp(443, 5000, SYN|ACK, nil, nil)), true},
		{"TCP FIN", ip4(6, 0, 0, tcp(443, 5000, FIN|ACK, nil, nil)), true},
		{"TCP ACK", ip4(6, 0, 0, tcp(443, 5000, ACK, nil, nil)), false},
		{"TCP RST", ip4(6, 0, 0, tcp(443, 5000, RST, nil, nil)), false},
		{"TCP fragment", ip4(6, 0, 0x2000, tcp(443, 5000, ACK, nil, data)), false},
		{"QUIC from a server", ip4(17, 0, 0, udp(443, 5000, 272)), true},
		{"QUIC to a server", ip6(17, 0, udp(5000, 443, 1200)), true},
		{"short QUIC", ip4(17, 0, 0, udp(443, 5000, 271)), false},
		{"QUIC fragment", ip4(17, 0, 0x2000, udp(443, 5000, 1000)), false},
		{"other UDP", ip4(17, 0, 0, udp(51820, 5000, 1000)), false},
		{"ESP", ip4(50, 0, 0, data), false},
	} {
		f, ok := Parse(tt.pkt, false)
		if !ok || f.Steady() != tt.want {
			t.Errorf("%s: parsed %v, steady %v, want %v", tt.name, ok, f.Steady(), tt.want)
		}
	}
}

func BenchmarkMarkCE(b *testing.B) {
	pkt := sumIP4(ip4(6, 2, 0, tcp(1, 2, ACK, nil, make([]byte, 1000))))
	b.ReportAllocs()
	for b.Loop() {
		pkt[1] = 2
		if !MarkCE(pkt, false) {
			b.Fatal("not marked")
		}
	}
}
