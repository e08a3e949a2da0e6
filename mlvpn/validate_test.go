package mlvpn

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
)

func TestRacedAhead(t *testing.T) {
	for _, relays := range []bool{false, true} {
		t.Run(fmt.Sprintf("relays %v", relays), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testRacedAhead(t, relays) })
		})
	}
}

// Somebody on the way who is faster than the network sends a copy of each of the client's
// datagrams ahead of it, from an address of its own, and may even pass on what the server
// sends there. The server's packets for the client keep going to the client.
func testRacedAhead(t *testing.T, relays bool) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	foreign := link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
	copied, forwarded, seen := 0, 0, 0
	race := func() {
		// What the client has sent is held, and arrives from the wrong address first.
		for _, r := range v.tap.sent(nil)[seen:] {
			seen++
			if !r.up {
				continue
			}
			v.tap.toServer(0, foreign, r.data)
			copied += len(r.data)
			synctest.Wait()
			v.tap.toServer(0, v.tap.link(0).addr, r.data)
		}
		synctest.Wait()
		v.tap.mu.Lock()
		stray := v.tap.stray[forwarded:]
		forwarded = len(v.tap.stray)
		v.tap.mu.Unlock()
		for _, r := range stray {
			if relays {
				v.tap.toClient(0, r.data)
			}
		}
		synctest.Wait()
	}
	seen = v.tap.count()
	v.tap.filter(func(up bool, _ []byte) bool { return up })
	packets := 1000
	if longTests() {
		packets = 10000
	}
	got := 0
	for n := range uint64(packets) {
		v.inject(v.sdev, udp(false, 1, n, 500))
		v.inject(v.cdev, udp(true, 1, n, 500))
		v.sleep(5 * time.Millisecond)
		race()
		got += len(receive(t, v.cdev))
	}
	v.tap.mu.Lock()
	strays, bytes := v.tap.strays, v.tap.strayBytes
	data := slices.IndexFunc(v.tap.stray, func(r recorded) bool { return kindOf(r.data) == "DATA" })
	v.tap.mu.Unlock()
	if strays == 0 {
		t.Error("the server never looked for the client at the other address")
	}
	if bytes > 3*copied {
		t.Errorf("%d bytes were sent to an address that %d came from", bytes, copied)
	}
	// A relay proves its address at times, for less than a round trip.
	if !relays && data >= 0 {
		t.Error("a packet was sent to an address that was not proved")
	}
	if lost := packets - got; lost > packets/100 {
		t.Errorf("%d of %d packets did not reach the client", lost, packets)
	}
	v.tap.filter(nil)
	v.sleep(time.Second)
	if got := v.server.Stats().Sessions[0].Links[0].Remote; got != v.tap.link(0).addr {
		t.Errorf("the link is at %v", got)
	}
	v.works("after")
}

func TestChallengeFlood(t *testing.T) { synctest.Test(t, testChallengeFlood) }

// A client with a valid key that asks for more than it may get is answered at a limited
// rate, and nothing piles up.
func testChallengeFlood(t *testing.T) {
	v, r := newRogueWorld(t)
	defer v.close()
	n := 20000
	if longTests() {
		n = 1000000
	}
	r.send(0, nil)
	v.sleep(time.Second)
	v.bringUp("mallory")
	before := heap()
	sent := v.tap.count()
	for i := range n {
		plain := wire.AppendProof(nil, wire.PathKindChallenge, wire.Proof{byte(i), byte(i >> 8), byte(i >> 16)})
		plain = wire.AppendPing(plain, wire.Ping{Echo: uint64(i)})
		plain = wire.AppendRekey(plain, &wire.Rekey{Kind: wire.RekeyInit, Epoch: uint32(i + 1), Noise: make([]byte, 96)})
		r.send(0, plain)
		v.pause(i)
	}
	synctest.Wait()
	v.tap.mu.Lock()
	answers := len(v.tap.log) - sent
	v.tap.log, v.tap.stray = v.tap.log[:sent:sent], nil
	v.tap.mu.Unlock()
	if answers > 3*maxControlBurst {
		t.Errorf("%d challenges were answered by %d datagrams at once", n, answers)
	}
	var computed uint64
	if err := v.server.e.call(func(time.Time) { computed = v.server.e.sender.count.rekeys }); err != nil {
		t.Fatal(err)
	}
	if computed != 1 {
		t.Errorf("%d rekeyings were computed, want one: no time has passed", computed)
	}
	if grown := int64(heap()) - int64(before); grown > 1<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	v.works("after")
}

// rebinding lines are those of a client behind NATs.
func rebindingLines(n int, rtt time.Duration) (lines []line) {
	for range n {
		lines = append(lines, line{up: mbit(20, rtt/2), down: mbit(20, rtt/2)})
	}
	return lines
}

func TestRebinding(t *testing.T) {
	for _, lines := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d lines", lines), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testRebinding(t, lines) })
		})
	}
}

// A NAT that gives the first line another address every 5 s costs at most what is sent
// there within two round trips each time.
func testRebinding(t *testing.T, lines int) {
	const rtt = 20 * time.Millisecond
	w := newWorld(t, worldConfig{lines: rebindingLines(lines, rtt), seed: 1})
	defer w.close()
	w.sleep(2 * time.Second)
	w.log.take()
	rebindings := 12
	if longTests() {
		rebindings = 120
	}
	var sent, up, down int
	for i := range rebindings {
		local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(100 + i%100)}), uint16(10000+i))
		if err := w.lines[0].Rebind(local); err != nil {
			t.Fatal(err)
		}
		for range 5000 {
			w.inject(w.cdev, udp(true, 1, 0, 200))
			w.inject(w.sdev, udp(false, 1, 0, 200))
			sent++
			time.Sleep(time.Millisecond)
		}
		up += len(receive(t, w.sdev))
		down += len(receive(t, w.cdev))
	}
	w.sleep(time.Second)
	up += len(receive(t, w.sdev))
	down += len(receive(t, w.cdev))
	if got := w.log.take(); slices.Contains(got, "session down") {
		t.Errorf("events %q", got)
	}
	t.Logf("of %d packets each way, %d were lost upwards and %d downwards, in %d rebindings", sent, sent-up, sent-down, rebindings)
	if up != sent {
		t.Errorf("%d packets to the server were lost", sent-up)
	}
	perRebinding := 2*int(rtt/time.Millisecond) + 2 // packets of two round trips, and of the clock's steps
	if lost := sent - down; lost > rebindings*perRebinding {
		t.Errorf("%d packets to the client were lost in %d rebindings, want at most %d each", lost, rebindings, perRebinding)
	}
	if lost := float64(2*sent-up-down) / float64(2*sent); lines > 1 && lost > 0.005 {
		t.Errorf("%.2f %% of the packets were lost", 100*lost)
	}
}
