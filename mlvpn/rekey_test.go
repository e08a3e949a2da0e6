package mlvpn

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link/linksim"
)

// datagrams returns what happened to the datagrams of a world's lines, both directions
// together.
func (w *world) datagrams() (s linksim.Stats) {
	for _, l := range w.lines {
		for _, x := range []linksim.Stats{l.Stats(), l.ReceiveStats()} {
			s.Sent += x.Sent
			s.Delivered += x.Delivered
			s.Lost += x.Lost
		}
	}
	return s
}

// received returns how many datagrams both ends have opened.
func (w *world) received() (n uint64) {
	for _, st := range []Stats{w.client.Stats(), w.server.Stats()} {
		for _, l := range st.Sessions[0].Links {
			n += l.ReceivedPackets
		}
	}
	return n
}

func everySecond(c *ClientConfig) { c.RekeyAfter = time.Second }

// With keys that are replaced every second no datagram is lost to it, on lines that lose
// 5 %: every one that a line delivers is opened.
func TestRekeyUnderLoad(t *testing.T) {
	for _, loss := range []float64{0, 0.05} {
		t.Run(fmt.Sprintf("loss %v", loss), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testRekeyUnderLoad(t, loss) })
		})
	}
}

func testRekeyUnderLoad(t *testing.T, loss float64) {
	profile := func(rate float64, delay time.Duration) linksim.Profile {
		p := mbit(rate, delay)
		p.Loss, p.Jitter = loss, delay/4
		return p
	}
	up, up2 := profile(10, 10*time.Millisecond), profile(5, 40*time.Millisecond)
	w := newWorld(t, worldConfig{seed: 3, client: everySecond, lines: []line{
		{up: up, down: up, cfg: LinkConfig{Bandwidth: 1_100_000, Pace: true, PeerBandwidth: 1_100_000}},
		{up: up2, down: up2, cfg: LinkConfig{Bandwidth: 550_000, Pace: true, PeerBandwidth: 550_000}},
	}})
	defer w.close()
	w.sleep(2 * time.Second)
	minute := time.Minute
	if testing.Short() {
		minute = 10 * time.Second
	}
	w.feedBoth(minute)
	w.sleep(2 * time.Second)
	c, s := w.client.Stats(), w.server.Stats()
	if n := uint64(minute / time.Second * 8 / 10); c.Sessions[0].Rekeys < n || s.Sessions[0].Rekeys < n {
		t.Errorf("the keys were replaced %d times by the client and %d by the server, want at least %d", c.Sessions[0].Rekeys, s.Sessions[0].Rekeys, n)
	}
	for who, d := range map[string]Drops{"client": c.Drops, "server": s.Drops} {
		if d.UnknownIndex+d.Unauthentic+d.Malformed+d.Replayed != 0 {
			t.Errorf("the %s dropped %+v", who, d)
		}
	}
	d := w.datagrams()
	// Handshake datagrams and what is on its way at the end are the difference.
	if got := w.received(); d.Delivered-got > 20 || got > d.Delivered {
		t.Errorf("the lines delivered %d datagrams, %d were opened", d.Delivered, got)
	}
	for who, st := range map[string]SessionStats{"client": c.Sessions[0], "server": s.Sessions[0]} {
		if lost := st.Reorder.LostCertain + st.Reorder.LostDeadline + st.Reorder.LostWindow + st.Reorder.LostFlush; loss == 0 && lost != 0 {
			t.Errorf("the %s gave up %d packets: %+v", who, lost, st.Reorder)
		}
		if st.NoLink != 0 {
			t.Errorf("the %s dropped %d packets for want of a link", who, st.NoLink)
		}
	}
	for who, l := range map[string][]uint64{"client": receive(t, w.cdev), "server": receive(t, w.sdev)} {
		if loss == 0 && !slices.IsSorted(l) {
			t.Errorf("the %s delivered packets out of order", who)
		}
	}
	if got := w.log.take(); slices.Contains(got, "session down") || slices.Contains(got, "link down a") {
		t.Errorf("events %q", got)
	}
}

// feedBoth sends 8 Mbit/s each way for d.
func (w *world) feedBoth(d time.Duration) {
	end := time.Now().Add(d)
	for n := uint64(0); time.Now().Before(end); n++ {
		w.inject(w.cdev, udp(true, 1, n, 1000))
		w.inject(w.sdev, udp(false, 1, n, 1000))
		time.Sleep(time.Millisecond)
	}
}

func TestRekeyTimes(t *testing.T) { synctest.Test(t, testRekeyTimes) }

// Keys are replaced when they are two minutes old, within a tenth, and what they were
// before is forgotten ten seconds later.
func testRekeyTimes(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 2})
	defer v.close()
	v.sleep(time.Second)
	start := time.Now().Add(-time.Second)
	for i := uint64(1); i <= 3; i++ {
		for v.client.Stats().Sessions[0].Rekeys < i {
			v.sleep(100 * time.Millisecond)
		}
		age := time.Since(start)
		if age < 108*time.Second || age > 133*time.Second {
			t.Errorf("keys %d were replaced at the age of %v", i, age)
		}
		start = time.Now()
		if n := v.server.Stats().Sessions[0].Rekeys; n != i {
			t.Errorf("the server has replaced its keys %d times, the client %d", n, i)
		}
		v.works("after")
		if c, s := v.keysOf(); c != 2 || s != 2 {
			t.Errorf("right after: %d and %d sets of keys, want the new and the old one", c, s)
		}
		v.sleep(9 * time.Second)
		if c, s := v.keysOf(); c != 2 || s != 2 {
			t.Errorf("after 9 s: %d and %d sets of keys, want 2 each", c, s)
		}
		v.sleep(2 * time.Second)
		if c, s := v.keysOf(); c != 1 || s != 1 {
			t.Errorf("after 11 s: %d and %d sets of keys, want 1 each", c, s)
		}
	}
	for _, e := range []*engine{v.client.e, v.server.e} {
		if n := len(e.sender.indices); n != minLinks {
			t.Errorf("%d receiver indices are in use, want %d", n, minLinks)
		}
	}
}

// keysOf returns how many sets of keys client and server accept datagrams under.
func (v *victim) keysOf() (client, server int) {
	v.t.Helper()
	count := func(e *engine) (n int) {
		if err := e.callReceiver(func() { n = len(e.receiver.paths) / minLinks }); err != nil {
			v.t.Fatal(err)
		}
		return n
	}
	return count(v.client.e), count(v.server.e)
}

func TestRekeyByPackets(t *testing.T) { synctest.Test(t, testRekeyByPackets) }

// A key that has protected as many packets as it may is replaced, the server's on request.
func testRekeyByPackets(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	const limit = 1000
	for i, e := range []*engine{v.client.e, v.server.e} {
		if err := e.call(func(time.Time) { e.rekeyPackets = limit }); err != nil {
			t.Fatal(err)
		}
		dev, client := v.cdev, true
		if e == v.server.e {
			dev, client = v.sdev, false
		}
		rekeys := func() uint64 { return v.client.Stats().Sessions[0].Rekeys }
		for range limit * 8 / 10 {
			v.inject(dev, udp(client, 3, 1, 100))
		}
		v.sleep(2 * time.Second)
		if n := rekeys(); n != uint64(i) {
			t.Errorf("after %d packets: %d rekeyings, want %d", limit*8/10, n, i)
		}
		for range limit * 3 / 10 {
			v.inject(dev, udp(client, 3, 1, 100))
		}
		v.sleep(2 * time.Second)
		if n := rekeys(); n != uint64(i+1) {
			t.Errorf("after %d packets: %d rekeyings, want %d", limit*11/10, n, i+1)
		}
		v.works("after")
		if err := e.call(func(time.Time) { e.rekeyPackets = rekeyPackets }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeysTooOld(t *testing.T) { synctest.Test(t, testKeysTooOld) }

// Keys that cannot be replaced are not used when they are three minutes old, by either
// end, and a new handshake takes the session's place.
func testKeysTooOld(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 2})
	defer v.close()
	v.sleep(time.Second)
	v.log.take()
	big := func(up bool, data []byte) bool { return !isHandshake(data) && len(data) > 100 && len(data) < 400 }
	v.tap.filter(big) // no REKEY arrives
	v.sleep(175 * time.Second)
	v.works("at the age of 176 s")
	if got := v.log.take(); len(got) != 0 {
		t.Errorf("events %q", got)
	}
	v.sleep(6 * time.Second)
	if got := v.log.take(); !slices.Contains(got, "session down") {
		t.Errorf("at the age of 182 s: events %q, want the session down", got)
	}
	v.works("with another session")
	if n := v.server.Stats().Sessions[0].Rekeys; n != 0 {
		t.Errorf("the keys were replaced %d times", n)
	}
}

func isHandshake(data []byte) bool {
	_, _, ok := wire.HandshakeType(data)
	return ok
}

func TestReplacedKeysWhileDown(t *testing.T) { synctest.Test(t, testReplacedKeysWhileDown) }

// Replaced keys are forgotten in time when no link works, too, and that is waited for by
// a timer.
func testReplacedKeysWhileDown(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	v.rekeyNow()
	v.sleep(time.Second)
	v.tap.filter(func(bool, []byte) bool { return true })
	v.sleep(20 * time.Second)
	if c, s := v.keysOf(); c != 1 || s != 1 {
		t.Errorf("%d and %d sets of keys, want 1 each", c, s)
	}
	if st := v.client.Stats(); st.Sessions[0].Rekeys != 1 {
		t.Errorf("%d rekeyings: this tests nothing", st.Sessions[0].Rekeys)
	}
}

func TestSuspend(t *testing.T) { synctest.Test(t, testSuspend) }

// The age of keys goes on while the host sleeps. After a short sleep they are replaced if
// they are due, after a long one they are not used any more.
func testSuspend(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 2})
	defer v.close()
	var slept atomic.Int64
	if err := v.client.e.call(func(time.Time) { v.client.e.suspended = func() time.Duration { return time.Duration(slept.Load()) } }); err != nil {
		t.Fatal(err)
	}
	v.sleep(10 * time.Second)
	v.log.take()
	slept.Add(int64(time.Minute))
	v.sleep(3 * time.Second)
	if n := v.client.Stats().Sessions[0].Rekeys; n != 0 {
		t.Errorf("%d new keys after a minute", n)
	}
	slept.Add(int64(time.Minute))
	v.sleep(3 * time.Second)
	if n := v.client.Stats().Sessions[0].Rekeys; n != 1 {
		t.Errorf("%d new keys after two minutes, want one", n)
	}
	if got := v.log.take(); len(got) != 0 {
		t.Errorf("events %q", got)
	}
	before := v.client.Stats().Sessions[0].Rekeys
	slept.Add(int64(4 * time.Minute))
	v.sleep(3 * time.Second)
	v.works("within 3 s of a sleep of 4 minutes")
	if got := v.log.take(); !slices.Contains(got, "session down") || !slices.Contains(got, "session up") {
		t.Errorf("events %q, want another session", got)
	}
	if n := v.client.Stats().Sessions[0].Rekeys; n != before {
		t.Errorf("%d rekeyings, had %d: keys of four minutes were used", n, before)
	}
}

// longTests reports whether the long forms of tests are asked for.
func longTests() bool { return os.Getenv("MULTILINK_LONG") == "1" }

func TestRekeyInterleavings(t *testing.T) {
	rounds := 30
	if longTests() {
		rounds = 1000
	}
	for seed := range rounds {
		synctest.Test(t, func(t *testing.T) { testRekeyInterleaving(t, uint64(seed)) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Whatever REKEYs and first datagrams under new keys are lost, repeated or late, there
// is always a session that works, and at most ten seconds of old keys.
func testRekeyInterleaving(t *testing.T, seed uint64) {
	lossy := mbit(20, 20*time.Millisecond)
	lossy.Loss, lossy.Duplicate, lossy.Jitter = float64(seed%4)*0.1, 0.1, 30*time.Millisecond
	w := newWorld(t, worldConfig{seed: seed, client: everySecond, lines: []line{{up: lossy, down: lossy}, {up: lossy, down: lossy}}})
	defer w.close()
	for range 30 {
		w.sleep(time.Second)
		if st := w.client.Stats().Sessions; len(st) > 0 && st[0].Up {
			break
		}
	}
	for round := range 4 {
		ok := false
		for try := uint64(0); try < 50 && !ok; try++ { // 5 s
			w.inject(w.cdev, udp(true, 7, try, 300))
			w.inject(w.sdev, udp(false, 7, try, 300))
			w.sleep(100 * time.Millisecond)
			ok = len(receive(t, w.sdev)) > 0 && len(receive(t, w.cdev)) > 0
		}
		if !ok {
			t.Errorf("round %d: nothing passed for 5 s", round)
		}
		w.sleep(2 * time.Second)
	}
	for who, d := range map[string]Drops{"client": w.client.Stats().Drops, "server": w.server.Stats().Drops} {
		if d.Unauthentic != 0 {
			t.Errorf("the %s has dropped %+v", who, d)
		}
	}
}
