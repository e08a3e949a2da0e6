package reorder

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestRepair(t *testing.T) {
	x := newBench(t, Config{})
	x.b.SetRepair(40 * ms)
	x.want("1 and 3 are missing", x.push(0, 0, 2, 4), "0")
	x.advance(10 * ms)
	x.b.Seen(x.now, 1, 5, 70*ms) // stamp of 4
	x.want("both are lost, which opens time for repair", x.pop(), "")
	x.wantDeadline(40 * ms)
	x.advance(30 * ms)
	x.want("1 is repaired", x.repaired(0, 1), "1 2")
	x.wantDeadline(10 * ms)
	x.advance(10*ms - 1)
	x.want("3 is not late yet", x.pop(), "")
	x.advance(1)
	x.want("its time runs from its own loss", x.pop(), "4")
	x.want("too late", x.repaired(0, 3), "3 late")
	x.want("once more", x.repaired(1, 3), "3 duplicate")
	if s := x.b.Stats(); s.Repaired != 1 || s.RepairedLate != 1 || s.LostCertain != 1 || s.Late != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestRepairDeadline(t *testing.T) {
	x := newBench(t, Config{})
	x.b.SetRepair(40 * ms)
	x.push(0, 1)
	x.wantDeadline(210 * ms) // 50 + 10 + 150, as a silent link may be dead
	x.b.SetRepair(30 * ms)
	x.wantDeadline(210 * ms)
	x.b.SetRepair(170 * ms)
	x.wantDeadline(230 * ms)
	x.b.SetRepair(time.Second)
	x.wantDeadline(250 * ms)
	x.b.SetRepair(0)
	x.wantDeadline(60 * ms)
	x.b.Seen(x.now, 1, 2, 70*ms)
	x.want("nothing to wait for without repair", x.pop(), "1")
	x.b.SetRepair(40 * ms)
	x.push(0, 3)
	x.b.SetLink(0, false)
	x.b.SetLink(1, false)
	x.want("no link brings a repair", x.pop(), "3")
}

// TestRepairOneLink has a single link: every gap is certain, and may be repaired.
func TestRepairOneLink(t *testing.T) {
	x := newBench(t, Config{})
	x.b.SetLink(1, false)
	x.b.SetRepair(50 * ms)
	x.want("1 is missing", x.push(0, 0, 2, 3), "0")
	x.wantDeadline(50 * ms)
	x.want("repaired", x.repaired(0, 1), "1 2 3")
}

// TestRepairedTellsNothing sends copies that would prove losses and slow links.
func TestRepairedTellsNothing(t *testing.T) {
	x := newBench(t, Config{})
	x.push(0, 0, 1)
	x.push(0, 3)
	x.want("3 again, on the other link", x.repaired(1, 3), "3 duplicate")
	x.want("is no proof that 2 is lost", x.pop(), "")
	x.wantDeadline(60 * ms)
	x.b.Push(x.now, Packet{Order: 9, Stamp: 10, Link: 1, Delay: 10 * time.Second, Repaired: true}, 9)
	x.b.Flush()
	x.want("all", x.pop(), "3 9")
	x.push(0, 11)
	x.wantDeadline(60 * ms)
	x.b.Flush()
	x.want("all", x.pop(), "11")
	x.repaired(0, 13)
	x.wantDeadline(10 * ms) // no link is slower than one that nobody knows
}

// TestRepairedEqualised repairs a hole before a packet that has to wait for its time.
func TestRepairedEqualised(t *testing.T) {
	x := newEqual(t, Config{})
	x.b.SetRepair(40 * ms)
	x.push(0, 1)
	x.advance(20 * ms)
	x.want("not earlier than what is behind it", x.repaired(0, 0), "")
	x.wantDeadline(30 * ms)
	x.advance(30 * ms)
	x.want("together", x.pop(), "0 1")
	x.want("nothing behind it", x.repaired(0, 2), "2")
}

// TestMoments compares what is remembered with all that was noted.
func TestMoments(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 50 {
		const wait = 100 * ms
		var m moments
		var all []moment
		var now int64
		var stamp uint64
		for range 3000 {
			now += int64(rng.ExpFloat64() * float64(wait) / float64(1+rng.IntN(200)))
			stamp += uint64(rng.IntN(3))
			m.note(now, int64(wait), stamp)
			if n := len(all); stamp > 0 && (n == 0 || all[n-1].stamp < stamp) {
				all = append(all, moment{stamp, now})
			}
			checkMoments(t, &m, all, now, int64(wait))
		}
	}
}

func checkMoments(t *testing.T, m *moments, all []moment, now, wait int64) {
	t.Helper()
	settled := m.certain(now, wait)
	for i := len(all) - 1; i >= 0; i-- {
		exact := all[i]
		if exact.at+wait+wait/momentParts <= now {
			if settled < exact.stamp {
				t.Fatalf("at %d: settled is %d, want %d of %d", now, settled, exact.stamp, exact.at)
			}
			return
		}
		if exact.at+wait > now && settled >= exact.stamp {
			t.Fatalf("at %d: settled is %d, which was passed at %d only", now, settled, exact.at)
		}
		at, ok := m.at(exact.stamp)
		if settled < exact.stamp && (!ok || at < exact.at || at > exact.at+wait/momentParts) {
			t.Fatalf("stamp %d was passed at %d: remembered %d %v", exact.stamp, exact.at, at, ok)
		}
	}
}

// TestRepairScenario repairs every loss: nothing is given up, and nothing waits longer
// than a repair takes.
func TestRepairScenario(t *testing.T) {
	for _, hold := range []bool{false, true} {
		r := scenario{
			links: []scenarioLink{
				{delay: constant(20 * ms), loss: 0.02, jitter: ms},
				{delay: constant(70 * ms), loss: 0.02, jitter: 2 * ms},
			},
			every:   100 * time.Microsecond,
			packets: 100_000,
			flows:   4,
			hold:    hold,
			target:  75 * ms,
			repair:  42 * ms,
		}.run(t)
		if r.lost < 1000 || r.Late > 0 || int(r.Repaired) != r.lost || r.LostCertain+r.LostDeadline > 0 {
			t.Errorf("%d lost, stats %+v", r.lost, r.Stats)
		}
		if r.MaxHold > 55*ms+42*ms {
			t.Errorf("held for %v", r.MaxHold)
		}
	}
}
