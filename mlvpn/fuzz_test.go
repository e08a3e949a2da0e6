package mlvpn

import (
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/tun"
)

// Seeds are plaintexts of every kind of frame, alone and together.
func plaintexts() [][]byte {
	info := wire.AppendPathInfo(nil, wire.PathInfo{Tier: 1, Weight: 1 << 33, Name: "dsl"})
	ping := wire.AppendPing(nil, wire.Ping{Echo: 1})
	pong := wire.AppendPong(nil, wire.Pong{Echo: 1, Received: 2, Highest: 3})
	data := wire.AppendData(nil, &wire.Data{Flags: wire.FlagLength | wire.FlagOrdered, Stamp: 1, Payload: udp(true, 1, 1, 400)})
	last := wire.AppendData(nil, &wire.Data{Flags: wire.FlagOrdered, Stamp: 2, Order: 1, Payload: udp(true, 1, 2, 400)})
	join := func(parts ...[]byte) (out []byte) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	return [][]byte{
		nil, info, ping, pong, data, last,
		wire.AppendProof(nil, wire.PathKindChallenge, wire.Proof{1}),
		wire.AppendProof(nil, wire.PathKindResponse, wire.Proof{2}),
		wire.AppendRekey(nil, &wire.Rekey{Kind: wire.RekeyInit, Epoch: 1, Noise: make([]byte, 96)}),
		wire.AppendRekey(nil, &wire.Rekey{Kind: wire.RekeyResponse, Epoch: 1, Noise: make([]byte, 48)}),
		wire.AppendRekey(nil, &wire.Rekey{Kind: wire.RekeyPlease}),
		wire.AppendClose(nil, wire.Close{Reason: 1, RetryMillis: 7}),
		join(info, pong, ping, data, data, last),
		join(data, wire.AppendPad(nil, 9)),
		join(wire.AppendFrame(nil, 0x55, make([]byte, 30)), wire.AppendFrame(nil, wire.TypePath, []byte{9, 9}), last),
		join(data, []byte{1, 0, 9}),
		{0x80}, {0xc0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
	}
}

// FuzzOpener opens arbitrary authentic plaintexts: no panic, and whatever it returns
// lies within the datagram.
func FuzzOpener(f *testing.F) {
	for _, p := range plaintexts() {
		f.Add(p)
	}
	csec, ssec := exchangeSecrets(f, crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey())
	f.Fuzz(func(t *testing.T, plaintext []byte) {
		if len(plaintext) > 4096 {
			return
		}
		seal, err := csec.Sealer(crypto.ChaCha20Poly1305, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		open, err := ssec.Opener(crypto.ChaCha20Poly1305, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		s, o := &ml1Sealer{index: 9, seal: seal}, &ml1Opener{opener: open}
		datagram, err := s.append(nil, plaintext)
		if err != nil {
			t.Fatal(err)
		}
		var in inbound
		if o.open(datagram, &in) != nil {
			return
		}
		for _, p := range in.packets {
			if p.start < tun.Headroom || p.end < p.start || p.end > wire.HeaderSize+len(plaintext) || len(p.Payload) != p.end-p.start {
				t.Fatalf("packet at %d:%d of a plaintext of %d bytes, payload of %d", p.start, p.end, len(plaintext), len(p.Payload))
			}
		}
		if count, _ := o.received(); count != 1 {
			t.Fatalf("%d received", count)
		}
	})
}

// FuzzReceiver takes arbitrary authentic plaintexts through the receiver and what it
// tells the sender through the sender, of a server with a session.
func FuzzReceiver(f *testing.F) {
	for _, p := range plaintexts() {
		f.Add(p, uint16(3))
	}
	f.Fuzz(func(t *testing.T, plaintext []byte, step uint16) {
		if len(plaintext) > 1800 {
			return
		}
		d := newDriver(newBench(t, 1, 400, 1))
		s, r := &d.server.e.sender, &d.server.e.receiver
		now := time.Now()
		turn := func() {
			for _, m := range append(s.box.take(nil), r.tell...) {
				s.handle(now, &m)
			}
			r.tell = r.tell[:0]
			for _, call := range r.box.take(nil) {
				call(now)
			}
			for ses, ok := s.timers.due(now); ok; ses, ok = s.timers.due(now) {
				s.tick(now, ses)
			}
			for _, ses := range s.work {
				ses.tx.working = false
				s.transmit(now, ses)
				s.reschedule(now, ses)
			}
			s.work = s.work[:0]
			s.flush(now)
		}
		d.out.port = d.socks[0]
		for range 4 {
			datagram, err := d.paths[0].tx.seal.(*ml1Sealer).append(nil, plaintext)
			if err != nil {
				t.Fatal(err)
			}
			d.out.n = 1
			d.out.sizes[0] = copy(d.out.bufs[0], datagram)
			d.out.from[0] = link.Addr{}
			r.process(now, d.out)
			for ep, ok := r.timers.due(now); ok; ep, ok = r.timers.due(now) {
				r.release(now, ep)
			}
			r.deliver()
			turn()
			now = now.Add(time.Duration(step) * time.Millisecond)
		}
	})
}

// FuzzProcess throws arbitrary datagrams at a server's receiver, and what passes that at
// its sender. None is authentic, so nothing may come of it.
func FuzzProcess(f *testing.F) {
	f.Add([]byte("garbage"))
	f.Add([]byte{0, 0, 0, 0, 1, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 2, 1, 2})
	f.Add(append([]byte{0, 0, 0, 0, 2, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 96}, make([]byte, 96)...))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		if len(datagram) > 2048 {
			return
		}
		d := newDriver(newBench(t, 1, 400, 1))
		s, r := &d.server.e.sender, &d.server.e.receiver
		now := time.Now()
		d.out.port, d.out.n = d.socks[0], 1
		d.out.sizes[0] = copy(d.out.bufs[0], datagram)
		r.process(now, d.out)
		for i := range r.tell {
			if r.tell[i].kind != msgHandshake {
				t.Fatalf("%x became message %+v", datagram, r.tell[i])
			}
			s.handle(now, &r.tell[i])
		}
		if len(s.sessions) != 1 || len(r.out) != 0 {
			t.Fatalf("%x changed something", datagram)
		}
		drops := r.count.malformed + r.count.unknown + r.count.unauthentic + r.count.replayed + r.count.badMAC + r.count.flooded + s.count.refused
		if drops != 1 {
			t.Fatalf("%x was counted %d times", datagram, drops)
		}
	})
}
