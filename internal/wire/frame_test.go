package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Any sequence of frames, written with the Append functions, is read as it was written.
func TestFramesRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var want []Frame
		var p []byte
		for range r.IntN(6) {
			var f Frame
			if r.IntN(2) == 0 {
				f.Type = TypeData
				f.Data = randomData(r)
				f.Data.Flags |= FlagLength
				p = AppendData(p, &f.Data)
			} else {
				f.Type, f.Body = Type(1+r.IntN(127)), randomBytes(r, r.IntN(40))
				p = AppendFrame(p, f.Type, f.Body)
			}
			want = append(want, f)
		}
		switch r.IntN(3) {
		case 0:
			f := Frame{Type: TypeData, Data: randomData(r)}
			f.Data.Flags &^= FlagLength
			p = AppendData(p, &f.Data)
			want = append(want, f)
		case 1:
			n := 1 + r.IntN(20)
			p = AppendPad(p, n)
			want = append(want, Frame{Type: TypePad, Body: make([]byte, n-1)})
		}
		for i, w := range want {
			f, rest, err := Next(p)
			if err != nil {
				t.Fatalf("frame %d: %v", i, err)
			}
			if f.Type != w.Type || !bytes.Equal(f.Body, w.Body) || !sameData(f.Data, w.Data) {
				t.Fatalf("frame %d: have %+v, want %+v", i, f, w)
			}
			p = rest
		}
		if len(p) != 0 {
			t.Fatalf("%d bytes are left over", len(p))
		}
	}
}

func randomData(r *rand.Rand) Data {
	return Data{
		Flags:   DataFlags(r.Uint32()) & flagAll,
		Stamp:   r.Uint32N(MaxStamp + 1),
		Order:   uint16(r.Uint32()),
		Time:    uint16(r.Uint32()),
		Payload: randomBytes(r, r.IntN(100)),
	}
}

func sameData(a, b Data) bool {
	return a.Flags == b.Flags && a.Stamp == b.Stamp && a.Order == b.Order && a.Time == b.Time && bytes.Equal(a.Payload, b.Payload)
}

// PutData leaves a payload that lies behind it alone, and agrees with AppendData.
func TestPutDataInPlace(t *testing.T) {
	payload := []byte("inner packet")
	for _, flags := range []DataFlags{0, FlagLength, FlagLength | FlagOrdered, 0xff} {
		d := Data{Flags: flags, Stamp: 0xff123456, Order: 7, Time: 8, Payload: payload}
		b := append(make([]byte, d.HeaderSize()), payload...)
		if n := PutData(b, &d); n != d.HeaderSize() {
			t.Errorf("flags %02x: PutData returned %d, HeaderSize %d", flags, n, d.HeaderSize())
		}
		if want := AppendData(nil, &d); !bytes.Equal(b, want) {
			t.Errorf("flags %02x: in place %x\nappended %x", flags, b, want)
		}
		f, rest, err := Next(b)
		if err != nil || len(rest) != 0 || f.Data.Stamp != 0x123456 || !bytes.Equal(f.Data.Payload, payload) {
			t.Errorf("flags %02x: read back %+v, %x, %v", flags, f, rest, err)
		}
	}
}

func TestDataOverhead(t *testing.T) {
	d := Data{Payload: make([]byte, 1400)}
	if n := len(AppendData(nil, &d)) - len(d.Payload); n != DataOverhead {
		t.Errorf("a lone DATA frame adds %d bytes, want %d", n, DataOverhead)
	}
	d.Flags = FlagLength
	if n := len(AppendData(nil, &d)) - len(d.Payload); n != DataOverhead+LengthSize {
		t.Errorf("a DATA frame with a length adds %d bytes, want %d", n, DataOverhead+LengthSize)
	}
}

func TestECN(t *testing.T) {
	for old := range uint8(4) {
		for ecn := range uint8(4) {
			f := (FlagOrdered | FlagPartial).WithECN(old).WithECN(ecn)
			if f.ECN() != ecn || f&^flagECN != FlagOrdered|FlagPartial {
				t.Errorf("from %d to %d: %02x", old, ecn, f)
			}
		}
	}
	if f := DataFlags(0).WithECN(0xff); f != flagECN {
		t.Errorf("of a code point only two bits count: %02x", f)
	}
}

// A frame cut off anywhere is refused, and a body cannot be grown into what follows.
func TestNextTruncated(t *testing.T) {
	whole := AppendData(nil, &Data{Flags: FlagLength, Payload: []byte("abc")})
	for _, p := range [][]byte{whole, AppendPing(nil, Ping{Echo: 1}), AppendFrame(nil, 0x33, []byte("abc"))} {
		for n := range p {
			if _, _, err := Next(p[:n]); !errors.Is(err, ErrTruncated) {
				t.Errorf("%x: %v, want ErrTruncated", p[:n], err)
			}
		}
		f, _, err := Next(append(p, 0xee))
		if err != nil {
			t.Fatal(err)
		}
		if cap(f.Body) != len(f.Body) || f.Type == TypeData && cap(f.Data.Payload) != len(f.Data.Payload) {
			t.Errorf("%v: appending to the body would overwrite the next frame", f.Type)
		}
	}
}

func TestTypeString(t *testing.T) {
	for typ, want := range map[Type]string{TypePad: "PAD", TypeMTU: "MTU", TypeData: "DATA", 0x42: "type 0x42"} {
		if got := typ.String(); got != want {
			t.Errorf("Type(%d) is %q, want %q", uint8(typ), got, want)
		}
	}
}

func TestDataPathAllocs(t *testing.T) {
	b := make([]byte, 0, 2048)
	d := Data{Flags: FlagLength | FlagOrdered, Payload: make([]byte, 600)}
	broken := AppendData(nil, &d)[:100]
	allocs := testing.AllocsPerRun(100, func() {
		b = b[:HeaderSize]
		PutHeader(b, 1, 2)
		PutData(b[:HeaderSize+DataOverhead+LengthSize], &d)
		b = AppendPing(b, Ping{Echo: 1})
		b = AppendPong(b, Pong{Echo: 1, Received: 2, Highest: 3})
		b = AppendClose(b, Close{1, 2})
		b = AppendPathInfo(b, PathInfo{1, 2, "fibre"})
		b = AppendData(b, &d)
		b = AppendData(b, &d)
		b = AppendPad(b, 8)
		if _, _, ok := ParseHeader(b); !ok {
			t.Error("no header")
		}
		for p := b[HeaderSize:]; len(p) > 0; {
			f, rest, err := Next(p)
			if err != nil {
				t.Fatal(err)
			}
			switch f.Type {
			case TypePing:
				_, err = ParsePing(f.Body)
			case TypePong:
				_, err = ParsePong(f.Body)
			case TypeClose:
				_, err = ParseClose(f.Body)
			}
			if err != nil {
				t.Fatal(err)
			}
			p = rest
		}
		if _, _, err := Next(broken); err == nil {
			t.Error("broken frame accepted")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkPutData(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, DataOverhead)
	d := Data{Flags: FlagOrdered, Payload: make([]byte, 1400)}
	for b.Loop() {
		d.Stamp++
		PutData(buf, &d)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, bench := range []struct {
		name string
		p    []byte
	}{
		{"data", AppendData(nil, &Data{Payload: make([]byte, 1400)})},
		{"ping", AppendPing(nil, Ping{Echo: 1})},
		{"pad1400", AppendPad(nil, 1400)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Next(bench.p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
