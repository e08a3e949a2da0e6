package mlvpn

import (
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/scheduler"
)

// TestLimitations compares with the whole history.
func TestLimitations(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var l limitations
	now := time.Unix(5000, 0)
	type span struct {
		by   limit
		from time.Time
	}
	var all []span
	for range 500 {
		by := limit(rng.IntN(int(numLimits)))
		l.note(now, by)
		all = append(all, span{by, now})
		now = now.Add(time.Duration(rng.Int64N(int64(100 * time.Millisecond))))
		if rng.IntN(4) > 0 {
			continue
		}
		var total [numLimits]time.Duration
		var recent [numLimits]float64
		for i, x := range all {
			to := now
			if i+1 < len(all) {
				to = all[i+1].from
			}
			total[x.by] += to.Sub(x.from)
			age := func(at time.Time) float64 { return math.Exp(-now.Sub(at).Seconds() / 10) }
			recent[x.by] += 10 * (age(to) - age(x.from))
		}
		gotTotal, gotRecent := l.stats(now)
		if want := export(&total); gotTotal != want {
			t.Fatalf("in all %+v, want %+v", gotTotal, want)
		}
		for by, want := range [...]struct {
			got  time.Duration
			want float64
		}{
			{gotRecent.Down, recent[limitDown]}, {gotRecent.Application, recent[limitApplication]},
			{gotRecent.Pacing, recent[limitPacing]}, {gotRecent.Link, recent[limitLink]},
			{gotRecent.Reordering, recent[limitReordering]},
		} {
			if math.Abs(want.got.Seconds()-want.want) > 1e-6 {
				t.Fatalf("limit %d: %v lately, want %v s", by, want.got, want.want)
			}
		}
	}
}

func TestExplain(t *testing.T) { synctest.Test(t, testExplain) }

// testExplain has two unlike lines, one of which loses packets, say what they are.
func testExplain(t *testing.T) {
	lossy := mbit(10, 30*time.Millisecond)
	lossy.Loss = 0.02
	w := newWorld(t, worldConfig{
		lines: []line{
			{up: mbit(20, 10*time.Millisecond), down: mbit(20, 10*time.Millisecond)},
			{up: lossy, down: mbit(10, 30*time.Millisecond)},
		},
		client: func(c *ClientConfig) { c.NewScheduler = nil },
		server: func(c *ServerConfig) { c.NewScheduler = nil },
	})
	defer w.close()
	began := time.Now()
	w.sleep(time.Second)
	st := w.client.Stats().Sessions[0]
	for _, l := range st.Links {
		if l.Found || l.Capacity == 0 {
			t.Errorf("idle: %s carries %d, found %v", l.Name, l.Capacity, l.Found)
		}
	}
	for i := range uint64(6000) {
		for j := range uint64(5) { // 40 Mbit/s
			w.cdev.TryInject(udp(true, uint16(1000+j), 5*i+j, 1000))
		}
		time.Sleep(time.Millisecond)
		if i%50 == 0 {
			receive(t, w.sdev)
		}
	}
	synctest.Wait()
	st = w.client.Stats().Sessions[0]
	a, b := st.Links[0], st.Links[1]
	for _, x := range []struct {
		what          string
		got, low, top float64
	}{
		{"capacity of a in bytes per second", float64(a.Capacity), 0.85 * 2.5e6, 1.15 * 2.5e6},
		{"capacity of b", float64(b.Capacity), 0.85 * 1.25e6, 1.15 * 1.25e6},
		{"pace of a", float64(a.Pace), 0.6 * 2.5e6, 1.3 * 2.5e6},
		{"queue of a in s", a.LinkQueue.Seconds(), 0, 0.05},
		{"delay of a", a.Delay.Seconds(), 0, 0},
		{"delay of b", b.Delay.Seconds(), 0.01, 0.035},
		{"hold", st.Hold.Seconds(), 0.01, 0.06},
		{"repair wait", st.RepairWait.Seconds(), 0.02, 0.15},
		{"loss of b", float64(b.Lost-b.Spurious) / float64(b.Datagrams), 0.01, 0.03},
		{"repaired for what b lost", float64(st.Repaired) / float64(a.Lost+b.Lost), 0.8, 1.05},
		{"time of pacing", st.LimitedLately.Pacing.Seconds(), 3.5, 5},
		{"time in all", (st.Limited.Application + st.Limited.Pacing + st.Limited.Link + st.Limited.Reordering + st.Limited.Down).Seconds(), 6.9, time.Since(began).Seconds()},
	} {
		if x.got < x.low || x.got > x.top {
			t.Errorf("%s: %v, want %v to %v", x.what, x.got, x.low, x.top)
		}
	}
	if !a.Found || !b.Found || !a.Equal || !b.Equal || a.Datagrams <= a.SentPackets {
		t.Errorf("%+v\n%+v", a, b)
	}
	w.sleep(20 * time.Second)
	if l := w.client.Stats().Sessions[0].LimitedLately; l.Application < 8*time.Second {
		t.Errorf("after 20 s of nothing, lately %+v", l)
	}
	for i := range w.lines {
		w.lines[i].Cut()
	}
	w.sleep(20 * time.Second)
	if s := w.client.Stats().Sessions; len(s) == 1 && s[0].LimitedLately.Down < 5*time.Second {
		t.Errorf("20 s after both lines were cut, lately %+v", s[0].LimitedLately)
	}
}

// TestLimit checks what a session says keeps it from sending more.
func TestLimit(t *testing.T) {
	b := newBench(t, 2, 1000, 1)
	s, ses := &b.client.e.sender, b.client.session
	now := time.Now()
	want := func(by limit) {
		t.Helper()
		if got := ses.tx.limit(now); got != by {
			t.Errorf("limit %d, want %d", got, by)
		}
	}
	want(limitApplication)
	p := testPacket(1, 1, scheduler.Bulk, true)
	s.enqueue(now, ses, p)
	ep := ses.tx.current
	for i := range ep.tx.views {
		ep.tx.views[i].Ready = now.Add(time.Millisecond)
	}
	want(limitPacing)
	b.paths[0].tx.out.since = now
	want(limitLink)
	ep.tx.views[1].Ready = now
	want(limitReordering)
	ep.tx.views[1].Usable = false
	want(limitLink)
	ep.tx.up = 0
	want(limitDown)
}

// TestGaveUp checks that a packet that it is too late to send again is counted.
func TestGaveUp(t *testing.T) {
	b := newBench(t, 1, 1000, 1)
	s, ep := &b.client.e.sender, b.client.session.tx.current
	now := time.Now()
	kept := func(first time.Time) *sentPacket { return &sentPacket{buf: s.bufs.get(), first: first} }
	s.lost(now, ep, kept(now.Add(-repairFor-1)))
	if ep.tx.count.late != 1 || ep.tx.repairs.len() != 0 {
		t.Errorf("an old packet: %d given up, %d to repair", ep.tx.count.late, ep.tx.repairs.len())
	}
	s.lost(now, ep, kept(now))
	if ep.tx.count.late != 1 || ep.tx.repairs.len() != 1 {
		t.Errorf("a new packet: %d given up, %d to repair", ep.tx.count.late, ep.tx.repairs.len())
	}
	s.repair(now.Add(repairFor+1), ep)
	if ep.tx.count.late != 2 || ep.tx.repairs.len() != 0 {
		t.Errorf("later: %d given up, %d to repair", ep.tx.count.late, ep.tx.repairs.len())
	}
}
