package mlvpn

import (
	"net/netip"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// carried returns how many packets of the device each end has sent on a line.
func (w *world) carried(name string) (client, server uint64) {
	w.t.Helper()
	of := func(s Stats) uint64 {
		for _, l := range s.Sessions[0].Links {
			if l.Name == name {
				return l.SentPackets
			}
		}
		w.t.Fatalf("no link %q", name)
		return 0
	}
	return of(w.client.Stats()), of(w.server.Stats())
}

func TestUpdateLink(t *testing.T) { synctest.Test(t, testUpdateLink) }

// testUpdateLink makes a line a fallback, as at its quota, and an ordinary one again.
// No packet is lost, and the server follows.
func testUpdateLink(t *testing.T) {
	for _, idle := range []LinkConfig{{Fallback: true}, {Cost: 1}} {
		w := newWorld(t, worldConfig{lines: twoLines()})
		w.sleep(time.Second)
		w.exchange(100, time.Second)
		idle.Name = "b"
		if err := w.client.UpdateLink(w.ids[1], idle); err != nil {
			t.Fatal(err)
		}
		w.exchange(10, 100*time.Millisecond) // the news is under way
		c0, s0 := w.carried("b")
		w.exchange(100, time.Second)
		if c, s := w.carried("b"); c != c0 || s != s0 {
			t.Errorf("%+v: the line carried %d and %d packets", idle, c-c0, s-s0)
		}
		if err := w.client.UpdateLink(w.ids[1], LinkConfig{Name: "b"}); err != nil {
			t.Fatal(err)
		}
		w.exchange(10, 100*time.Millisecond)
		w.exchange(100, time.Second)
		if c, s := w.carried("b"); c < c0+20 || s < s0+20 {
			t.Errorf("%+v no more: the line carried %d and %d packets", idle, c-c0, s-s0)
		}
		w.close()
	}
}

func TestUpdateLinkTimeout(t *testing.T) { synctest.Test(t, testUpdateLinkTimeout) }

func testUpdateLinkTimeout(t *testing.T) {
	w := newWorld(t, worldConfig{lines: timeouts(twoLines(), time.Minute)})
	defer w.close()
	w.sleep(time.Second)
	w.log.take()
	if err := w.client.UpdateLink(w.ids[0], LinkConfig{Name: "a", Timeout: time.Second}); err != nil {
		t.Fatal(err)
	}
	w.lines[0].Cut()
	w.sleep(3 * time.Second)
	got := w.log.take()
	if len(got) == 0 || got[len(got)-1] != "link down a" {
		t.Errorf("events %q, want the link to be down after its new timeout", got)
	}
}

func TestUpdateErrors(t *testing.T) { synctest.Test(t, testUpdateErrors) }

func testUpdateErrors(t *testing.T) {
	w := newWorld(t, worldConfig{lines: twoLines()})
	defer w.close()
	for name, err := range map[string]error{
		"rename":          w.client.UpdateLink(w.ids[0], LinkConfig{Name: "other"}),
		"unknown link":    w.client.UpdateLink(99, LinkConfig{Name: "a"}),
		"bad cost":        w.client.UpdateLink(w.ids[0], LinkConfig{Name: "a", Cost: MaxCost + 1}),
		"unknown socket":  w.server.UpdateSocket(nil, LinkConfig{Name: "a"}),
		"removing a none": w.server.RemoveSocket(nil),
		"listener":        w.server.UpdateListener(nil, LinkConfig{Name: "a"}),
		"no listener":     w.server.RemoveListener(nil),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestUpdateSocket(t *testing.T) { synctest.Test(t, testUpdateSocket) }

// testUpdateSocket keeps the server's data off a line, takes the line's socket away, and
// gives the client a new one. The connection does not notice.
func testUpdateSocket(t *testing.T) {
	w := newWorld(t, worldConfig{lines: twoLines()})
	defer w.close()
	w.sleep(time.Second)
	sock := w.socket("b")
	if err := w.server.UpdateSocket(sock, LinkConfig{Name: "b", Fallback: true}); err != nil {
		t.Fatal(err)
	}
	c0, s0 := w.carried("b")
	w.exchange(100, time.Second)
	if c, s := w.carried("b"); c < c0+20 || s != s0 {
		t.Errorf("the line carried %d and %d packets, want the client's only", c-c0, s-s0)
	}

	if err := w.server.RemoveSocket(sock); err != nil {
		t.Fatal(err)
	}
	w.exchange(200, time.Second) // what is under way to the socket arrives
	w.log.take()

	moved, err := w.net.Listen(socketAddr(7))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.server.AddSocket(moved, LinkConfig{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	local := netip.MustParseAddrPort("198.51.100.77:0")
	l, err := w.net.Dial(local, socketAddr(7), w.cfg.lines[1].up, w.cfg.lines[1].down)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.client.ReplaceLink(w.ids[1], l); err != nil {
		t.Fatal(err)
	}
	w.exchange(10, 100*time.Millisecond)
	w.exchange(100, time.Second)
	if c, s := w.carried("b"); c < 20 || s < 20 {
		t.Errorf("the line that came back carried %d and %d packets", c, s)
	}
}

// socket returns the server's socket of a line.
func (w *world) socket(name string) link.Socket {
	w.server.e.life.mu.Lock()
	defer w.server.e.life.mu.Unlock()
	for p := range w.server.e.life.ports {
		if p.cfg.Name == name {
			return p.sock
		}
	}
	w.t.Fatalf("no socket %q", name)
	return nil
}

// LinkConfig.set copies every field but the name.
func TestLinkConfigSet(t *testing.T) {
	var from, to LinkConfig
	v := reflect.ValueOf(&from).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Float64:
			f.SetFloat(0.5)
		case reflect.String:
			f.SetString("x")
		case reflect.Uint8, reflect.Uint64:
			f.SetUint(7)
		case reflect.Int64:
			f.SetInt(7)
		default:
			t.Fatalf("teach this test the type of %s", v.Type().Field(i).Name)
		}
	}
	to.set(&from)
	if to.Name != "" {
		t.Error("the name was copied: other goroutines read it")
	}
	if to.Name = "x"; to != from {
		t.Errorf("got %+v, want %+v", to, from)
	}
}

func TestTraffic(t *testing.T) { synctest.Test(t, testTraffic) }

// testTraffic checks that what lines carried is counted on when the session is another.
func testTraffic(t *testing.T) {
	w := newWorld(t, worldConfig{lines: twoLines()})
	defer w.close()
	w.sleep(time.Second)
	w.exchange(100, time.Second)
	w.stopClient()
	w.sleep(time.Second)
	w.restartClient()
	w.sleep(time.Second)
	w.exchange(100, time.Second)
	w.close()
	client, server := w.client.Traffic(), w.server.Traffic()
	if len(client) != 2 || len(server) != 2 || client[0].Name != "a" || server[1].Name != "b" {
		t.Fatalf("got %+v and %+v", client, server)
	}
	var sent, received uint64
	for _, p := range server {
		sent += p.SentPackets
		received += p.ReceivedBytes
	}
	if sent < 200 || received < 200*1000 {
		t.Errorf("the server counts %d packets sent and %d bytes received, want at least 200 packets of 1000 bytes", sent, received)
	}
}

// TestTier checks that what is told of a link is understood.
func TestTier(t *testing.T) {
	for _, cfg := range []LinkConfig{{}, {Fallback: true}, {Cost: 7}, {Cost: MaxCost, Overflow: true, Fallback: true}, {Overflow: true}} {
		if got := (LinkConfig{}).with(&peerSide{tier: cfg.tier()}); got != cfg {
			t.Errorf("tier %#x: got %+v, want %+v", cfg.tier(), got, cfg)
		}
	}
	if (&LinkConfig{Cost: MaxCost, Overflow: true, Fallback: true}).tier() == 255 {
		t.Error("the highest tier says that the link has ended")
	}
}

func TestUnprovenLinks(t *testing.T) { synctest.Test(t, testUnprovenLinks) }

// testUnprovenLinks opens more connections than a listener keeps of those that nothing
// authentic comes by. The ones of a client stay, and none is kept for long.
func testUnprovenLinks(t *testing.T) {
	w := newWorld(t, worldConfig{lines: twoLines()[:1]})
	defer w.close()
	l := &pipeListener{links: make(chan link.Link), closed: make(chan struct{})}
	if err := w.server.AddListener(l, LinkConfig{Name: "tcp"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.AddLink(l.dial(), LinkConfig{Name: "tcp"}); err != nil {
		t.Fatal(err)
	}
	w.sleep(time.Second)
	open := func() (n int) {
		w.server.e.life.mu.Lock()
		defer w.server.e.life.mu.Unlock()
		for p := range w.server.e.life.ports {
			if p.from != nil {
				n++
			}
		}
		return n
	}
	for range maxUnproven + 20 {
		stranger := l.dial()
		defer stranger.Close()
	}
	w.sleep(100 * time.Millisecond)
	if got := open(); got != maxUnproven+1 {
		t.Errorf("%d connections are kept, want %d and the client's", got, maxUnproven)
	}
	w.exchange(100, time.Second)
	w.sleep(unprovenFor)
	if got := open(); got != 1 {
		t.Errorf("%d connections are kept after %v, want the client's only", got, unprovenFor)
	}
	w.exchange(100, time.Second)
	if c, s := w.carried("tcp"); c < 20 || s < 20 {
		t.Errorf("the client's connection carried %d and %d packets", c, s)
	}

	if err := w.server.UpdateListener(l, LinkConfig{Name: "tcp", Fallback: true}); err != nil {
		t.Fatal(err)
	}
	_, before := w.carried("tcp")
	w.exchange(100, time.Second)
	if _, after := w.carried("tcp"); after != before {
		t.Errorf("the server sent %d packets on a link that it had made a fallback", after-before)
	}
	if err := w.server.RemoveListener(l); err != nil {
		t.Fatal(err)
	}
	w.sleep(100 * time.Millisecond)
	w.exchange(100, time.Second)
	if w.sleep(retireAfter); open() != 0 {
		t.Errorf("%d connections are left of a listener that was removed", open())
	}
}
