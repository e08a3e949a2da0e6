package mlvpn

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ofFlow matches the packets of one flow of udp.
func ofFlow(flow uint16) func([]byte) bool {
	return func(pkt []byte) bool { return len(pkt) > 21 && uint16(pkt[20])<<8|uint16(pkt[21]) == flow }
}

func noFlow([]byte) bool { return false }

// sentBy returns how many packets the client has sent by each link.
func (w *world) sentBy() map[string]uint64 {
	sent := make(map[string]uint64)
	for _, l := range w.client.Stats().Sessions[0].Links {
		sent[l.Name] = l.SentPackets
	}
	return sent
}

// feed lets n packets of a flow enter at the client.
func (w *world) feed(flow uint16, n, size int) {
	w.t.Helper()
	for i := range n {
		w.inject(w.cdev, udp(true, flow, uint64(i), size))
		w.sleep(time.Millisecond)
	}
	w.sleep(200 * time.Millisecond)
}

func ruled(t *testing.T, lines []line, rules ...Rule) *world {
	t.Helper()
	w := newWorld(t, worldConfig{lines: lines, client: func(c *ClientConfig) { c.Rules = rules }})
	w.sleep(time.Second)
	return w
}

func TestRules(t *testing.T) { synctest.Test(t, testRules) }

// testRules checks that the first rule that matches, and whose link works, decides.
func testRules(t *testing.T) {
	w := ruled(t, timeouts(twoLines(), time.Second),
		Rule{Match: noFlow, Action: Drop},
		Rule{Match: ofFlow(7), Link: "nowhere"},
		Rule{Match: ofFlow(7), Link: "b"},
		Rule{Match: ofFlow(7), Action: Drop},
		Rule{Match: ofFlow(8), Action: Drop},
		Rule{Match: ofFlow(8), Link: "a"},
	)
	defer w.close()
	step := func(what string, want map[string]uint64, dropped uint64) {
		t.Helper()
		sent := w.sentBy()
		for name, n := range want {
			if sent[name] != n {
				t.Errorf("%s: %d packets by %s so far, want %d", what, sent[name], name, n)
			}
		}
		if n := w.client.Stats().Sessions[0].Ruled; n != dropped {
			t.Errorf("%s: %d packets dropped, want %d", what, n, dropped)
		}
	}
	w.feed(7, 50, 500)
	step("both links work", map[string]uint64{"a": 0, "b": 50}, 0)
	w.feed(8, 10, 500)
	step("dropped", map[string]uint64{"a": 0, "b": 50}, 10)
	w.lines[1].Cut()
	w.sleep(3 * time.Second)
	w.feed(7, 20, 500)
	step("the link is dead, the next rule drops", map[string]uint64{"a": 0, "b": 50}, 30)
	if err := w.client.SetRules([]Rule{{Match: ofFlow(7), Link: "b"}}); err != nil {
		t.Fatal(err)
	}
	w.feed(7, 20, 500)
	step("the link is dead, no rule is left", map[string]uint64{"a": 20, "b": 50}, 30)
	w.lines[1].Restore()
	w.sleep(3 * time.Second)
	w.feed(7, 20, 500)
	step("the link is back", map[string]uint64{"a": 20, "b": 70}, 30)
	if err := w.client.SetRules(nil); err != nil {
		t.Fatal(err)
	}
	w.feed(7, 100, 500)
	if sent := w.sentBy(); sent["a"] < 60 || sent["b"] < 90 {
		t.Errorf("no rules: %v, want both links to be in use", sent)
	}
}

func TestRuleOfServer(t *testing.T) { synctest.Test(t, testRuleOfServer) }

// testRuleOfServer checks that a server can name a link as the client does, and keep
// packets to a fallback.
func testRuleOfServer(t *testing.T) {
	lines := twoLines()
	lines[0].cfg.Name, lines[1].cfg.Name = "dsl", "lte"
	lines[1].cfg.Fallback = true
	w := newWorld(t, worldConfig{lines: lines, server: func(c *ServerConfig) {
		c.Rules = []Rule{{Match: ofFlow(7), Link: "lte"}}
	}})
	defer w.close()
	w.sleep(time.Second)
	for i := range 20 {
		w.inject(w.sdev, udp(false, 7, uint64(i), 500))
		w.inject(w.sdev, udp(false, 8, uint64(i), 500))
		w.sleep(time.Millisecond)
	}
	for _, l := range w.server.Stats().Sessions[0].Links {
		if l.SentPackets != 20 {
			t.Errorf("%d packets by %s, want 20", l.SentPackets, l.PeerName)
		}
	}
}

func TestRuleDoesNotBlock(t *testing.T) { synctest.Test(t, testRuleDoesNotBlock) }

// testRuleDoesNotBlock checks that packets that wait for a slow link hold up nobody
// else's.
func testRuleDoesNotBlock(t *testing.T) {
	lines := twoLines()
	lines[1].cfg.Bandwidth, lines[1].cfg.Pace = 10_000, true
	w := ruled(t, lines, Rule{Match: ofFlow(7), Link: "b"}, Rule{Match: ofFlow(8), Link: "a"})
	defer w.close()
	for i := range 100 {
		w.inject(w.cdev, udp(true, 7, uint64(i), 1000))
	}
	w.sleep(100 * time.Millisecond)
	before := w.sentBy()
	w.feed(8, 50, 1000)
	after := w.sentBy()
	if after["a"]-before["a"] != 50 || after["b"] > 30 {
		t.Errorf("the free link carried %d packets, want 50; the slow one %d of 100 in 0.35 s", after["a"]-before["a"], after["b"])
	}
	if n := w.client.Stats().Sessions[0].Queued; n < 70 {
		t.Errorf("%d packets wait for the slow link, want more than 70", n)
	}
}

func TestRuleActions(t *testing.T) { synctest.Test(t, testRuleActions) }

func testRuleActions(t *testing.T) {
	lines := []line{
		{up: mbit(50, 40*time.Millisecond), down: mbit(50, 40*time.Millisecond)},
		{up: mbit(50, 10*time.Millisecond), down: mbit(50, 10*time.Millisecond)},
	}
	w := ruled(t, lines,
		Rule{Match: ofFlow(7), Action: Duplicate},
		Rule{Match: ofFlow(8), Action: LowestLatency},
		Rule{Match: ofFlow(9), Action: Unordered},
		Rule{Match: ofFlow(6), Link: "a", Action: Unordered | LowestLatency},
	)
	defer w.close()
	w.feed(7, 50, 500)
	if sent := w.sentBy(); sent["a"] != 50 || sent["b"] != 50 {
		t.Errorf("duplicated packets: %v, want 50 by each link", sent)
	}
	if n := len(receive(t, w.sdev)); n != 50 {
		t.Errorf("%d of 50 duplicated packets delivered", n)
	}
	w.feed(8, 50, 500)
	if sent := w.sentBy(); sent["a"] != 50 || sent["b"] != 100 {
		t.Errorf("lowest latency: %v, want all 50 by b", sent)
	}
	receive(t, w.sdev)
	w.feed(9, 150, 500)
	ordered := true
	last := uint64(0)
	numbers := receive(t, w.sdev)
	for _, n := range numbers {
		ordered = ordered && n >= last
		last = n
	}
	if ordered || len(numbers) != 150 {
		t.Errorf("%d of 150 packets, in order: %v; want them as they arrive by two unequal links", len(numbers), ordered)
	}
	before := w.sentBy()
	w.feed(6, 50, 500)
	if n := w.sentBy()["a"] - before["a"]; n != 50 {
		t.Errorf("%d of 50 packets by the link that the rule names", n)
	}
}

func TestRuleErrors(t *testing.T) {
	for _, c := range []struct {
		rule Rule
		want string
	}{
		{Rule{}, "does nothing"},
		{Rule{Match: noFlow}, "does nothing"},
		{Rule{Action: Drop, Link: "a"}, "something else"},
		{Rule{Action: Drop | Duplicate}, "something else"},
		{Rule{Action: 64}, "unknown action"},
	} {
		err := validateRules([]Rule{{Link: "a"}, c.rule})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "rule 2") {
			t.Errorf("%+v: error %v, want one that names rule 2 and says %q", c.rule, err, c.want)
		}
	}
}

// TestRuleAllocs checks that rules cost no allocation per packet.
func TestRuleAllocs(t *testing.T) {
	d := newDriver(newBench(t, 2, 1400, 4))
	if err := d.client.SetRules([]Rule{{Match: noFlow, Action: Drop}, {Match: ofFlow(1001), Link: "b"}, {Match: ofFlow(1002), Action: Duplicate}}); err != nil {
		t.Fatal(err)
	}
	const runs = 60
	for range 6 {
		for range runs + 1 { // pools reach their size
			d.send(64)
		}
		d.receiveAll()
	}
	if n := testing.AllocsPerRun(runs, func() { d.send(64) }); n > 0 {
		t.Errorf("%g allocations for 64 packets", n)
	}
}
