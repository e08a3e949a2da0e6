package mlvpn

import (
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/legacy"
	"github.com/multilink-vpn/multilink/tun"
)

// TestLegacyAllocs checks that MLVPN's protocol costs no allocation per packet either.
func TestLegacyAllocs(t *testing.T) {
	for _, clear := range []bool{false, true} {
		cdev, sdev := newFloodDevice(true, 1400, 4), newFloodDevice(false, 1400, 4)
		client := legacyEnd(t, cdev, false, clear)
		server := legacyEnd(t, sdev, true, clear)
		ln, sock := newMemPair(1 << 16)
		if _, err := client.AddLink(ln, LinkConfig{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		if err := server.AddSocket(sock, LinkConfig{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		s, r := &client.e.sender, &server.e.receiver
		for _, call := range r.box.take(nil) {
			call(time.Now())
		}
		in := client.e.newDeviceBatch(64, make(chan *deviceBatch, 1))
		back := make(chan *deviceBatch, 1)
		in.free = back
		out := server.e.newPortBatch(server.links[0], nil)
		out.port = server.links[0]
		receive := func() {
			out.n, _ = sock.in.take(out.bufs, out.sizes, out.from)
			r.process(time.Now(), out)
			r.deliver()
			r.tell = r.tell[:0]
		}
		send := func() {
			now := time.Now()
			s.now = now
			cdev.left = 64
			in.n, _ = cdev.Read(in.bufs[:64], in.sizes, tun.Headroom)
			s.ingest(in)
			<-back
			for _, ses := range s.work {
				ses.tx.working = false
				s.transmit(now, ses)
				s.reschedule(now, ses)
			}
			s.work = s.work[:0]
			s.flush(now)
		}
		now := time.Now()
		s.now = now
		p := client.epoch.tx.paths[0]
		s.probe(now, p) // AUTH
		s.flush(now)
		receive()
		p.legacy().link.Received(now, legacy.AuthOK)
		s.noteState(now, p, "")

		const runs = 60
		for range 2 {
			for range runs + 1 { // pools reach their size
				send()
			}
			for sock.in.len() > 0 {
				receive()
			}
		}
		before, _ := sdev.counts()
		if n := testing.AllocsPerRun(runs, send); n > 0 {
			t.Errorf("clear %v: sending allocates %g times for 64 packets", clear, n)
		}
		if n := testing.AllocsPerRun(runs, receive); n > 0 {
			t.Errorf("clear %v: receiving allocates %g times for 64 packets", clear, n)
		}
		if after, _ := sdev.counts(); after-before != (runs+1)*64 {
			t.Errorf("clear %v: %d of %d packets arrived", clear, after-before, (runs+1)*64)
		}
	}
}

func legacyEnd(t *testing.T, dev tun.Device, server, clear bool) *Legacy {
	t.Helper()
	l, err := NewLegacy(LegacyConfig{Config: Config{Device: dev}, Password: "x", Server: server, ClearData: clear, AcceptRisk: true})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
