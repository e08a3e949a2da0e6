package mlvpn

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/link/linksim"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

func twoLines() []line {
	return []line{
		{up: mbit(20, 10*time.Millisecond), down: mbit(20, 10*time.Millisecond)},
		{up: mbit(20, 10*time.Millisecond), down: mbit(20, 10*time.Millisecond)},
	}
}

// timeouts sets the timeout of all lines, at both ends.
func timeouts(lines []line, d time.Duration) []line {
	for i := range lines {
		lines[i].cfg.Timeout, lines[i].server.Timeout = d, d
	}
	return lines
}

// exchange sends n packets each way, spread over d, and checks that they all arrive,
// in order.
func (w *world) exchange(n int, d time.Duration) {
	w.t.Helper()
	receive(w.t, w.sdev)
	receive(w.t, w.cdev)
	for i := range uint64(n) {
		w.inject(w.cdev, udp(true, 1, i, 1000))
		w.inject(w.sdev, udp(false, 1, i, 1000))
		time.Sleep(d / time.Duration(n))
	}
	w.sleep(300 * time.Millisecond)
	for _, end := range []struct {
		name string
		dev  *tuntest.Device
	}{{"server", w.sdev}, {"client", w.cdev}} {
		got := receive(w.t, end.dev)
		if len(got) != n || !slices.IsSorted(got) {
			w.t.Fatalf("the %s got %d of %d packets, sorted: %v", end.name, len(got), n, slices.IsSorted(got))
		}
	}
}

func (w *world) inject(dev *tuntest.Device, pkt []byte) {
	w.t.Helper()
	if err := dev.Inject(pkt); err != nil {
		w.t.Fatal(err)
	}
}

// wantEvents checks the client's events since the last call, in any order.
func (w *world) wantEvents(want ...string) {
	w.t.Helper()
	got := w.log.take()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Fatalf("events %q, want %q", got, want)
	}
}

func TestConnect(t *testing.T) { synctest.Test(t, testConnect) }

func testConnect(t *testing.T) {
	w := newWorld(t, worldConfig{lines: twoLines()})
	defer w.close()
	w.sleep(200 * time.Millisecond)
	w.wantEvents("link up a", "link up b", "session up")
	w.exchange(100, time.Second)
	st := w.client.Stats()
	if len(st.Sessions) != 1 || !st.Sessions[0].Up || len(st.Sessions[0].Links) != 2 {
		t.Fatalf("stats %+v", st)
	}
	for _, l := range st.Sessions[0].Links {
		if l.State != LinkIsUp || l.RTT < 20*time.Millisecond || l.RTT > 22*time.Millisecond {
			t.Errorf("link %s: state %v, RTT %v", l.Name, l.State, l.RTT)
		}
		if l.SentPackets != 50 {
			t.Errorf("link %s carried %d of 100 packets", l.Name, l.SentPackets)
		}
	}
}

func TestPassword(t *testing.T) { synctest.Test(t, testPassword) }

func testPassword(t *testing.T) {
	w := newWorld(t, worldConfig{
		lines:  twoLines(),
		client: func(c *ClientConfig) { c.Key, c.Server, c.PasswordKey = zeroKey, zeroPublic, passwordKey() },
		server: func(c *ServerConfig) { c.Key, c.Clients, c.PasswordKey = zeroKey, nil, passwordKey() },
	})
	defer w.close()
	w.sleep(200 * time.Millisecond)
	w.exchange(100, time.Second)
}

// TestBlackhole is the promise of the README: a line that dies without a word costs a
// pause, and it is used again within 2 s of its return.
func TestBlackhole(t *testing.T) { synctest.Test(t, testBlackhole) }

func testBlackhole(t *testing.T) {
	w := newWorld(t, worldConfig{lines: timeouts(twoLines(), 2*time.Second)})
	defer w.close()
	w.sleep(time.Second)
	w.log.take()
	w.lines[0].Cut()
	w.sleep(1200 * time.Millisecond)
	w.wantEvents("link degraded a")
	t.Log("# a suspect line carries nothing while another works")
	w.exchange(50, 500*time.Millisecond)
	w.sleep(time.Second)
	w.wantEvents("link down a")
	w.exchange(50, 500*time.Millisecond)
	w.lines[0].Restore()
	w.sleep(time.Second)
	w.wantEvents("link up a")
	before := w.client.Stats().Sessions[0].Links[0].SentPackets
	w.exchange(100, time.Second)
	if after := w.client.Stats().Sessions[0].Links[0].SentPackets; after-before < 49 || after-before > 51 {
		t.Errorf("the line that has come back carried %d of 100 packets", after-before)
	}
}

func TestAllLinesDown(t *testing.T) { synctest.Test(t, testAllLinesDown) }

func testAllLinesDown(t *testing.T) {
	w := newWorld(t, worldConfig{lines: timeouts(twoLines(), 2*time.Second)})
	defer w.close()
	w.sleep(time.Second)
	for _, dark := range []time.Duration{5 * time.Second, 30 * time.Second, 10 * time.Minute} {
		w.log.take()
		w.lines[0].Cut()
		w.lines[1].Cut()
		w.sleep(dark)
		w.inject(w.cdev, udp(true, 1, 99, 1000))
		w.wantEvents("link degraded a", "link degraded b", "link down a", "link down b", "session down")
		w.lines[0].Restore()
		w.lines[1].Restore()
		w.sleep(5 * time.Second)
		// The lines may come back in the old session just before a new one replaces it:
		// then they go down and up once more.
		got := w.log.take()
		if last := got[len(got)-2:]; !slices.Contains(got, "session up") || slices.Contains(got, "session down") ||
			!strings.HasPrefix(last[0], "link up") && last[0] != "session up" || !strings.HasPrefix(last[1], "link up") {
			t.Fatalf("events %q, want both links up and the session up once", got)
		}
		if got := receive(t, w.sdev); len(got) != 0 {
			t.Errorf("packets %v, which were sent while no line worked, arrived late", got)
		}
		w.exchange(50, 500*time.Millisecond)
	}
}

func TestWeights(t *testing.T) { synctest.Test(t, testWeights) }

func testWeights(t *testing.T) {
	lines := []line{
		{up: mbit(50, 10*time.Millisecond), down: mbit(50, 10*time.Millisecond)},
		{up: mbit(12, 10*time.Millisecond), down: mbit(12, 10*time.Millisecond)},
	}
	lines[0].cfg.Bandwidth, lines[1].cfg.Bandwidth = 50e6/8, 12e6/8
	// The server does not know the rates: the client tells it.
	lines[0].cfg.PeerBandwidth, lines[1].cfg.PeerBandwidth = 12e6/8, 50e6/8
	w := newWorld(t, worldConfig{lines: lines})
	defer w.close()
	w.sleep(time.Second)
	w.exchange(2000, 2*time.Second)
	for _, end := range []struct {
		name  string
		stats Stats
		share float64
	}{{"client", w.client.Stats(), 50. / 62}, {"server", w.server.Stats(), 12. / 62}} {
		links := end.stats.Sessions[0].Links
		slices.SortFunc(links, func(a, b LinkStats) int { return int(a.Name[0]) - int(b.Name[0]) })
		share := float64(links[0].SentBytes) / float64(links[0].SentBytes+links[1].SentBytes)
		if d := share/end.share - 1; d > 0.01 || d < -0.01 {
			t.Errorf("%s: the first line carried %.1f %%, want %.1f %%", end.name, 100*share, 100*end.share)
		}
	}
}

func TestFallback(t *testing.T) { synctest.Test(t, testFallback) }

func testFallback(t *testing.T) {
	lines := timeouts(twoLines(), 2*time.Second)
	lines[1].cfg.Fallback = true
	w := newWorld(t, worldConfig{lines: lines})
	defer w.close()
	w.sleep(time.Second)
	w.exchange(100, time.Second)
	sent := func(s Stats, name string) uint64 {
		for _, l := range s.Sessions[0].Links {
			if l.Name == name {
				return l.SentPackets
			}
		}
		t.Fatalf("no link %q", name)
		return 0
	}
	if n, m := sent(w.client.Stats(), "b"), sent(w.server.Stats(), "b"); n != 0 || m != 0 {
		t.Errorf("the fallback line carried %d and %d packets beside one that worked", n, m)
	}
	w.lines[0].Cut()
	w.sleep(3 * time.Second)
	w.exchange(100, time.Second)
	if n := sent(w.client.Stats(), "b"); n != 100 {
		t.Errorf("the fallback line carried %d of 100 packets", n)
	}
	w.lines[0].Restore()
	w.sleep(2 * time.Second)
	w.exchange(100, time.Second)
	if n := sent(w.client.Stats(), "b"); n != 100 {
		t.Errorf("the fallback line carried %d packets after the first came back", n-100)
	}
}

func TestTolerance(t *testing.T) { synctest.Test(t, testTolerance) }

func testTolerance(t *testing.T) {
	lines := twoLines()
	lines[0].up.Loss = 0.3
	lines[0].cfg.LossTolerance = 0.1
	lines[1].cfg.LatencyTolerance = 100 * time.Millisecond
	w := newWorld(t, worldConfig{lines: lines, seed: 7})
	defer w.close()
	w.sleep(time.Second)
	for i := range uint64(200) {
		w.inject(w.cdev, udp(true, 1, i, 1000))
		time.Sleep(10 * time.Millisecond)
	}
	w.sleep(time.Second)
	if got := w.log.take(); !slices.Contains(got, "link degraded a") {
		t.Fatalf("no report of the lossy line: %q", got)
	}
	t.Log("# what the lossy line would lose goes by the other one")
	w.exchange(100, time.Second)
	t.Log("# both are poor: both are used")
	slow := lines[1].up
	slow.Delay = 200 * time.Millisecond
	w.lines[1].SetProfile(slow)
	w.sleep(5 * time.Second)
	if got := w.log.take(); !slices.Contains(got, "link degraded b") {
		t.Fatalf("no report of the slow line: %q", got)
	}
	for _, l := range w.client.Stats().Sessions[0].Links {
		if l.State != LinkIsDegraded {
			t.Errorf("link %s is %v", l.Name, l.State)
		}
	}
}

func TestClientRestart(t *testing.T) { synctest.Test(t, testClientRestart) }

func testClientRestart(t *testing.T) {
	w := newWorld(t, worldConfig{lines: twoLines()})
	defer w.close()
	w.sleep(time.Second)
	w.exchange(100, time.Second)
	for _, graceful := range []bool{true, false} {
		if !graceful {
			t.Log("# killed: nobody says goodbye")
			for _, l := range w.lines {
				l.Cut()
			}
		}
		w.stopClient()
		w.sleep(100 * time.Millisecond)
		w.restartClient()
		w.sleep(time.Second)
		if n := len(w.server.Stats().Sessions); n != 1 {
			t.Fatalf("the server has %d sessions", n)
		}
		w.exchange(100, time.Second)
	}
}

func TestServerRestart(t *testing.T) { synctest.Test(t, testServerRestart) }

func testServerRestart(t *testing.T) {
	w := newWorld(t, worldConfig{lines: timeouts(twoLines(), 2*time.Second)})
	defer w.close()
	w.sleep(time.Second)
	for _, graceful := range []bool{true, false} {
		w.exchange(100, time.Second)
		w.log.take()
		if !graceful {
			t.Log("# killed: nobody says goodbye")
			for _, l := range w.lines {
				l.Cut()
			}
		}
		w.stopServer()
		w.sleep(3 * time.Second)
		if got := w.log.take(); !slices.Contains(got, "session down") {
			t.Fatalf("the client did not notice: %q", got)
		}
		for _, l := range w.lines {
			l.Restore()
		}
		w.restartServer()
		w.sleep(5 * time.Second)
	}
	w.exchange(100, time.Second)
}

func TestRebind(t *testing.T) { synctest.Test(t, testRebind) }

func testRebind(t *testing.T) {
	w := newWorld(t, worldConfig{lines: timeouts(twoLines(), 2*time.Second)})
	defer w.close()
	w.sleep(time.Second)
	for i := range 20 {
		addr := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.77"), uint16(6000+i))
		if err := w.lines[i%2].Rebind(addr); err != nil {
			t.Fatal(err)
		}
		w.sleep(500 * time.Millisecond)
		w.exchange(10, 100*time.Millisecond)
	}
}

func TestLinksComeAndGo(t *testing.T) { synctest.Test(t, testLinksComeAndGo) }

func testLinksComeAndGo(t *testing.T) {
	w := newWorld(t, worldConfig{lines: twoLines()})
	defer w.close()
	w.sleep(time.Second)
	w.wantEvents("link up a", "link up b", "session up")
	t.Log("# a third line, while traffic flows")
	w.addLine(2, twoLines()[0])
	w.exchange(300, time.Second)
	w.wantEvents("link up c")
	t.Log("# the first two leave")
	for _, id := range w.ids[:2] {
		if err := w.client.RemoveLink(id); err != nil {
			t.Fatal(err)
		}
	}
	w.sleep(50 * time.Millisecond) // what is on the lines is lost with them
	w.exchange(100, time.Second)
	w.wantEvents("link down a", "link down b")
	t.Log("# more lines than a handshake provides for: a new one makes room")
	for i := 3; i < 3+minLinks; i++ {
		w.addLine(i, twoLines()[0])
		w.sleep(200 * time.Millisecond)
	}
	w.sleep(time.Second)
	up := 0
	for _, l := range w.client.Stats().Sessions[0].Links {
		if l.State == LinkIsUp {
			up++
		}
	}
	if up != 1+minLinks {
		t.Fatalf("%d of %d links are up", up, 1+minLinks)
	}
	w.exchange(400, time.Second)
	if err := w.client.RemoveLink(w.ids[0]); err == nil {
		t.Error("a link was removed twice")
	}
}

func TestReplaceLink(t *testing.T) { synctest.Test(t, testReplaceLink) }

func testReplaceLink(t *testing.T) {
	w := newWorld(t, worldConfig{lines: twoLines()[:1]})
	defer w.close()
	w.sleep(time.Second)
	w.log.take()
	l, err := w.net.Dial(netip.MustParseAddrPort("192.0.2.9:9000"), netip.MustParseAddrPort("203.0.113.1:5000"),
		mbit(20, 10*time.Millisecond), mbit(20, 10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.client.ReplaceLink(w.ids[0], l); err != nil {
		t.Fatal(err)
	}
	w.sleep(100 * time.Millisecond)
	w.wantEvents()
	w.exchange(100, time.Second)
	if got := w.server.Stats().Sessions[0].Links[0].Remote.Remote.String(); got != "192.0.2.9:9000" {
		t.Errorf("the server sends to %s", got)
	}
}

func TestPacing(t *testing.T) { synctest.Test(t, testPacing) }

// testPacing overloads a line whose rate is known: what is too much must wait and be
// dropped in the tunnel, not on the line.
func testPacing(t *testing.T) {
	lines := twoLines()[:1]
	const onLine = 1432 + linksim.OverheadUDP4 // bytes of a full datagram
	lines[0].cfg.Bandwidth = 20_000_000 / 8 * 95 / 100
	lines[0].cfg.Pace = true
	w := newWorld(t, worldConfig{lines: lines})
	defer w.close()
	w.sleep(time.Second)
	const seconds = 5
	for range seconds * 1000 {
		for range 3 { // 33 Mbit/s
			w.inject(w.cdev, udp(true, 1, 1, 1400))
		}
		time.Sleep(time.Millisecond)
	}
	st := w.client.Stats().Sessions[0]
	if dropped := w.lines[0].Stats().QueueDropped; dropped != 0 {
		t.Errorf("the line dropped %d packets", dropped)
	}
	if st.QueueFull+st.Delayed == 0 {
		t.Error("nothing was dropped in the tunnel's queue, although more was sent than the line carries")
	}
	got := float64(len(receive(t, w.sdev))*1400) / seconds
	if want := 20e6 / 8 * 0.95 * 1400 / onLine; got < 0.98*want || got > 1.03*want {
		t.Errorf("%.0f bytes per second arrived, want %.0f", got, want)
	}
}

func TestSlowLineKeepsOrder(t *testing.T) { synctest.Test(t, testSlowLineKeepsOrder) }

// testSlowLineKeepsOrder stripes two flows over lines whose delays differ by 50 ms, one
// of which loses packets: each flow arrives in order, and a lost packet costs nobody
// more than the wait for the slower line.
func testSlowLineKeepsOrder(t *testing.T) {
	lines := twoLines()
	lines[0].up.Delay = 60 * time.Millisecond
	lines[1].up.Loss = 0.02
	w := newWorld(t, worldConfig{lines: lines, seed: 3})
	defer w.close()
	w.sleep(time.Second)
	const n = 2000
	for i := range uint64(n) {
		w.inject(w.cdev, udp(true, uint16(1+i%2), i/2, 1000))
		time.Sleep(time.Millisecond)
	}
	w.sleep(time.Second)
	buf := make([]byte, 2048)
	next := map[uint16]uint64{}
	arrived := 0
	for {
		size, ok := w.sdev.TryReceive(buf)
		if !ok {
			break
		}
		flow, x := number(t, buf[:size])
		if x < next[flow] {
			t.Fatalf("flow %d: packet %d after %d", flow, x, next[flow]-1)
		}
		next[flow] = x + 1
		arrived++
	}
	if lost := w.lines[1].Stats().Lost; arrived < n || lost == 0 {
		t.Errorf("%d of %d packets arrived, the line lost %d", arrived, n, lost)
	}
	// The slower line is 50 ms behind, and a repair takes a round trip more.
	if st := w.server.Stats().Sessions[0].Reorder; st.MaxHold > 150*time.Millisecond {
		t.Errorf("a packet was held for %v", st.MaxHold)
	}
}
