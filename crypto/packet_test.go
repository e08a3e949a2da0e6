package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestSealAndOpen(t *testing.T) {
	for _, aead := range []AEAD{ChaCha20Poly1305, AES256GCM} {
		s, o := newTestPair(t, aead)
		for i := range uint64(300) {
			plain := bytes.Repeat([]byte{byte(i)}, int(i)*5)
			ad := fmt.Append(nil, "header ", i)
			if s.Counter() != i {
				t.Fatalf("%v: Counter %d, want %d", aead, s.Counter(), i)
			}
			packet, err := s.Seal([]byte("dst"), plain, ad)
			if err != nil || len(packet) != 3+len(plain)+Overhead {
				t.Fatalf("%v: %d bytes, %v", aead, len(packet), err)
			}
			got, err := o.Open([]byte("dst"), packet[3:], ad, o.Expand(uint32(i)))
			if err != nil || !bytes.Equal(got[3:], plain) || string(got[:3]) != "dst" {
				t.Fatalf("%v: packet %d: %v", aead, i, err)
			}
		}
		if n, ok := o.Highest(); n != 299 || !ok || o.Received() != 300 || o.Failed() != 0 {
			t.Errorf("%v: highest %d, %d received, %d failed", aead, n, o.Received(), o.Failed())
		}
	}
}

// Each packet opens once, in whatever order, and not again.
func TestReplay(t *testing.T) {
	s, o := newTestPair(t, ChaCha20Poly1305)
	var packets [][]byte
	for range 500 {
		p, err := s.Seal(nil, []byte("plaintext"), nil)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, p)
	}
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(len(packets)) {
		if _, err := o.Open(nil, packets[i], nil, o.Expand(uint32(i))); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
	}
	before := *o.numbers
	for i, p := range packets {
		if _, err := o.Open(nil, p, nil, o.Expand(uint32(i))); !errors.Is(err, ErrReplay) {
			t.Fatalf("packet %d again: %v", i, err)
		}
	}
	if *o.numbers != before || o.failed != 0 {
		t.Error("replays changed the opener")
	}
}

// What is not authentic is refused and moves nothing but the count of failures.
func TestForgeries(t *testing.T) {
	for _, aead := range []AEAD{ChaCha20Poly1305, AES256GCM} {
		s, o := newTestPair(t, aead)
		ad := []byte{1, 2, 3, 4, 0, 0, 0, 1}
		for range 2 {
			if _, err := s.Seal(nil, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		packet, err := s.Seal(nil, []byte("plaintext"), ad)
		if err != nil {
			t.Fatal(err)
		}
		window, failed := o.numbers.window, uint64(0)
		refused := func(what string, packet, ad []byte, counter uint64) {
			t.Helper()
			failed++
			if _, err := o.Open(nil, packet, ad, counter); !errors.Is(err, ErrAuth) {
				t.Errorf("%v: %s: %v", aead, what, err)
			}
			if o.numbers.window != window || o.Received() != 0 || o.Failed() != failed {
				t.Errorf("%v: %s changed the opener", aead, what)
			}
		}
		for i := range 8 * len(packet) {
			bad := bytes.Clone(packet)
			bad[i/8] ^= 1 << (i % 8)
			refused(fmt.Sprintf("bit %d of the packet flipped", i), bad, ad, 2)
		}
		for i := range 8 * len(ad) {
			bad := bytes.Clone(ad)
			bad[i/8] ^= 1 << (i % 8)
			refused(fmt.Sprintf("bit %d of the additional data flipped", i), packet, bad, 2)
		}
		for i := range 60 {
			refused("another counter", packet, ad, 2^1<<i)
		}
		for n := range packet {
			refused("a shorter packet", packet[:n], ad, 2)
		}
		refused("a longer packet", append(bytes.Clone(packet), 0), ad, 2)
		if _, err := o.Open(nil, packet, ad, 2); err != nil {
			t.Errorf("%v: the true packet: %v", aead, err)
		}
	}
}

func TestExpand(t *testing.T) {
	_, o := newTestPair(t, ChaCha20Poly1305)
	for _, low := range []uint32{0, 1, 1 << 31, 1<<32 - 1} {
		if got := o.Expand(low); got != uint64(low) {
			t.Errorf("before the first packet: Expand(%d) = %d", low, got)
		}
	}
	const half = 1 << 31
	for _, highest := range []uint64{
		0, 1, 1000, half - 1, half, 1<<32 - 2, 1<<32 - 1, 1 << 32, 1<<32 + 1, 3<<32 - 5, 1<<40 + 12345, 0xa82f30ea, maxCounter - 1<<33,
	} {
		o.numbers.window = Window{}
		o.numbers.window.Mark(highest)
		for _, d := range []int64{-half + 2, -half / 2, -8128, -1, 0, 1, 2, 8128, half / 2, half - 1, half, half + 1} {
			want := highest + uint64(d)
			if d < 0 && uint64(-d) > highest {
				continue
			}
			if highest == 0 && d <= 0 {
				continue
			}
			if got := o.Expand(uint32(want)); got != want {
				t.Errorf("highest %#x: Expand(%#x) = %#x, want %#x", highest, uint32(want), got, want)
			}
		}
	}
}

// Near the two ends of the range Expand neither wraps around nor passes the limit.
func FuzzExpand(f *testing.F) {
	f.Add(uint64(0), uint32(0xffffffff))
	f.Add(uint64(maxCounter-2), uint32(0))
	f.Add(uint64(1<<32), uint32(0xffffffff))
	f.Fuzz(func(t *testing.T, highest uint64, low uint32) {
		highest %= maxCounter - 1
		o := newOpener(nil)
		o.numbers.window.Mark(highest)
		got := o.Expand(low)
		if uint32(got) != low || got >= maxCounter {
			t.Fatalf("highest %#x: Expand(%#x) = %#x", highest, low, got)
		}
		distance := func(n uint64) uint64 { return max(n, highest+1) - min(n, highest+1) }
		for _, other := range []uint64{got - 1<<32, got + 1<<32} {
			if other < maxCounter && distance(other) < distance(got) {
				t.Fatalf("highest %#x: Expand(%#x) = %#x, but %#x is nearer", highest, low, got, other)
			}
		}
	})
}

func TestLimits(t *testing.T) {
	s, o := newTestPair(t, ChaCha20Poly1305)
	s.first, s.counter = maxCounter-1, maxCounter-1 // after other epochs
	last, err := s.Seal(nil, []byte("last"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if out, err := s.Seal([]byte("dst"), []byte("one more"), nil); !errors.Is(err, ErrExhausted) || string(out) != "dst" {
			t.Errorf("Seal at the limit: %q, %v", out, err)
		}
	}
	if s.Counter() != maxCounter {
		t.Errorf("counter %d", s.Counter())
	}
	if _, err := o.Open(nil, last, nil, maxCounter); !errors.Is(err, ErrExhausted) {
		t.Errorf("Open past the limit: %v", err)
	}

	o.failed = maxFailed - 1
	if _, err := o.Open(nil, last, nil, 5); !errors.Is(err, ErrAuth) {
		t.Errorf("the last forgery: %v", err)
	}
	if _, err := o.Open(nil, last, nil, maxCounter-1); !errors.Is(err, ErrExhausted) {
		t.Errorf("after the last forgery: %v", err)
	}
	o.failed = maxFailed - 1
	if got, err := o.Open(nil, last, nil, maxCounter-1); err != nil || string(got) != "last" {
		t.Errorf("the last packet: %q, %v", got, err)
	}
}

// A key of AES-GCM stops at its own limit, wherever its packet numbers began.
func TestLimitOfGCM(t *testing.T) {
	s, _ := newTestPair(t, AES256GCM)
	for _, first := range []uint64{0, 12345, 1 << 40} {
		s.first, s.counter = first, first+1<<28-1
		if _, err := s.Seal(nil, nil, nil); err != nil {
			t.Errorf("from %d: packet 2^28: %v", first, err)
		}
		if _, err := s.Seal(nil, nil, nil); !errors.Is(err, ErrExhausted) {
			t.Errorf("from %d: packet 2^28 + 1: %v", first, err)
		}
		if s.Used() != 1<<28 {
			t.Errorf("from %d: used %d times", first, s.Used())
		}
	}
}

// Packet numbers go on over an epoch's end: what comes late under the old key is
// accepted beside what comes under the new one, and no number twice.
func TestContinue(t *testing.T) {
	send, recv := newTestSecrets(t)
	var sealers [2]*Sealer
	var openers [2]*Opener
	for epoch := range uint32(2) {
		var err error
		if sealers[epoch], err = send.Sealer(ChaCha20Poly1305, 3, epoch); err != nil {
			t.Fatal(err)
		}
		if openers[epoch], err = recv.Opener(ChaCha20Poly1305, 3, epoch); err != nil {
			t.Fatal(err)
		}
	}
	type packet struct {
		epoch  int
		number uint64
		sealed []byte
	}
	var packets []packet
	seal := func(epoch int) {
		p := packet{epoch: epoch, number: sealers[epoch].Counter()}
		var err error
		if p.sealed, err = sealers[epoch].Seal(nil, []byte("plaintext"), nil); err != nil {
			t.Fatal(err)
		}
		packets = append(packets, p)
	}
	for range 10 {
		seal(0)
	}
	sealers[1].Continue(sealers[0])
	openers[1].Continue(openers[0])
	for range 10 {
		seal(1)
	}
	if sealers[1].Counter() != 20 || sealers[1].Used() != 10 {
		t.Errorf("the next packet is %d, and the key was used %d times", sealers[1].Counter(), sealers[1].Used())
	}
	for i := len(packets) - 1; i >= 0; i-- {
		p := packets[i]
		if _, err := openers[1-p.epoch].Open(nil, p.sealed, nil, p.number); !errors.Is(err, ErrAuth) {
			t.Errorf("packet %d with the other key: %v", p.number, err)
		}
		if n := openers[p.epoch].Expand(uint32(p.number)); n != p.number {
			t.Errorf("packet %d is taken for %d", p.number, n)
		}
		if _, err := openers[p.epoch].Open(nil, p.sealed, nil, p.number); err != nil {
			t.Errorf("packet %d: %v", p.number, err)
		}
		for _, o := range openers {
			if _, err := o.Open(nil, p.sealed, nil, p.number); !errors.Is(err, ErrReplay) {
				t.Errorf("packet %d again: %v", p.number, err)
			}
		}
	}
	for _, o := range openers {
		if n, _ := o.Highest(); n != 19 || o.Received() != 20 {
			t.Errorf("highest %d, received %d", n, o.Received())
		}
	}
}

func TestPacketAllocs(t *testing.T) {
	for _, aead := range []AEAD{ChaCha20Poly1305, AES256GCM} {
		s, o := newTestPair(t, aead)
		buf, ad := make([]byte, 1400, 1400+Overhead), make([]byte, 8)
		copied := make([]byte, 0, len(buf)+Overhead)
		if n := testing.AllocsPerRun(100, func() {
			counter := s.Counter()
			packet, err := s.Seal(buf[:0], buf, ad)
			if err != nil || &packet[0] != &buf[0] {
				t.Fatal("not sealed in place", err)
			}
			copied = append(copied[:0], packet...)
			counter = o.Expand(uint32(counter))
			if plain, err := o.Open(packet[:0], packet, ad, counter); err != nil || &plain[0] != &buf[0] {
				t.Fatal("not opened in place", err)
			}
			if _, err := o.Open(copied[:0], copied, ad, counter); err != ErrReplay {
				t.Fatal(err)
			}
			if _, err := o.Open(copied[:0], copied, ad, counter+1); err != ErrAuth {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations", aead, n)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	forSizes(b, func(b *testing.B, aead AEAD, size int) {
		s, _ := newTestPair(b, aead)
		buf, ad := make([]byte, size, size+Overhead), make([]byte, 8)
		for b.Loop() {
			if _, err := s.Seal(buf[:0], buf, ad); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	forSizes(b, func(b *testing.B, aead AEAD, size int) {
		s, o := newTestPair(b, aead)
		ad, out := make([]byte, 8), make([]byte, 0, size)
		packet, err := s.Seal(nil, make([]byte, size), ad)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			o.numbers.window = Window{}
			if _, err := o.Open(out, packet, ad, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpenForged(b *testing.B) {
	forSizes(b, func(b *testing.B, aead AEAD, size int) {
		_, o := newTestPair(b, aead)
		packet, out := make([]byte, size+Overhead), make([]byte, 0, size)
		for b.Loop() {
			if _, err := o.Open(out, packet, nil, 0); err == nil {
				b.Fatal("opened")
			}
		}
	})
}

func forSizes(b *testing.B, bench func(b *testing.B, aead AEAD, size int)) {
	for _, aead := range []AEAD{ChaCha20Poly1305, AES256GCM} {
		for _, size := range []int{64, 1400, 1408} {
			b.Run(fmt.Sprintf("%v/%d", aead, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				bench(b, aead, size)
			})
		}
	}
}
