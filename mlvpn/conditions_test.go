package mlvpn

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/feedback"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// Each test here defends conditions that internal/mutate breaks and that no scenario
// would miss.

func TestHandshakeLimits(t *testing.T) { synctest.Test(t, testHandshakeLimits) }

// INITs with valid tokens are worked on at the configured rates, by source and in all.
func testHandshakeLimits(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1, server: func(c *ServerConfig) {
		c.Handshakes = HandshakeLimit{PerSource: 1, SourceBurst: 5, Total: 20}
	}})
	defer v.close()
	v.sleep(time.Minute)
	var init []byte
	unknown := crypto.GeneratePrivateKey()
	try := func(sources, each int) uint64 {
		before := v.computed()
		for i := range sources {
			from := link.Addr{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1)}
			for range each {
				init = v.initFor(1, v.noiseFor(unknown, crypto.PresharedKey{}))
				wire.SetToken(init, v.issue(time.Now(), 0, from, init))
				v.tap.toServer(0, from, init)
				synctest.Wait()
			}
		}
		return v.computed() - before
	}
	if n := try(1, 10); n != 5 {
		t.Errorf("%d of 10 INITs from one source were worked on, want 5", n)
	}
	v.sleep(time.Minute)
	if n := try(10, 10); n != 20 {
		t.Errorf("%d of 100 INITs from ten sources were worked on, want 20", n)
	}
	if d := v.server.Stats().Drops; d.Flooded != 5+80 {
		t.Errorf("drops %+v", d)
	}
	v.works("after")
}

func TestAmplification(t *testing.T) { synctest.Test(t, testAmplification) }

// No INIT is answered by more than it is long.
func testAmplification(t *testing.T) {
	rogue := crypto.GeneratePrivateKey()
	v := newVictim(t, victimConfig{lines: 1, server: func(c *ServerConfig) {
		c.Clients = append(c.Clients, Peer{Name: "mallory", Key: rogue.Public()})
	}})
	defer v.close()
	v.sleep(time.Second)
	from := link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
	for links := 1; links <= wire.MaxLinks; links++ {
		i, err := crypto.NewInitiator(crypto.HandshakeConfig{Key: rogue, Peer: v.sc.Key.Public()})
		if err != nil {
			t.Fatal(err)
		}
		hello := wire.Params{AEADs: 1}
		for n := range links {
			hello.Indices = append(hello.Indices, uint32(n+1))
		}
		noise, err := i.Init(nil, hello.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		init := v.initFor(uint64(links), noise)
		wire.SetToken(init, v.issue(time.Now(), 0, from, init))
		v.tap.forget()
		v.tap.toServer(0, from, init)
		synctest.Wait()
		if out, _ := v.tap.forget(); out > len(init) {
			t.Errorf("%d bytes were sent for an INIT of %d", out, len(init))
		}
	}
	// One that asks for a longer answer than itself: its indices are not in the message,
	// but the server cannot know that before it has made the answer.
	if err := v.server.e.call(func(now time.Time) {
		r, err := crypto.NewResponder(v.server.responderConfig())
		if err != nil {
			t.Error(err)
			return
		}
		noise := v.noiseFor(rogue, crypto.PresharedKey{})
		payload, key, err := r.Read(noise)
		if err != nil {
			t.Error(err)
			return
		}
		if _, _, err := v.server.answer(now, &wire.Init{Noise: noise, Size: 50}, r, payload, key); err == nil {
			t.Error("an INIT of 50 bytes was answered by more")
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAttempts(t *testing.T) { synctest.Test(t, testAttempts) }

// A client takes a RESP and a RETRY for the attempt that it is making only, and follows
// no more RETRYs than a server has reason to send.
func testAttempts(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1, hold: func(bool, []byte) bool { return true }})
	defer v.close()
	v.sleep(10 * time.Millisecond)
	init, _, err := wire.ParseInit(v.tap.sent(nil)[0].data)
	if err != nil {
		t.Fatal(err)
	}
	retry := func(attempt uint64) bool {
		v.tap.forget()
		m := wire.Retry{Attempt: attempt, Token: [wire.TokenSize]byte{1}}
		v.tap.toClient(0, m.Append(nil))
		synctest.Wait()
		_, kinds := v.tap.forget()
		return kinds["INIT"] > 0
	}
	if retry(init.Attempt + 1) {
		t.Error("a RETRY for another attempt was followed")
	}
	followed := 0
	for range 50 {
		if retry(init.Attempt) {
			followed++
		}
	}
	if followed != maxTokens {
		t.Errorf("%d RETRYs of 50 were followed, want %d", followed, maxTokens)
	}

	// An authentic RESP whose number was changed.
	r, err := crypto.NewResponder(crypto.HandshakeConfig{Key: v.sc.Key})
	if err != nil {
		t.Fatal(err)
	}
	payload, _, err := r.Read(init.Noise)
	if err != nil {
		t.Fatal(err)
	}
	hello, err := wire.ParseParams(payload)
	if err != nil {
		t.Fatal(err)
	}
	noise, _, err := r.Finish(nil, (&wire.Params{AEADs: 1, Indices: hello.Indices}).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	resp := wire.Response{Attempt: init.Attempt + 1, Noise: noise}
	v.tap.toClient(0, resp.Append(nil))
	synctest.Wait()
	if st := v.client.Stats(); len(st.Sessions) > 0 {
		t.Error("a RESP for another attempt was taken")
	}
	resp.Attempt = init.Attempt
	v.tap.toClient(0, resp.Append(nil))
	synctest.Wait()
	if st := v.client.Stats(); len(st.Sessions) == 0 {
		t.Error("the RESP for the attempt was not taken: this tests nothing")
	}
}

func TestUnusedLinks(t *testing.T) { synctest.Test(t, testUnusedLinks) }

// A client opens nothing on a link that it does not use, whoever has sealed it.
func testUnusedLinks(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	var datagram []byte
	if err := v.server.e.call(func(time.Time) {
		for ses := range v.server.e.sender.sessions {
			k := ses.tx.current.tx.keys
			seal, err := k.secrets.Sealer(k.aead, 9, k.number)
			if err != nil {
				t.Error(err)
				return
			}
			s := &ml1Sealer{index: k.peer[9], seal: seal}
			datagram, err = s.sealControl(nil, &control{has: hasClose})
			if err != nil {
				t.Error(err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	before := v.look()
	v.tap.toClient(0, datagram)
	if c, _ := v.unchanged("a datagram on a link that is not used", before); c.UnknownIndex != 1 {
		t.Errorf("drops %+v", c)
	}
	v.works("after")
}

// rekeyNow has the client begin to replace the keys, and returns the REKEYs that it
// sends, opened.
func (v *victim) rekeyNow() {
	v.t.Helper()
	if err := v.client.e.call(func(now time.Time) {
		ep := v.client.session.tx.current
		ep.tx.rekey.asked = true
		v.client.e.sender.timers.set(v.client.session, now)
	}); err != nil {
		v.t.Fatal(err)
	}
}

func TestOfferedKeys(t *testing.T) { synctest.Test(t, testOfferedKeys) }

// A server sends nothing under keys that the client has not used.
func testOfferedKeys(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	isRekey := func(up bool, data []byte) bool { return !up && len(data) > 60 && len(data) < 400 }
	v.tap.filter(isRekey) // the client does not get the server's answer
	v.rekeyNow()
	v.sleep(3 * time.Second)
	if c, s := v.keysOf(); c != 1 || s != 2 {
		t.Fatalf("%d and %d sets of keys, want the server to have others to offer", c, s)
	}
	v.works("while keys are offered")
	if d := v.client.Stats().Drops; d.UnknownIndex != 0 {
		t.Errorf("the server used keys that the client did not know: %+v", d)
	}
	v.tap.filter(nil)
	v.sleep(10 * time.Second)
	if n := v.client.Stats().Sessions[0].Rekeys; n != 1 {
		t.Errorf("%d rekeyings", n)
	}
	v.works("after")
}

func TestOldRekey(t *testing.T) { synctest.Test(t, testOldRekey) }

// A REKEY INIT that comes after a later one is ignored, and so is one with the number of
// the last and something else in it.
func testOldRekey(t *testing.T) {
	v, r := newRogueWorld(t)
	defer v.close()
	r.send(0, nil)
	v.sleep(time.Second)
	offered := func() (n uint32) {
		if err := v.server.e.call(func(time.Time) {
			for ses := range v.server.e.sender.sessions {
				if ses.peer == "mallory" {
					for _, ep := range ses.tx.epochs() {
						n = ep.tx.rekey.last
					}
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	v.bringUp("mallory")
	for _, x := range []struct{ epoch, want uint32 }{{5, 5}, {4, 5}, {0, 5}, {5, 5}, {7, 7}, {6, 7}} {
		noise := make([]byte, 96)
		noise[0] = byte(x.epoch)
		r.send(0, wire.AppendRekey(nil, &wire.Rekey{Kind: wire.RekeyInit, Epoch: x.epoch, Noise: noise}))
		v.sleep(time.Second)
		if got := offered(); got != x.want {
			t.Errorf("after a REKEY with number %d the last is %d, want %d", x.epoch, got, x.want)
		}
	}
}

// bringUp makes the server take the first path of a rogue's session for one that works.
func (v *victim) bringUp(peer string) {
	v.t.Helper()
	if err := v.server.e.call(func(now time.Time) {
		s := &v.server.e.sender
		for ses := range s.sessions {
			if ses.peer == peer && len(ses.tx.pending) > 0 {
				p := ses.tx.pending[0].tx.active[0]
				p.tx.monitor.Answered(now)
				s.noteState(now, p, "")
			}
		}
	}); err != nil {
		v.t.Fatal(err)
	}
}

func TestUnknownFrames(t *testing.T) { synctest.Test(t, testUnknownFrames) }

// Frames of types that are not known are skipped, and what follows them counts.
func testUnknownFrames(t *testing.T) {
	v, r := newRogueWorld(t)
	defer v.close()
	r.send(0, nil)
	v.sleep(time.Second)
	v.bringUp("mallory")
	receive(t, v.sdev)
	for i, typ := range []wire.Type{wire.TypeStream, 0x55, 0x7f} {
		plain := wire.AppendFrame(nil, typ, make([]byte, 20))
		from := netip.AddrPortFrom(netip.MustParseAddr("10.0.6.9"), 1)
		pkt := tuntest.UDP4(from, netip.AddrPortFrom(serverHost, 9), binary.BigEndian.AppendUint64(nil, uint64(i)))
		plain = wire.AppendData(plain, &wire.Data{Stamp: uint32(i), Payload: pkt})
		r.send(0, plain)
		v.sleep(time.Millisecond)
		if got := receive(t, v.sdev); !slices.Equal(got, []uint64{uint64(i)}) {
			t.Errorf("%v: the packet behind it was not delivered: %v, %+v", typ, got, v.session("mallory"))
		}
	}
}

func TestLateControl(t *testing.T) { synctest.Test(t, testLateControl) }

// A control message that comes late, and from elsewhere, has nobody look there.
func testLateControl(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	v.tap.filter(func(up bool, data []byte) bool { return up && kindOf(data) == "PING" })
	v.sleep(500 * time.Millisecond)
	caught := v.tap.sent(func(r *recorded) bool { return r.held })
	v.tap.filter(nil)
	v.sleep(time.Second)
	v.tap.toServer(0, link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}, caught[0].data)
	v.sleep(5 * time.Second)
	v.tap.mu.Lock()
	defer v.tap.mu.Unlock()
	if v.tap.strays != 0 {
		t.Errorf("%d datagrams were sent to where a late one came from", v.tap.strays)
	}
}

func TestRemovedLink(t *testing.T) { synctest.Test(t, testRemovedLink) }

// A datagram of a link that the client has removed, which comes late, does not have the
// server use the link again.
func testRemovedLink(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 2})
	defer v.close()
	v.sleep(time.Second)
	v.tap.filter(func(up bool, data []byte) bool { return up && kindOf(data) == "PING" })
	v.sleep(500 * time.Millisecond)
	caught := v.tap.sent(func(r *recorded) bool { return r.held && r.line == 1 })
	v.tap.filter(nil)
	if err := v.client.RemoveLink(v.ids[1]); err != nil {
		t.Fatal(err)
	}
	v.sleep(time.Second)
	for i, r := range caught {
		v.tap.toServer(1, link.Addr{Remote: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.66"), uint16(i+1))}, r.data)
	}
	v.sleep(time.Second)
	if links := v.server.Stats().Sessions[0].Links; len(links) != 1 {
		t.Errorf("the server has %d paths after one of two links was removed: %+v", len(links), links)
	}
}

func TestRekeyOfAnother(t *testing.T) { synctest.Test(t, testRekeyOfAnother) }

// Only the session's own client can replace its keys: a handshake by another one's key,
// though that is let in too, is refused.
func testRekeyOfAnother(t *testing.T) {
	other := crypto.GeneratePrivateKey()
	v := newVictim(t, victimConfig{lines: 1, server: func(c *ServerConfig) {
		c.Clients = append(c.Clients, Peer{Name: "bob", Key: other.Public()})
	}})
	defer v.close()
	v.sleep(time.Second)
	if err := v.client.e.call(func(time.Time) { v.client.cfg.Key = other }); err != nil {
		t.Fatal(err)
	}
	v.rekeyNow()
	v.sleep(8 * time.Second)
	if n := v.server.Stats().Sessions[0].Rekeys + v.client.Stats().Sessions[0].Rekeys; n != 0 {
		t.Errorf("the keys of a session were replaced by another client (%d times)", n)
	}
	if n := v.server.e.sender.count.rekeys; n == 0 {
		t.Error("nothing was tried")
	}
	v.works("after")
}

func TestRelay(t *testing.T) { synctest.Test(t, testRelay) }

// Somebody who forwards the client's datagrams faster than the network, and the server's
// challenge to the client, wins the link for as long as the client's own answer takes.
func testRelay(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	foreign := link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
	v.tap.filter(func(up bool, _ []byte) bool { return true })
	start := v.tap.count()
	v.inject(v.cdev, udp(true, 1, 1, 500))
	v.sleep(time.Millisecond)
	log := v.tap.sent(nil)[start:]
	v.tap.toServer(0, foreign, log[0].data)
	v.sleep(time.Millisecond)
	v.tap.mu.Lock()
	stray := slices.Clone(v.tap.stray)
	v.tap.mu.Unlock()
	if len(stray) != 1 {
		t.Fatalf("%d datagrams were sent to the address that forwards", len(stray))
	}
	// The challenge gets to the client by the relay, and the answer back.
	v.tap.toClient(0, stray[0].data)
	v.sleep(time.Millisecond)
	for _, r := range v.tap.sent(func(r *recorded) bool { return r.up })[0:] {
		v.tap.toServer(0, foreign, r.data)
	}
	v.sleep(time.Millisecond)
	remote := func() link.Addr { return v.server.Stats().Sessions[0].Links[0].Remote }
	if got := remote(); got != foreign {
		t.Fatalf("the link is at %v: the relay did not win, and this tests nothing", got)
	}
	// Then the other challenge, and the client's answer to it.
	for _, r := range v.tap.sent(nil) {
		if !r.up && r.held {
			v.tap.toClient(0, r.data)
		}
	}
	v.sleep(time.Millisecond)
	for _, r := range v.tap.sent(nil) {
		if r.up && r.held {
			v.tap.toServer(0, v.tap.link(0).addr, r.data)
		}
	}
	v.sleep(time.Millisecond)
	if got := remote(); got != v.tap.link(0).addr {
		t.Errorf("the link stays at %v", got)
	}
	v.tap.filter(nil)
	v.works("after")
}

func TestChallengeIsNoted(t *testing.T) { synctest.Test(t, testChallengeIsNoted) }

// A report whose newest datagram is the one that went to a candidate counts: its number
// is in the books.
func testChallengeIsNoted(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	v.works("before")
	v.tap.filter(func(bool, []byte) bool { return true })
	start := v.tap.count()
	v.inject(v.cdev, udp(true, 1, 1, 500))
	v.sleep(time.Millisecond)
	v.tap.toServer(0, link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}, v.tap.sent(nil)[start].data)
	v.sleep(time.Millisecond)
	if err := v.server.e.call(func(time.Time) {
		for ses := range v.server.e.sender.sessions {
			p := ses.tx.current.tx.active[0]
			if p.tx.move.candidate.port == nil {
				t.Fatal("there is no candidate: this tests nothing")
			}
			last := p.tx.seal.number() - 1
			ack := p.tx.lane.ledger.Apply(&wire.LinkReport{Highest: uint32(last), Runs: [wire.MaxRuns]uint32{1}, NumRuns: 1},
				func(feedback.Fate, time.Time, int, *sentPacket) {})
			if !ack.New {
				t.Errorf("a report on datagram %d is not believed", last)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAllowance(t *testing.T) { synctest.Test(t, testAllowance) }

// To an address that is not proved no more than three times what came from there is
// sent, whether it is a link's first or a later one.
func testAllowance(t *testing.T) {
	v, r := newRogueWorld(t)
	defer v.close()
	count := func(what string, in int) {
		t.Helper()
		v.sleep(20 * time.Second)
		v.tap.mu.Lock()
		defer v.tap.mu.Unlock()
		if out := v.tap.strayBytes; out > 3*in || out == 0 {
			t.Errorf("%s: %d bytes were sent for %d", what, out, in)
		}
		v.tap.strayBytes = 0
	}
	v.tap.mu.Lock()
	v.tap.strayBytes = 0 // the RESP: its address was proved by a token
	v.tap.mu.Unlock()
	const size = wire.HeaderSize + 1 + crypto.Overhead
	r.send(0, []byte{0})
	count("a link's first address", size)

	// One of alice's links, which works, seems to move.
	v.tap.filter(func(up bool, _ []byte) bool { return up })
	v.sleep(4 * time.Second) // a path that rests is probed every 3 s
	caught := v.tap.sent(func(r *recorded) bool { return r.held && r.up && r.line == 0 })
	v.tap.filter(func(bool, []byte) bool { return true }) // the old address does not answer
	last := caught[len(caught)-1]
	v.tap.toServer(0, link.Addr{Remote: netip.MustParseAddrPort("192.0.2.67:667")}, last.data)
	count("another address", len(last.data))
}
