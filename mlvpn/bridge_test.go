package mlvpn

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/bridge"
	"github.com/multilink-vpn/multilink/internal/flow"
	"github.com/multilink-vpn/multilink/tun"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

var broadcast = [6]byte{255, 255, 255, 255, 255, 255}

func mac(i int) [6]byte { return [6]byte{2, 0, 0, 0, byte(i >> 8), byte(i)} }

// etherFrame is an Ethernet frame that carries no IP.
func etherFrame(to, from [6]byte) []byte {
	return tuntest.Ethernet(to, from, tuntest.EtherTypeARP, make([]byte, 46))
}

// deliveries counts the frames that have come out: at the server's device, and at each
// client's.
func (m *many) deliveries() (n []int) {
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	devices := []*tuntest.Device{m.dev}
	for _, s := range m.sites {
		devices = append(devices, s.dev)
	}
	buf := make([]byte, 2048)
	for _, dev := range devices {
		got := 0
		for {
			if _, ok := dev.TryReceive(buf); !ok {
				break
			}
			got++
		}
		n = append(n, got)
	}
	return n
}

// TestBridge joins the networks of a server and three clients to one Ethernet: station 9
// is at the server, stations 1 to 3 at the clients.
func TestBridge(t *testing.T) { synctest.Test(t, testBridge) }

func testBridge(t *testing.T) {
	m := newMany(t, 3, false, true)
	defer m.close()
	time.Sleep(time.Second)
	// say has a station send a frame; where is its port.
	say := func(where int, to, from [6]byte) {
		dev := m.dev
		if where > 0 {
			dev = m.sites[where-1].dev
		}
		if err := dev.Inject(etherFrame(to, from)); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		what       string
		where      int
		to, from   [6]byte
		deliveries []int
	}{
		{"a broadcast of the server's", 0, broadcast, mac(9), []int{0, 1, 1, 1}},
		{"for a station that nobody has seen", 0, mac(1), mac(9), []int{0, 1, 1, 1}},
		{"a broadcast of a client's reaches the server and the others, and does not come back", 1, broadcast, mac(1), []int{1, 0, 1, 1}},
		{"for a station that was seen", 0, mac(1), mac(9), []int{0, 1, 0, 0}},
		{"from client to server", 2, mac(9), mac(2), []int{1, 0, 0, 0}},
		{"from client to client, not by the server's device", 2, mac(1), mac(2), []int{0, 1, 0, 0}},
		{"the answer", 1, mac(2), mac(1), []int{0, 0, 1, 0}},
		{"from a client for a station that nobody has seen", 3, mac(77), mac(3), []int{1, 1, 1, 0}},
		{"for a station that is where the frame comes from", 3, mac(3), mac(33), []int{0, 0, 0, 0}},
		{"from a group address, which is not learnt", 3, broadcast, broadcast, []int{1, 1, 1, 0}},
		{"a broadcast, all the same", 0, broadcast, mac(9), []int{0, 1, 1, 1}},
		{"spanning tree, which is for the server's bridge alone", 1, [6]byte{1, 0x80, 0xc2}, mac(1), []int{1, 0, 0, 0}},
		{"a client poses as the server's station", 3, broadcast, mac(9), []int{1, 1, 1, 0}},
		{"in vain", 2, mac(9), mac(2), []int{1, 0, 0, 0}},
		{"a station moves", 3, broadcast, mac(2), []int{1, 1, 1, 0}},
		{"and is found", 1, mac(2), mac(1), []int{0, 0, 0, 1}},
	} {
		say(step.where, step.to, step.from)
		if got := m.deliveries(); !slices.Equal(got, step.deliveries) {
			t.Errorf("%s: frames at the server and the clients %v, want %v", step.what, got, step.deliveries)
		}
	}

	t.Log("# a station that is silent for long is forgotten")
	time.Sleep(5 * time.Minute)
	say(0, mac(1), mac(9))
	if got := m.deliveries(); !slices.Equal(got, []int{0, 1, 1, 1}) {
		t.Errorf("deliveries %v", got)
	}

	t.Log("# so are those of a client that is gone")
	say(3, broadcast, mac(3))
	m.deliveries()
	if err := m.server.RemoveClient(m.sites[2].key.Public()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	say(0, mac(3), mac(9))
	if got := m.deliveries(); !slices.Equal(got, []int{0, 1, 1, 0}) {
		t.Errorf("deliveries %v", got)
	}
	if at, ok := m.server.e.bridge.lookup(time.Now(), mac(3)); ok {
		t.Errorf("a station of a client that is gone is at %v", at)
	}
}

// TestFloodLimit has one client broadcast without end: the others get no more than the
// limit, and what is for a station that was seen passes.
func TestFloodLimit(t *testing.T) {
	b, s := newBridging(), session("loud")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b.fromDevice(now, mac(9), mac(1))
	other := session("other")
	b.fromClient(now, other, etherFrame(mac(9), mac(2)), 2048)
	var spare []relayed
	relayedIn := func(n int, to [6]byte, step time.Duration) (relayed, toDevice int) {
		for range n {
			now = now.Add(step)
			if b.fromClient(now, s, etherFrame(to, mac(1)), 2048) {
				toDevice++
			}
			spare = b.take(spare)
			relayed += len(spare)
		}
		return relayed, toDevice
	}
	if n, toDevice := relayedIn(5000, broadcast, 0); n != floodBurst || toDevice != 5000 {
		t.Errorf("at once: %d of 5000 relayed, %d to the device", n, toDevice)
	}
	if n, _ := relayedIn(5000, broadcast, 500*time.Microsecond); n < 2400 || n > 2600 {
		t.Errorf("in 2.5 s: %d of 5000 relayed, want 2500", n)
	}
	if n, toDevice := relayedIn(5000, mac(2), 0); n != 5000 || toDevice != 0 {
		t.Errorf("for one station: %d relayed, %d to the device", n, toDevice)
	}
}

// TestRelayBounds leaves relayed frames waiting: their number is bounded, and so is their
// size.
func TestRelayBounds(t *testing.T) {
	b, s := newBridging(), session("a")
	now := time.Now()
	for i := range 2 * maxRelayed {
		b.fromClient(now, s, etherFrame(mac(1000+i), mac(1)), 2048)
	}
	got := b.take(nil)
	if len(got) != maxRelayed || b.dropped != maxRelayed {
		t.Errorf("%d frames wait, %d dropped", len(got), b.dropped)
	}
	if f := got[0]; f.from != s || fmt.Sprint(bridge.Addr(f.buf[tun.Headroom:][:6])) != fmt.Sprint(mac(1000)) {
		t.Errorf("the frame is not what it was: %v", f)
	}
	if b.fromClient(now, s, append(etherFrame(mac(1), mac(2)), make([]byte, 3000)...), 2048); len(b.take(nil)) != 0 {
		t.Error("a frame that is larger than a buffer was kept")
	}
	for range 2 * maxRelayed {
		b.give(make([]byte, 2048))
	}
	if len(b.free) != maxRelayed {
		t.Errorf("%d buffers are kept", len(b.free))
	}
}

// A client whose prefixes are known cannot send IP from other addresses in Ethernet frames
// either.
func TestBridgeChecksIP(t *testing.T) {
	v, err := NewServer(ServerConfig{Config: Config{Device: tuntest.New(tuntest.Config{TAP: true}), Key: crypto.GeneratePrivateKey(), Ethernet: true}, Clients: []Peer{peer("alice", "10.0.1.0/24")}})
	if err != nil {
		t.Fatal(err)
	}
	settle(v)
	a := v.clients.byName["alice"]
	path := &pathState{epoch: &epoch{session: v.session(a.peer.Key, a, nil)}}
	for src, want := range map[string]bool{"10.0.1.1": true, "10.0.2.1": false} {
		info := flow.Info{Version: 4, SrcMAC: mac(1), DstMAC: mac(2), Src: prefixes(src + "/32")[0].Addr(), Dst: serverHost}
		if got := v.e.receiver.admit(path, &info, true, 60); got != want {
			t.Errorf("%s: %v", src, got)
		}
	}
	if v.e.receiver.admit(path, &flow.Info{SrcMAC: mac(1)}, true, minFrame-1) {
		t.Error("half a header is a frame")
	}
}

// TestRelayAllocations passes frames from client to client without allocating.
func TestRelayAllocations(t *testing.T) {
	b, s, other := newBridging(), session("a"), session("b")
	now := time.Now()
	b.fromClient(now, other, etherFrame(broadcast, mac(2)), 2048)
	f := etherFrame(mac(2), mac(1))
	var spare []relayed
	step := func() {
		b.fromClient(now, s, f, 2048)
		spare = b.take(spare)
		for _, x := range spare {
			b.give(x.buf[:2048])
		}
	}
	step()
	step()
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
