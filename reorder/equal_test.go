package reorder

import (
	"testing"
	"time"
)

// eq is a bench whose packets are to arrive as if all links had 70 ms.
func newEqual(t *testing.T, cfg Config) *bench {
	x := newBench(t, cfg)
	x.hold = true
	x.b.SetTarget(70*ms, true)
	return x
}

func TestEqualised(t *testing.T) {
	x := newEqual(t, Config{})
	x.want("0 came 50 ms too early", x.push(0, 0), "")
	x.wantDeadline(50 * ms)
	x.advance(10 * ms)
	x.want("1 later and as early", x.push(0, 1), "")
	x.wantDeadline(40 * ms)
	x.advance(39 * ms)
	x.want("not yet", x.pop(), "")
	x.advance(500*time.Microsecond + 1)
	x.want("half a millisecond does not count", x.pop(), "0")
	x.advance(500*time.Microsecond - 1)
	x.want("2 is in time, but behind 1", x.push(1, 2), "")
	x.wantDeadline(10 * ms)
	x.advance(10 * ms)
	x.want("both", x.pop(), "1 2")
	x.want("the slow link's go at once", x.push(1, 3), "3")
	x.advance(time.Second)
	if s := x.b.Stats(); s.Early != 2 || s.Held != 3 || s.Delivered != 4 || s.LostCertain+s.LostDeadline > 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestEqualisedHole(t *testing.T) {
	x := newEqual(t, Config{})
	x.want("2 is early, and 0 and 1 missing", x.push(0, 2), "")
	x.b.Seen(x.now, 1, 9, 70*ms)
	x.b.Seen(x.now, 0, 9, 20*ms)
	x.want("lost for certain, but 2 has time", x.pop(), "")
	x.wantDeadline(50 * ms)
	x.advance(30 * ms)
	x.want("so that 1 may still come, which is not early and gives 0 up", x.push(1, 1), "1")
	x.advance(20 * ms)
	x.want("2 in its time", x.pop(), "2")
	if s := x.b.Stats(); s.LostCertain != 1 || s.Late != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestEqualisedTarget(t *testing.T) {
	x := newEqual(t, Config{})
	x.push(0, 0, 1)
	x.delay(0, 100)
	x.b.SetTarget(50*ms, true)
	x.wantDeadline(30 * ms)
	x.b.SetTarget(90*ms, true)
	x.wantDeadline(70 * ms)
	x.advance(40 * ms)
	x.want("later than before", x.pop(), "")
	x.b.SetTarget(60*ms, true)
	x.want("lower, and now over", x.pop(), "0 1 100")
	x.push(0, 2, 3)
	x.b.SetTarget(60*ms, false)
	x.want("off", x.pop(), "2 3")
	x.want("and stays so", x.push(0, 4), "4")

	x.b.SetTarget(10*time.Second, true)
	x.push(0, 5)
	x.delay(0, 101)
	x.wantDeadline(250 * ms)
	x.advance(250 * ms)
	x.want("MaxHold limits any target", x.pop(), "101 5")
	x.b.SetTarget(-1<<63, true)
	x.want("as far as it goes", x.push(0, 6), "6")
	x.b.SetTarget(1<<63-1, true)
	x.push(0, 7)
	x.wantDeadline(250 * ms)
}

// TestEqualisedMaxHold has a packet that arrived before those which it is behind.
func TestEqualisedMaxHold(t *testing.T) {
	x := newEqual(t, Config{MaxHold: 100 * ms})
	x.b.SetTarget(time.Second, true)
	x.push(0, 1, 3)
	x.advance(90 * ms)
	x.push(0, 0)
	x.advance(10*ms - dueSlackOf())
	x.want("not longer for 0, which came later", x.pop(), "")
	x.advance(dueSlackOf())
	x.want("nor for 2, which is missing", x.pop(), "0 1 3")
}

func dueSlackOf() time.Duration { return time.Duration(dueSlack) }

func TestEqualisedWindow(t *testing.T) {
	x := newEqual(t, Config{Window: 4})
	x.push(0, 0, 1)
	x.advance(ms)
	x.delay(0, 100)
	x.want("the window is full: what waits for its time goes", x.push(0, 2), "0")
	x.want("what is due first", x.push(0, 3), "1")
	x.want("and again", x.push(0, 5), "100")
	x.b.Flush()
	x.want("flush", x.pop(), "2 3 5")
	if s := x.b.Stats(); s.LostWindow != 0 || s.LostFlush != 1 || x.b.Len() != 0 {
		t.Errorf("holds %d, stats %+v", x.b.Len(), s)
	}
	x.push(0, 6)
	x.b.Reset()
	x.link(0, 20*ms)
	x.want("as new", x.push(0, 0), "0")
}

// TestEqualisedMixed has packets of the same flow with Hold and without.
func TestEqualisedMixed(t *testing.T) {
	x := newEqual(t, Config{})
	x.push(0, 0)
	x.hold = false
	x.want("behind one that waits", x.push(0, 1), "")
	x.advance(50 * ms)
	x.want("both", x.pop(), "0 1")
	x.want("alone", x.push(0, 2), "2")
	x.want("a hole", x.push(0, 4), "")
	x.wantDeadline(60 * ms)
	x.hold = true
	x.want("the hole's packet has a time of its own", x.push(0, 3), "")
	x.wantDeadline(50 * ms)
}

// TestEqualisedScenario stripes over unequal links: what comes out has one delay.
func TestEqualisedScenario(t *testing.T) {
	r := scenario{
		links:   []scenarioLink{{delay: constant(20 * ms), jitter: ms}, {delay: constant(70 * ms), jitter: 2 * ms}},
		every:   100 * time.Microsecond,
		packets: 50_000,
		flows:   3,
		hold:    true,
		target:  72 * ms,
	}.run(t)
	if r.Late > 0 || r.LostCertain+r.LostDeadline > 0 {
		t.Errorf("late or lost packets on clean links")
	}
	for _, d := range r.total {
		if d < 72*ms-dueSlackOf() || d > 72*ms {
			t.Fatalf("a packet took %v, want the target of 72 ms", d)
		}
	}
}
