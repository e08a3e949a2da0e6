package wire

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestControlRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	body := func(b []byte, want Type) []byte {
		t.Helper()
		f, rest, err := Next(b)
		if err != nil || f.Type != want || len(rest) != 0 {
			t.Fatalf("%x: %v, %d bytes left, %v", b, f.Type, len(rest), err)
		}
		return f.Body
	}
	for range 500 {
		ping := Ping{r.Uint64(), uint16(r.Uint32())}
		if got, err := ParsePing(body(AppendPing(nil, ping), TypePing)); got != ping || err != nil {
			t.Fatal(got, ping, err)
		}
		pong := Pong{r.Uint64(), r.Uint32(), r.Uint32(), uint16(r.Uint32())}
		if got, err := ParsePong(body(AppendPong(nil, pong), TypePong)); got != pong || err != nil {
			t.Fatal(got, pong, err)
		}
		c := Close{Reason(r.Uint32()), r.Uint32()}
		if got, err := ParseClose(body(AppendClose(nil, c), TypeClose)); got != c || err != nil {
			t.Fatal(got, c, err)
		}
		info := PathInfo{uint8(r.Uint32()), r.Uint64(), strings.Repeat("é", r.IntN(17))}
		if got, err := ParsePathInfo(body(AppendPathInfo(nil, info), TypePath)); got != info || err != nil {
			t.Fatal(got, info, err)
		}
	}
}

// What AppendPathInfo writes can be parsed, even if the name is not a name.
func TestPathInfoBadName(t *testing.T) {
	for _, name := range []string{strings.Repeat("n", MaxPathName+1), "\xff", "two\nlines"} {
		want := PathInfo{Tier: 1, Weight: 2}
		got, err := ParsePathInfo(AppendPathInfo(nil, PathInfo{1, 2, name})[frameHeader:])
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
}
