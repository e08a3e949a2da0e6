package reorder

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var epoch = time.Unix(1_000_000_000, 0)

const ms = time.Millisecond

// bench is a Buffer with a clock and one flow, whose packets are strings such as
// "7": their order, which is also their stamp.
type bench struct {
	t   *testing.T
	b   *Buffer[int]
	now time.Time

	hold bool // of the packets that are pushed
}

// newBench returns a Buffer with two active links of 20 and 70 ms.
func newBench(t *testing.T, cfg Config) *bench {
	x := &bench{t: t, b: New[int](cfg), now: epoch}
	x.link(0, 20*ms)
	x.link(1, 70*ms)
	return x
}

func (x *bench) link(link int, delay time.Duration) {
	x.b.SetLink(link, true)
	x.b.Seen(x.now, link, 0, delay)
}

func (x *bench) advance(d time.Duration) { x.now = x.now.Add(d) }

// push pushes packets that arrive on a link of 20 or 70 ms.
func (x *bench) push(link int, orders ...int) string {
	x.t.Helper()
	return x.pushAs(Packet{Link: link, Delay: time.Duration(20+50*link) * ms, Hold: x.hold}, orders...)
}

// repaired pushes packets that are sent again.
func (x *bench) repaired(link int, orders ...int) string {
	x.t.Helper()
	return x.pushAs(Packet{Link: link, Delay: 5 * ms, Hold: x.hold, Repaired: true}, orders...)
}

// delay reports a packet that is in no order.
func (x *bench) delay(link, v int) {
	x.t.Helper()
	p := Packet{Stamp: 1, Link: link, Delay: time.Duration(20+50*link) * ms}
	if got := x.b.Delay(x.now, p, v); got != Held {
		x.t.Fatalf("%d in no order: %v, want held", v, got)
	}
}

func (x *bench) pushAs(p Packet, orders ...int) string {
	x.t.Helper()
	var out []string
	for _, o := range orders {
		p.Order, p.Stamp = uint16(o), uint32(o+1)
		v := x.b.Push(x.now, p, o)
		switch v {
		case Next:
			out = append(out, fmt.Sprint(o))
		case Late, Duplicate:
			out = append(out, fmt.Sprint(o, " ", v))
		}
		if s := x.pop(); s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, " ")
}

func (x *bench) pop() string {
	var out []string
	for {
		v, ok := x.b.Pop(x.now)
		if !ok {
			return strings.Join(out, " ")
		}
		out = append(out, fmt.Sprint(v))
	}
}

func (x *bench) want(story, got, want string) {
	x.t.Helper()
	x.t.Logf("# %s: %s", story, got)
	if got != want {
		x.t.Fatalf("%s: delivered %q, want %q", story, got, want)
	}
}

func (x *bench) wantDeadline(d time.Duration) {
	x.t.Helper()
	at, ok := x.b.NextDeadline()
	if !ok || !at.Equal(x.now.Add(d)) {
		x.t.Fatalf("next deadline is in %v (%v), want %v", at.Sub(x.now), ok, d)
	}
}

// In the drawings, RB is what is held and OB what is delivered by the step.
func TestDrawn(t *testing.T) {
	x := newBench(t, Config{})
	// RB[] = {}                 push 0, 1        OB[] = {0, 1}
	x.want("in order", x.push(0, 0, 1), "0 1")
	// RB[] = {_, 3, _, 5}       push 3, 5        OB[] = {}
	x.want("a hole", x.push(0, 3, 5), "")
	// RB[] = {_, 5}             push 2           OB[] = {2, 3}
	x.want("the hole fills up to the next", x.push(1, 2), "2 3")
	// RB[] = {_, 5}             push 3           OB[] = {}
	x.want("a duplicate", x.push(1, 3), "3 duplicate")
	// RB[] = {_, 5}             push 5           OB[] = {5}
	x.want("another, which shows that link 1 has passed 4", x.push(1, 5), "5 duplicate 5")
	// RB[] = {}                 push 4           OB[] = {}
	x.want("too late", x.push(1, 4), "4 late")
	x.want("only once", x.push(0, 4), "4 duplicate")
}

func TestCertainLoss(t *testing.T) {
	x := newBench(t, Config{})
	x.want("2 and 4 are missing", x.push(0, 0, 1, 3, 5), "0 1")
	x.b.Seen(x.now, 1, 3, 70*ms) // stamp of 2
	x.want("link 1 may still bring 2", x.pop(), "")
	x.b.Seen(x.now, 1, 4, 70*ms) // stamp of 3
	x.want("link 1 has passed 2, not 4: past the head hole only", x.pop(), "3")
	x.b.SetLink(1, false)
	x.want("link 1 is gone, so nothing can bring 4", x.pop(), "5")
	x.want("one link holds nothing", x.push(0, 7), "7")
	if s := x.b.Stats(); s.LostCertain != 3 || s.Held != 2 || s.Delivered != 5 {
		t.Errorf("stats %+v", s)
	}
}

func TestDeadline(t *testing.T) {
	x := newBench(t, Config{})
	x.push(0, 0)
	x.want("1 and 3 are missing", x.push(0, 2), "")
	x.wantDeadline(60 * ms)
	x.advance(10 * ms)
	x.want("the first packet behind the hole counts", x.push(0, 4), "")
	x.wantDeadline(50 * ms)
	x.advance(50*ms - 1)
	x.want("not yet", x.pop(), "")
	x.advance(1)
	x.want("past the head hole only", x.pop(), "2")
	x.wantDeadline(10 * ms)
	x.advance(10 * ms)
	x.want("then the next", x.pop(), "4")
	if _, ok := x.b.NextDeadline(); ok {
		t.Error("a deadline with nothing held")
	}
	if s := x.b.Stats(); s.LostDeadline != 2 || s.MaxHold != 60*ms || s.HoldQuantile(0.5) != 60*ms {
		t.Errorf("stats %+v", s)
	}

	x = newBench(t, Config{MaxHold: 30 * ms, Slack: 40 * ms})
	x.push(0, 1)
	x.wantDeadline(30 * ms)
	x = newBench(t, Config{Slack: -1})
	x.push(0, 1)
	x.wantDeadline(50 * ms)
	x = newBench(t, Config{})
	x.push(1, 1)
	x.wantDeadline(10 * ms)
	x = newBench(t, Config{MaxHold: -1})
	x.want("no holding", x.push(0, 1), "1")
	x.want("so the other is late", x.push(0, 0), "0 late")
}

func TestUnknownLink(t *testing.T) {
	x := newBench(t, Config{})
	x.b.SetLink(2, true)
	x.push(0, 1)
	x.wantDeadline(250 * ms)
	x.advance(250 * ms)
	x.want("a link that has not delivered yet may be slow", x.pop(), "1")
	x.advance(time.Second)
	x.push(0, 3)
	x.wantDeadline(60 * ms)
}

func TestWindow(t *testing.T) {
	x := newBench(t, Config{Window: 4})
	x.want("0, 2, 4, 6 are missing", x.push(0, 1, 3, 5), "")
	x.want("the window is full: past the head hole", x.push(0, 7), "1")
	x.want("again", x.push(0, 9), "3")
	if s := x.b.Stats(); s.LostWindow != 2 || x.b.Len() != 3 {
		t.Errorf("holds %d, stats %+v", x.b.Len(), s)
	}
}

func TestSpan(t *testing.T) {
	x := newBench(t, Config{Window: 16})
	x.want("ring of 16", x.push(0, 2, 4), "")
	x.want("3 must go, 5 need not", x.push(0, 20), "2 4")
	x.want("the rest of the ring waits", x.push(1, 5), "5")
	x.want("alone in the ring", newBench(t, Config{Window: 16}).push(0, 1000), "")
	if x.b.Len() != 1 {
		t.Errorf("holds %d", x.b.Len())
	}
}

// TestJump loses more orders than 16 bits can tell from late ones.
func TestJump(t *testing.T) {
	for _, n := range []int{1, 32767, 32768, 40000, 65535} {
		x := newBench(t, Config{})
		x.push(0, 0, 1)
		x.want("a jump waits for what may come", x.push(0, 2+n), "")
		x.advance(60 * ms)
		x.want("and not longer", x.pop(), fmt.Sprint(2+n))
		x.want("then goes on", x.push(0, 3+n), fmt.Sprint(3+n))
		x.want("what was before is late", x.push(1, 1+n), fmt.Sprint(1+n, " late"))
	}
}

// TestWrap sends more packets than orders and stamps have numbers.
func TestWrap(t *testing.T) {
	b := New[int](Config{})
	b.SetLink(0, true)
	b.SetLink(1, true)
	for i := range 200_000 {
		i ^= 1 // 1 0 3 2 5 4
		stamp := uint32(i*100) & (1<<24 - 1)
		want := Next
		if i%2 == 1 {
			want = Held
		}
		p := Packet{Order: uint16(i), Stamp: stamp, Link: i % 2}
		if v := b.Push(epoch.Add(time.Duration(i)*time.Microsecond), p, i); v != want {
			t.Fatalf("packet %d: %v, want %v", i, v, want)
		}
		v, ok := b.Pop(epoch.Add(time.Duration(i) * time.Microsecond))
		if ok != (want == Next) || ok && v != i+1 {
			t.Fatalf("packet %d: popped %d %v", i, v, ok)
		}
	}
}

func TestFlushAndReset(t *testing.T) {
	x := newBench(t, Config{})
	x.push(0, 1, 2, 4, 7)
	x.b.Flush()
	x.wantDeadline(0)
	x.want("flush", x.pop(), "1 2 4 7")
	x.want("later packets are held again", x.push(0, 9), "")
	if s := x.b.Stats(); s.LostFlush != 4 {
		t.Errorf("stats %+v", s)
	}
	x.b.Reset()
	x.link(0, 20*ms)
	x.link(1, 20*ms)
	x.want("as new", x.push(0, 0), "0")
	if x.b.Len() != 0 || x.b.Stats() != (Stats{Delivered: 1}) {
		t.Errorf("holds %d, stats %+v", x.b.Len(), x.b.Stats())
	}
}

func TestFlowsAreIndependent(t *testing.T) {
	b := New[int](Config{Flows: 2})
	b.SetLink(0, true)
	b.SetLink(1, true)
	b.Push(epoch, Packet{Flow: 0, Order: 1, Stamp: 2}, 0)
	if v := b.Push(epoch, Packet{Flow: 1, Order: 0, Stamp: 3}, 0); v != Next {
		t.Errorf("behind another flow's hole: %v", v)
	}
	if v := b.Push(epoch, Packet{Flow: -2, Order: 0, Stamp: 1}, 0); v != Next {
		t.Errorf("flow -2 is flow 0 of two: %v", v)
	}
}

// FuzzOdd feeds anything, pops now and then, and checks what must hold even so.
func FuzzOdd(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Add(make([]byte, 300))
	f.Fuzz(func(t *testing.T, data []byte) { checkOdd(t, data) })
}

func TestOdd(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		data := make([]byte, 9000)
		for i := range data {
			data[i] = byte(rng.Uint32() >> rng.IntN(32))
		}
		checkOdd(t, data)
	}
}

func checkOdd(t *testing.T, data []byte) {
	const window = 100
	b := New[int](Config{Flows: 32, Window: window})
	held := make(map[int]time.Time)
	now, latest := epoch, epoch
	for i := 0; len(data) >= 14; i++ {
		op, d := data[0], data[1:14]
		data = data[14:]
		now = now.Add(time.Duration(int8(d[0])) * ms / 4)
		if now.After(latest) {
			latest = now
		}
		stamp := binary.LittleEndian.Uint32(d[1:])
		link := int(int8(d[5])) % 70
		delay := time.Duration(binary.LittleEndian.Uint32(d[6:])) << (d[10] % 40)
		p := Packet{
			Flow: int(int8(op)), Order: binary.LittleEndian.Uint16(d[11:]), Stamp: stamp, Link: link, Delay: delay,
			Hold: d[5]>>6&1 != 0, Repaired: d[10]>>6 == 3,
		}
		switch {
		case op < 180:
			if b.Push(now, p, i) == Held {
				held[i] = latest
			}
		case op < 190:
			if b.Delay(now, p, i) == Held {
				held[i] = latest
			}
		case op < 195:
			b.SetTarget(delay, d[0]%8 > 0)
		case op < 200:
			b.SetRepair(delay >> 10)
		case op < 220:
			b.Seen(now, link, stamp, delay)
		case op < 240:
			b.SetLink(link, d[0]%2 == 0)
		case op < 241:
			b.Flush()
		}
		if b.Len() != len(held) || b.Len() > window {
			t.Fatalf("holds %d, given %d, window %d", b.Len(), len(held), window)
		}
		for op%8 != 0 {
			v, ok := b.Pop(latest)
			if !ok {
				checkHeld(t, held, latest)
				break
			}
			if _, ok := held[v]; !ok {
				t.Fatalf("popped %d, which is not held", v)
			}
			delete(held, v)
		}
		if at, ok := b.NextDeadline(); ok != (len(held) > 0) {
			t.Fatalf("deadline %v %v with %d held", at, ok, len(held))
		}
	}
	now = now.Add(time.Hour)
	for range len(held) {
		v, ok := b.Pop(now)
		if _, known := held[v]; !ok || !known {
			t.Fatalf("popped %d %v long after every deadline, %d held", v, ok, b.Len())
		}
		delete(held, v)
	}
	if v, ok := b.Pop(now); ok {
		t.Fatalf("popped %d after the last", v)
	}
}

// checkHeld checks that nothing is held for longer than by default.
func checkHeld(t *testing.T, held map[int]time.Time, now time.Time) {
	t.Helper()
	for i, at := range held {
		if now.Sub(at) >= defaultMaxHold {
			t.Fatalf("%d has been held for %v", i, now.Sub(at))
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b := New[[16]byte](Config{Window: 4096})
	b.SetLink(0, true)
	b.SetLink(1, true)
	rng := rand.New(rand.NewPCG(2, 2))
	for i := range 300_000 {
		now := epoch.Add(time.Duration(i) * time.Microsecond)
		b.Push(now, Packet{Flow: rng.IntN(256), Order: uint16(rng.Uint32()), Stamp: uint32(i)}, [16]byte{})
		for {
			if _, ok := b.Pop(now); !ok {
				break
			}
		}
	}
	// Now every flow is drained, so all rings are free.
	b.Flush()
	for {
		if _, ok := b.Pop(epoch); !ok {
			break
		}
	}
	for i, f := range b.core.flows {
		if f.ring != nil {
			t.Fatalf("flow %d keeps a ring of %d while it holds nothing", i, len(f.ring))
		}
	}
	large, small := 0, 0
	for class, free := range b.core.rings.free {
		for _, r := range free {
			if class > 0 {
				large += len(r)
			} else {
				small += len(r)
			}
		}
	}
	if large > 8*4096 || large != b.core.rings.used || small > 256*minRing {
		t.Errorf("rings have %d entries in use of %d, and %d small ones", large, b.core.rings.used, small)
	}
	if len(b.vals) > 4097 {
		t.Errorf("%d slots for a window of 4096", len(b.vals))
	}
}

func TestDuplicateWindow(t *testing.T) {
	b := New[int](Config{})
	b.SetLink(0, true)
	push := func(order int) Verdict {
		return b.Push(epoch, Packet{Order: uint16(order), Stamp: uint32(order)}, 0)
	}
	for i := range 2000 {
		if i != 10 && i != 1500 {
			if v := push(i); v != Next {
				t.Fatalf("packet %d: %v", i, v)
			}
		}
	}
	for _, want := range []struct {
		order   int
		verdict Verdict
	}{{1999, Duplicate}, {976, Duplicate}, {1500, Late}, {1500, Duplicate}, {10, Late}, {975, Late}} {
		if v := push(want.order); v != want.verdict {
			t.Errorf("order %d when 2000 is next: %v, want %v", want.order, v, want.verdict)
		}
	}
}

func TestDelayStats(t *testing.T) {
	var s delayStats
	for i := range int64(1000) {
		s.add(i*int64(ms), i%10*int64(ms)) // 0 to 9 ms; every fourth is sampled
	}
	want := func(story string, now, want time.Duration) {
		t.Helper()
		got := time.Duration(s.high(int64(now)))
		t.Logf("# %s: %v", story, got)
		if got != want {
			t.Errorf("%s: %v, want %v", story, got, want)
		}
	}
	want("90 %", time.Second, 8*ms)
	for i := range int64(40) {
		s.add(int64(time.Second)+i*int64(100*time.Microsecond), 50*int64(ms))
	}
	if h := time.Duration(s.high(int64(time.Second + 4*ms))); h < 45*ms {
		t.Errorf("after 40 packets of 50 ms: %v", h)
	}
	want("silent", 4*time.Second, 50*ms)
	s.add(int64(5*time.Second), int64(7*ms))
	if s.n != 1 {
		t.Errorf("%d samples, want only the new one", s.n)
	}
	s.add(int64(5*time.Second+4*ms), int64(90*ms))
	for i := range int64(fewSamples - 3) {
		s.add(int64(5*time.Second+(8+4*time.Duration(i))*ms), int64(7*ms))
	}
	want("few samples", 5*time.Second+200*ms, 90*ms)
	s.add(int64(5*time.Second+200*ms), int64(7*ms))
	want("enough", 5*time.Second+200*ms, max(7*ms, time.Duration(s.average)))
}
