package gate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

var (
	start   = time.Unix(1000, 0)
	home    = Source{netip.MustParseAddrPort("192.0.2.1:4000"), 1}
	message = []byte("a message")
)

func TestTokenLife(t *testing.T) {
	tokens := NewTokens(start)
	for _, at := range []time.Duration{0, 1, 49 * time.Second, period - 1, period, 3*period - time.Second, time.Hour, 1000 * time.Hour} {
		issued := start.Add(at)
		token := tokens.Issue(issued, home, message)
		for _, age := range []time.Duration{0, 1, time.Second, TokenLife} {
			if !tokens.Check(issued.Add(age), &token, home, message) {
				t.Errorf("issued at %v: refused after %v", at, age)
			}
		}
		for _, age := range []time.Duration{TokenLife + 1, 11 * time.Second, period, 2 * period, time.Hour} {
			if tokens := *tokens; tokens.Check(issued.Add(age), &token, home, message) {
				t.Errorf("issued at %v: accepted after %v", at, age)
			}
		}
		if tokens.Check(issued.Add(-1), &token, home, message) {
			t.Errorf("issued at %v: accepted before", at)
		}
	}
}

func TestTokenBinding(t *testing.T) {
	tokens := NewTokens(start)
	token := tokens.Issue(start, home, message)
	for name, s := range map[string]Source{
		"port":       {netip.MustParseAddrPort("192.0.2.1:4001"), 1},
		"address":    {netip.MustParseAddrPort("192.0.2.2:4000"), 1},
		"local port": {home.Addr, 2},
		"none":       {},
	} {
		if tokens.Check(start, &token, s, message) {
			t.Errorf("accepted from another %s", name)
		}
	}
	for _, m := range []string{"", "a messagE", "a message ", "a messag"} {
		if tokens.Check(start, &token, home, []byte(m)) {
			t.Errorf("accepted for %q", m)
		}
	}
	if NewTokens(start).Check(start, &token, home, message) {
		t.Error("accepted by another server")
	}
	mapped := home
	mapped.Addr = netip.MustParseAddrPort("[::ffff:192.0.2.1]:4000")
	if !tokens.Check(start, &token, mapped, message) {
		t.Error("refused from the IPv4-mapped form of the address")
	}
	for bit := range 8 * TokenSize {
		bad := token
		bad[bit/8] ^= 1 << (bit % 8)
		if tokens.Check(start.Add(time.Second), &bad, home, message) {
			t.Errorf("accepted with bit %d flipped", bit)
		}
	}
	var zero [TokenSize]byte
	if tokens.Check(start, &zero, home, message) {
		t.Error("accepted a token of zeros")
	}
}

// Two periods after it was made, a key is gone.
func TestTokenKeys(t *testing.T) {
	var random bytes.Buffer
	for i := range byte(8) {
		random.Write(bytes.Repeat([]byte{i + 1}, 32))
	}
	tokens := newTokens(start, &random)
	has := func(k byte) bool { return tokens.keys[0][0] == k || tokens.keys[1][0] == k }
	if !has(1) || !has(2) {
		t.Fatal("the first keys are not there")
	}
	tokens.Issue(start.Add(period), home, message)
	if !has(1) || has(2) || !has(3) {
		t.Error("after one period: not the first key and a new one")
	}
	tokens.Issue(start.Add(2*period), home, message)
	if has(1) || !has(3) || !has(4) {
		t.Error("after two periods the first key is still there")
	}
	tokens.Issue(start.Add(10*period), home, message)
	if has(3) || has(4) || !has(5) || !has(6) {
		t.Error("after a long pause an old key is still there")
	}
}

func FuzzToken(f *testing.F) {
	random := bytes.Repeat([]byte{1, 2, 3, 4, 5}, 100000)
	good := newTokens(start, bytes.NewReader(random)).Issue(start, home, message)
	f.Add(good[:], message, uint16(4000), uint16(0))
	f.Add(make([]byte, TokenSize), []byte{}, uint16(1), uint16(100))
	f.Fuzz(func(t *testing.T, token, msg []byte, port, seconds uint16) {
		if len(token) != TokenSize {
			return
		}
		now := start.Add(time.Duration(seconds) * time.Second)
		from := Source{netip.AddrPortFrom(home.Addr.Addr(), port), 1}
		want := bytes.Equal(token, good[:]) && bytes.Equal(msg, message) && from == home && seconds <= 10
		tokens := newTokens(start, bytes.NewReader(random))
		if got := tokens.Check(now, (*[TokenSize]byte)(token), from, msg); got != want {
			t.Errorf("token %x for %q from %v: %v", token, msg, from, got)
		}
	})
}

// bucket is the token bucket that the limiter must agree with.
type bucket struct {
	level float64
	at    time.Time
}

func (b *bucket) fill(now time.Time, r Rate) {
	if b.at.IsZero() {
		b.level = float64(r.Burst)
	} else {
		b.level = min(b.level+now.Sub(b.at).Seconds()*r.PerSecond, float64(r.Burst))
	}
	b.at = now
}

func TestLimiter(t *testing.T) {
	cfg := LimiterConfig{Each: Rate{8, 4}, All: Rate{32, 16}} // steps that a float has exactly
	l := NewLimiter(cfg)
	rng := rand.New(rand.NewPCG(1, 1))
	each, all := make(map[int]*bucket), &bucket{}
	now := start
	allowed := 0
	for i := range 200000 {
		if rng.IntN(1000) == 0 {
			now = now.Add(time.Duration(rng.IntN(100)) * time.Second / 8)
		}
		now = now.Add(time.Duration(rng.IntN(4)) * time.Second / 32 / 4)
		who := rng.IntN(1 + rng.IntN(40))
		b := each[who]
		if b == nil {
			b = &bucket{}
			each[who] = b
		}
		b.fill(now, cfg.Each)
		all.fill(now, cfg.All)
		want := b.level >= 1-1e-9 && all.level >= 1-1e-9
		if want {
			b.level--
			all.level--
			allowed++
		}
		if got := l.Allow(now, netip.AddrFrom4([4]byte{192, 0, 2, byte(who)})); got != want {
			t.Fatalf("event %d of %d: %v, the bucket has %v, that of all %v", i, who, got, b.level, all.level)
		}
	}
	t.Logf("%d of 200000 allowed", allowed)
}

func TestLimiterNetworks(t *testing.T) {
	l := NewLimiter(LimiterConfig{Each: Rate{1, 2}})
	for i, tc := range []struct {
		addr string
		want bool
	}{
		{"2001:db8::1", true}, {"2001:db8::2:0:0:1", true}, {"2001:db8::3", false}, {"2001:db8:0:1::1", true},
		{"192.0.2.1", true}, {"192.0.2.1", true}, {"::ffff:192.0.2.1", false}, {"192.0.2.2", true},
		{"fe80::1%eth0", true}, {"fe80::2%eth1", true}, {"fe80::3", false},
	} {
		if got := l.Allow(start, netip.MustParseAddr(tc.addr)); got != tc.want {
			t.Errorf("%d, %s: %v", i, tc.addr, got)
		}
	}
	for range 100 {
		if !l.Allow(start, netip.Addr{}) {
			t.Fatal("a source without an address was limited as one")
		}
	}
}

// Whatever comes, the table has its size.
func TestLimiterBounded(t *testing.T) {
	l := NewLimiter(LimiterConfig{All: Rate{1e9, 1 << 30}, Sources: 100})
	var a [16]byte
	now := start
	for i := range uint64(100000) {
		binary.BigEndian.PutUint64(a[:], i)
		if !l.Allow(now, netip.AddrFrom16(a)) {
			t.Fatalf("source %d was refused", i)
		}
		if l.Len() > 200 {
			t.Fatalf("%d sources are remembered", l.Len())
		}
	}
	l.Allow(now.Add(time.Minute), netip.AddrFrom16(a))
	l.Allow(now.Add(2*time.Minute), netip.AddrFrom16(a))
	if l.Len() > 2 {
		t.Errorf("%d sources are remembered after a minute", l.Len())
	}
}

func ExampleTokens() {
	now := time.Unix(0, 0)
	tokens := NewTokens(now)
	from := Source{Addr: netip.MustParseAddrPort("192.0.2.1:4000")}
	token := tokens.Issue(now, from, []byte("hello"))
	fmt.Println(tokens.Check(now.Add(time.Second), &token, from, []byte("hello")))
	fmt.Println(tokens.Check(now.Add(time.Minute), &token, from, []byte("hello")))
	// Output:
	// true
	// false
}

func BenchmarkToken(b *testing.B) {
	tokens := NewTokens(start)
	msg := make([]byte, 168)
	token := tokens.Issue(start, home, msg)
	b.ReportAllocs()
	for b.Loop() {
		tokens.Check(start, &token, home, msg)
	}
}
