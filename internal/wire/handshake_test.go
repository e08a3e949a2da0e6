package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestHandshakeRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	prefix := []byte("before")
	for range 1000 {
		m := Init{Mode: Mode(r.IntN(2)), Attempt: r.Uint64(), Noise: randomBytes(r, r.IntN(MaxNoiseSize+1)), Size: r.IntN(1500)}
		copy(m.Token[:], randomBytes(r, TokenSize))
		var covered []byte
		b := m.Append(prefix, func(c []byte) (mac [MACSize]byte) {
			covered = bytes.Clone(c)
			copy(mac[:], c[8:])
			return mac
		})[len(prefix):]
		got, gotCovered, err := ParseInit(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(covered, gotCovered) || len(covered) != len(b)-MACSize-TokenSize {
			t.Fatalf("mac1 covers %d bytes when written, %d when read, of %d", len(covered), len(gotCovered), len(b))
		}
		if !bytes.Equal(got.MAC1[:], covered[8:8+MACSize]) || got.Token != m.Token || got.Attempt != m.Attempt ||
			got.Mode != m.Mode || !bytes.Equal(got.Noise, m.Noise) || got.Size != len(b) {
			t.Fatalf("have %+v\nwant %+v", got, m)
		}
		if want := max(MinInitSize, m.Size, noiseOffset+len(m.Noise)+initTrailer); len(b) != want {
			t.Fatalf("%d bytes, want %d", len(b), want)
		}
		if k, mode, ok := HandshakeType(b); k != KindInit || mode != m.Mode || !ok {
			t.Fatal(k, mode, ok)
		}

		resp := Response{Mode: m.Mode, Attempt: m.Attempt, Noise: m.Noise}
		b = resp.Append(prefix)[len(prefix):]
		gotResp, err := ParseResponse(b)
		if err != nil || gotResp.Mode != resp.Mode || gotResp.Attempt != resp.Attempt || !bytes.Equal(gotResp.Noise, resp.Noise) {
			t.Fatalf("have %+v, %v\nwant %+v", gotResp, err, resp)
		}
		if len(b) != len(m.Noise)+ResponseOverhead {
			t.Fatalf("a response adds %d bytes", len(b)-len(m.Noise))
		}
		if k, mode, ok := HandshakeType(b); k != KindResponse || mode != m.Mode || !ok {
			t.Fatal(k, mode, ok)
		}
	}
}

func TestRetryRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		m := Retry{Mode: Mode(r.IntN(2)), Attempt: r.Uint64()}
		copy(m.Token[:], randomBytes(r, TokenSize))
		b := m.Append([]byte("before"))[len("before"):]
		if got, err := ParseRetry(b); err != nil || got != m || len(b) != RetrySize {
			t.Fatalf("have %+v, %v\nwant %+v", got, err, m)
		}
		if k, mode, ok := HandshakeType(b); k != KindRetry || mode != m.Mode || !ok {
			t.Fatal(k, mode, ok)
		}
		init := (&Init{Noise: make([]byte, 96)}).Append(nil, nil)
		want := bytes.Clone(init)
		SetToken(init, m.Token)
		if got, _, err := ParseInit(init); err != nil || got.Token != m.Token {
			t.Fatalf("%+v, %v", got, err)
		}
		SetToken(init, [TokenSize]byte{})
		if !bytes.Equal(init, want) {
			t.Fatal("a token changed more than the token")
		}
	}
}

// A mac1 that was computed before is kept: it does not cover the token.
func TestInitKeepsMAC1(t *testing.T) {
	m := Init{Noise: make([]byte, 96), MAC1: [MACSize]byte{1, 2, 3}, Token: [TokenSize]byte{4}}
	if got, _, err := ParseInit(m.Append(nil, nil)); err != nil || got.MAC1 != m.MAC1 || got.Token != m.Token {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestHandshakeTypeRefuses(t *testing.T) {
	for _, b := range [][]byte{
		nil, make([]byte, 7), {0, 0, 0, 1, 1, 1, 0, 0}, {0, 0, 0, 0, 0, 1, 0, 0}, {0, 0, 0, 0, 4, 1, 0, 0},
		{0, 0, 0, 0, 1, 2, 0, 0}, {0, 0, 0, 0, 1, 1, 2, 0}, {0, 0, 0, 0, 1, 1, 0, 1},
	} {
		if k, m, ok := HandshakeType(b); ok {
			t.Errorf("%x: %v, %v", b, k, m)
		}
	}
}

// Anybody can send handshake messages, so refusing one must cost nothing.
func TestParseHandshakeAllocs(t *testing.T) {
	good := (&Init{Noise: make([]byte, 96)}).Append(nil, nil)
	var inputs [][]byte
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x80
		inputs = append(inputs, bad, good[:i])
	}
	inputs = append(inputs, good)
	if n := testing.AllocsPerRun(10, func() {
		for _, b := range inputs {
			HandshakeType(b)
			ParseInit(b)
			ParseResponse(b)
			ParseRetry(b)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParseInit(b *testing.B) {
	b.ReportAllocs()
	msg := (&Init{Noise: make([]byte, 96)}).Append(nil, nil)
	for b.Loop() {
		if _, _, err := ParseInit(msg); err != nil {
			b.Fatal(err)
		}
	}
}
