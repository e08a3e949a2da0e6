package linksim

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

func TestLinkTiming(t *testing.T) { synctest.Test(t, testLinkTiming) }
func testLinkTiming(t *testing.T) {
	a, b := Pair(Profile{Rate: 125_000, Delay: 300 * time.Millisecond, Queue: time.Second}, Profile{}, 1)
	defer a.Close()
	got := collectLink(t, b)
	var pkts [][]byte
	for n := range 100 {
		pkts = append(pkts, numbered(n, 1250))
	}
	send(t, a, pkts...)
	time.Sleep(2 * time.Second)
	b.Close()
	all := <-got
	if len(all) != 100 {
		t.Fatalf("%d datagrams arrived", len(all))
	}
	for i, r := range all {
		want := 300*time.Millisecond + time.Duration(i+1)*10*time.Millisecond
		if r.n != i || r.size != 1250 || r.at != want {
			t.Errorf("datagram %d: %+v, want at %v", i, r, want)
		}
	}
	if s, want := a.Stats(), (Stats{Sent: 100, Bytes: 125_000, Delivered: 100, DeliveredBytes: 125_000}); s != want {
		t.Errorf("stats %+v, want %+v", s, want)
	}
}

func TestLinkDirectionsAreSeparate(t *testing.T) { synctest.Test(t, testLinkDirectionsAreSeparate) }
func testLinkDirectionsAreSeparate(t *testing.T) {
	ab := Profile{Rate: 125_000, Delay: 100 * time.Millisecond, Queue: time.Second, MTU: 1300}
	ba := Profile{Rate: 1_250_000, Delay: 5 * time.Millisecond, MTU: 1400}
	a, b := Pair(ab, ba, 1)
	atA, atB := collectLink(t, a), collectLink(t, b)
	if a.MTU() != 1300 || b.MTU() != 1400 || a.Profile() != ab || a.ReceiveProfile() != ba || b.Profile() != ba {
		t.Errorf("MTU %d and %d, profiles %+v and %+v", a.MTU(), b.MTU(), a.Profile(), b.Profile())
	}
	for n := range 5 {
		send(t, a, numbered(n, 1250))
		send(t, b, numbered(n, 1250))
	}
	time.Sleep(time.Second)
	a.Close()
	b.Close()
	for i, r := range <-atA {
		if want := time.Duration(5+i+1) * time.Millisecond; r.at != want {
			t.Errorf("at a: datagram %d at %v, want %v", i, r.at, want)
		}
	}
	for i, r := range <-atB {
		if want := time.Duration(100+10*(i+1)) * time.Millisecond; r.at != want {
			t.Errorf("at b: datagram %d at %v, want %v", i, r.at, want)
		}
	}
	if a.Stats().Delivered != 5 || b.Stats().Delivered != 5 || a.ReceiveStats() != b.Stats() {
		t.Errorf("stats %+v and %+v", a.Stats(), b.Stats())
	}
}

func TestLinkProfileChangesWhileItRuns(t *testing.T) {
	synctest.Test(t, testLinkProfileChangesWhileItRuns)
}
func testLinkProfileChangesWhileItRuns(t *testing.T) {
	a, b := Pair(Profile{Delay: 10 * time.Millisecond}, Profile{}, 1)
	got := collectLink(t, b)
	send(t, a, numbered(0, 1000))
	time.Sleep(100 * time.Millisecond)
	a.SetProfile(Profile{Delay: 50 * time.Millisecond, Rate: 100_000})
	send(t, a, numbered(1, 1000))
	time.Sleep(100 * time.Millisecond)
	b.SetReceiveProfile(Profile{Delay: 20 * time.Millisecond, MTU: 500})
	if a.MTU() != 500 {
		t.Errorf("MTU %d after the change", a.MTU())
	}
	if n, err := a.Send([][]byte{numbered(9, 1000)}); n != 0 || err != link.ErrTooLarge {
		t.Errorf("Send over the new MTU = %d, %v", n, err)
	}
	send(t, a, numbered(2, 500))
	time.Sleep(time.Second)
	a.Close()
	b.Close()
	want := []time.Duration{10 * time.Millisecond, 160 * time.Millisecond, 220 * time.Millisecond}
	all := <-got
	if len(all) != len(want) {
		t.Fatalf("%d datagrams arrived", len(all))
	}
	for i, r := range all {
		if r.n != i || r.at != want[i] {
			t.Errorf("datagram %d: %+v, want at %v", i, r, want[i])
		}
	}
}

func TestLinkBlackhole(t *testing.T) { synctest.Test(t, testLinkBlackhole) }
func testLinkBlackhole(t *testing.T) {
	p := Profile{Delay: 10 * time.Millisecond}
	a, b := Pair(p, p, 1)
	atA, atB := collectLink(t, a), collectLink(t, b)
	for n := range 30 {
		switch n {
		case 10:
			a.Cut()
		case 20:
			b.Restore()
		}
		if down := n >= 10 && n < 20; a.Profile().Down != down || b.Profile().Down != down {
			t.Errorf("datagram %d: down %v and %v", n, a.Profile().Down, b.Profile().Down)
		}
		send(t, a, numbered(n, 100))
		send(t, b, numbered(n, 100))
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Second)
	a.Close()
	b.Close()
	for end, all := range map[string][]received{"a": <-atA, "b": <-atB} {
		if len(all) != 20 || all[9].n != 9 || all[10].n != 20 {
			t.Errorf("at %s: %+v", end, all)
		}
	}
	if s := a.Stats(); s.Swallowed != 10 || s.Delivered != 20 || s.Sent != 30 {
		t.Errorf("stats %+v", s)
	}
}

func TestLinkDropsTail(t *testing.T) { synctest.Test(t, testLinkDropsTail) }
func testLinkDropsTail(t *testing.T) {
	a, b := Pair(Profile{Rate: 125_000}, Profile{}, 1)
	got := collectLink(t, b)
	for n := range 20 {
		send(t, a, numbered(n, 1250)) // 10 ms each, and a queue of 100 ms
	}
	time.Sleep(time.Second)
	a.Close()
	b.Close()
	if all := <-got; len(all) != 11 || all[10].n != 10 {
		t.Errorf("arrived: %+v", all)
	}
	if s := a.Stats(); s.QueueDropped != 9 || s.Delivered != 11 {
		t.Errorf("stats %+v", s)
	}
}

func TestLinkJitterKeepsOrder(t *testing.T) { synctest.Test(t, testLinkJitterKeepsOrder) }
func testLinkJitterKeepsOrder(t *testing.T) {
	a, b := Pair(Profile{Delay: 10 * time.Millisecond, Jitter: 20 * time.Millisecond}, Profile{}, 1)
	got := collectLink(t, b)
	for n := range 2000 {
		send(t, a, numbered(n, 100))
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Second)
	a.Close()
	b.Close()
	all := <-got
	if len(all) != 2000 || !slices.IsSortedFunc(all, func(x, y received) int { return x.n - y.n }) {
		t.Errorf("%d arrived, or not in order", len(all))
	}
}

func TestLinkReordersAndDuplicates(t *testing.T) { synctest.Test(t, testLinkReordersAndDuplicates) }
func testLinkReordersAndDuplicates(t *testing.T) {
	const total = 2000
	a, b := Pair(Profile{Delay: 10 * time.Millisecond, Reorder: 0.1, ReorderBy: 3500 * time.Microsecond, Duplicate: 0.1}, Profile{}, 1)
	got := collectLink(t, b)
	for n := range total {
		send(t, a, numbered(n, 100))
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Second)
	a.Close()
	b.Close()
	all := <-got
	seen := make([]int, total)
	late, overtaken, newest := 0, 0, -1
	for _, r := range all {
		seen[r.n]++
		sent := time.Duration(r.n) * time.Millisecond
		switch r.at - sent {
		case 10 * time.Millisecond:
		case 13500 * time.Microsecond:
			late++
			if newest > r.n {
				overtaken++
			}
		default:
			t.Fatalf("datagram %d took %v", r.n, r.at-sent)
		}
		newest = max(newest, r.n)
	}
	twice := 0
	for n, c := range seen {
		switch c {
		case 1:
		case 2:
			twice++
		default:
			t.Fatalf("datagram %d arrived %d times", n, c)
		}
	}
	near(t, "duplicated", twice, total, 0.1, 1)
	if overtaken < late*9/10 {
		t.Errorf("%d were late, %d of them overtaken", late, overtaken)
	}
	near(t, "late", late, len(all), 0.1, 1)
	if s := a.Stats(); int(s.Duplicated) != twice || int(s.Delivered) != len(all) || s.Sent+s.Duplicated != s.Delivered {
		t.Errorf("stats %+v, %d arrived", s, len(all))
	}
}

// A datagram that overtakes must not wait for the one it overtakes.
func TestLinkWakesForTheFirst(t *testing.T) { synctest.Test(t, testLinkWakesForTheFirst) }
func testLinkWakesForTheFirst(t *testing.T) {
	late := Profile{Delay: 10 * time.Millisecond, Reorder: 1, ReorderBy: time.Second}
	a, b := Pair(late, Profile{}, 1)
	got := collectLink(t, b)
	send(t, a, numbered(0, 100))
	late.Reorder = 0
	a.SetProfile(late)
	send(t, a, numbered(1, 100))
	time.Sleep(2 * time.Second)
	a.Close()
	b.Close()
	all := <-got
	if len(all) != 2 || all[0].n != 1 || all[0].at != 10*time.Millisecond || all[1].at != 1010*time.Millisecond {
		t.Errorf("arrived: %+v", all)
	}
}

func TestLinkStatsAddUp(t *testing.T) { synctest.Test(t, testLinkStatsAddUp) }
func testLinkStatsAddUp(t *testing.T) {
	p := Profile{Rate: 1_000_000, Delay: 30 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.02,
		BurstEnter: 0.01, BurstLeave: 0.3, Duplicate: 0.02, Reorder: 0.02, ReorderBy: 4 * time.Millisecond, Queue: 20 * time.Millisecond}
	a, b := Pair(p, p, 11)
	got := collectLink(t, b)
	for n := range 20_000 {
		if n == 5000 {
			a.Cut()
		}
		if n == 6000 {
			a.Restore()
		}
		send(t, a, numbered(n, 100+n%1000))
		time.Sleep(500 * time.Microsecond)
	}
	time.Sleep(time.Second)
	a.Close()
	b.Close()
	all := <-got
	s := a.Stats()
	if s.Sent+s.Duplicated != s.Delivered+s.Lost+s.QueueDropped+s.Swallowed+s.ReceiveDropped {
		t.Errorf("does not add up: %+v", s)
	}
	if s.Swallowed != 1000 || s.Lost == 0 || s.QueueDropped == 0 || s.Duplicated == 0 || int(s.Delivered) != len(all) {
		t.Errorf("%d arrived: %+v", len(all), s)
	}
	var size uint64
	for _, r := range all {
		size += uint64(r.size)
	}
	if size != s.DeliveredBytes || s.Bytes <= size {
		t.Errorf("%d bytes arrived: %+v", size, s)
	}
}

// With both directions under load at once and one at a time, the same datagrams must
// be lost.
func TestLinkLossDoesNotDependOnInterleaving(t *testing.T) {
	synctest.Test(t, testLinkLossDoesNotDependOnInterleaving)
}
func testLinkLossDoesNotDependOnInterleaving(t *testing.T) {
	const total = 3000
	p := Profile{Loss: 0.1, BurstEnter: 0.02, BurstLeave: 0.2}
	run := func(together bool) (atA, atB []int) {
		a, b := Pair(p, p, 5)
		ra, rb := collectLink(t, a), collectLink(t, b)
		var wg sync.WaitGroup
		for _, l := range []*Link{a, b} {
			wg.Go(func() {
				for n := range total {
					send(t, l, numbered(n, 50))
				}
			})
			if !together {
				wg.Wait()
			}
		}
		wg.Wait()
		synctest.Wait()
		a.Close()
		b.Close()
		for _, r := range <-ra {
			atA = append(atA, r.n)
		}
		for _, r := range <-rb {
			atB = append(atB, r.n)
		}
		return atA, atB
	}
	a1, b1 := run(false)
	a2, b2 := run(true)
	if !slices.Equal(a1, a2) || !slices.Equal(b1, b2) {
		t.Errorf("arrived one at a time: %d and %d, together: %d and %d", len(a1), len(b1), len(a2), len(b2))
	}
	if slices.Equal(a1, b1) || len(a1) == total || len(a1) == 0 {
		t.Errorf("both directions lose the same of %d: %d and %d arrive", total, len(a1), len(b1))
	}
}
