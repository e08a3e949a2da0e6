package tuntest

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

var (
	a4, b4 = netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("198.51.100.2:2000")
	a6, b6 = netip.MustParseAddrPort("[2001:db8::1]:1000"), netip.MustParseAddrPort("[2001:db8::2]:2000")
)

func builders(payload []byte) map[string][]byte {
	h := TCP{Seq: 7, Ack: 9, Flags: SYN | ACK, MSS: 1460}
	return map[string][]byte{
		"UDP4":    UDP4(a4, b4, payload),
		"UDP6":    UDP6(a6, b6, payload),
		"TCP4":    TCP4(a4, b4, TCP{Seq: 1 << 31, Flags: PSH | ACK, Window: 5}, payload),
		"TCP4MSS": TCP4(a4, b4, h, payload),
		"TCP6":    TCP6(a6, b6, h, payload),
		"Echo4":   Echo4(a4.Addr(), b4.Addr(), false, 3, 4, payload),
		"Reply4":  Echo4(a4.Addr(), b4.Addr(), true, 3, 4, payload),
		"Echo6":   Echo6(a6.Addr(), b6.Addr(), false, 3, 4, payload),
		"Reply6":  Echo6(a6.Addr(), b6.Addr(), true, 3, 4, payload),
	}
}

// TestGolden pins a packet whose checksums another program has computed, so that a
// mistake common to builder and checker would show.
func TestGolden(t *testing.T) {
	got := UDP4(netip.MustParseAddrPort("10.0.0.1:53"), netip.MustParseAddrPort("10.0.0.2:1024"), []byte("hey"))
	want := "4500001f00004000401126cc0a0000010a000002" + "00350400000b063b686579"
	if hex.EncodeToString(got) != want {
		t.Fatalf("%x, want %s", got, want)
	}
}

func TestBuildersAreValid(t *testing.T) {
	for size := range 70 {
		payload := bytes.Repeat([]byte{0xa5}, size)
		for name, pkt := range builders(payload) {
			if err := Check(pkt); err != nil {
				t.Errorf("%s with %d bytes: %v", name, size, err)
			}
			got, err := Payload(pkt)
			if err != nil || !bytes.Equal(got, payload) {
				t.Errorf("%s with %d bytes: payload % x, %v", name, size, got, err)
			}
		}
	}
}

// TestCheckFindsDamage flips every bit that a checksum or length covers.
func TestCheckFindsDamage(t *testing.T) {
	for name, pkt := range builders([]byte("some payload of odd length.")) {
		for i := range pkt {
			if pkt[0]>>4 == 6 && (i > 0 && i < 4 || i == 7) {
				continue // traffic class, flow label and hop limit are in no checksum
			}
			for bit := range 8 {
				bad := append([]byte(nil), pkt...)
				bad[i] ^= 1 << bit
				if pkt[0]>>4 == 6 && i == 0 && bit < 4 {
					continue // traffic class
				}
				if pkt[0]>>4 == 6 && i == 6 {
					continue // another protocol, of which nothing may be known
				}
				if Check(bad) == nil {
					t.Errorf("%s: flipping bit %d of byte %d goes unnoticed", name, bit, i)
				}
			}
		}
		for n := range pkt {
			if Check(pkt[:n]) == nil {
				t.Errorf("%s: cut to %d bytes goes unnoticed", name, n)
			}
		}
	}
}

func TestFixChecksums(t *testing.T) {
	for name, pkt := range builders([]byte("payload")) {
		pkt[len(pkt)-1] ^= 0xff
		if pkt[0]>>4 == 4 {
			pkt[8]--
		}
		if Check(pkt) == nil {
			t.Errorf("%s: damage goes unnoticed", name)
		}
		FixChecksums(pkt)
		if err := Check(pkt); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestZeroChecksum looks for a datagram whose sum is 0, which is sent as 0xffff.
func TestZeroChecksum(t *testing.T) {
	for i := range 1 << 16 {
		pkt := UDP6(a6, b6, []byte{byte(i >> 8), byte(i)})
		if pkt[46] == 0xff && pkt[47] == 0xff {
			return
		}
		if pkt[46] == 0 && pkt[47] == 0 {
			t.Fatalf("payload %d: no checksum", i)
		}
	}
	t.Fatal("no datagram with checksum 0xffff")
}

func TestEthernet(t *testing.T) {
	dst, src := [6]byte{1, 2, 3, 4, 5, 6}, [6]byte{7, 8, 9, 10, 11, 12}
	got := Ethernet(dst, src, EtherTypeARP, []byte("xy"))
	if want := []byte("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x08\x06xy"); !bytes.Equal(got, want) {
		t.Fatalf("% x, want % x", got, want)
	}
}

func TestBuildersPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"IPv6 address in UDP4": func() { UDP4(a4, b6, nil) },
		"IPv4 address in TCP6": func() { TCP6(a4, b6, TCP{}, nil) },
		"too long for IPv4":    func() { UDP4(a4, b4, make([]byte, 65508)) },
		"too long for IPv6":    func() { UDP6(a6, b6, make([]byte, 65528)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
