package mlvpn

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
)

// The attacks of strangers who know the server's key, or the client's INITs.

// times returns how often an attack is tried: long times with MULTILINK_LONG=1.
func times(ordinary, long int) int {
	if longTests() {
		return long
	}
	return ordinary
}

// initFor is an INIT for the server, with the right mac1 and no token.
func (v *victim) initFor(attempt uint64, noise []byte) []byte {
	macKey := crypto.MAC1Key(v.sc.Key.Public())
	m := wire.Init{Attempt: attempt, Noise: noise}
	return m.Append(nil, func(covered []byte) [16]byte { return crypto.MAC1(macKey, covered) })
}

// noiseFor is the first Noise message of a client.
func (v *victim) noiseFor(key crypto.PrivateKey, psk crypto.PresharedKey) []byte {
	v.t.Helper()
	init, err := crypto.NewInitiator(crypto.HandshakeConfig{Key: key, Peer: v.sc.Key.Public(), Preshared: psk})
	if err != nil {
		v.t.Fatal(err)
	}
	hello := wire.Params{AEADs: crypto.Supported(), Indices: []uint32{1, 2}}
	noise, err := init.Init(nil, hello.Append(nil))
	if err != nil {
		v.t.Fatal(err)
	}
	return noise
}

// issue returns the token that the server would give for an INIT at a time, without a
// datagram that asks for it.
func (v *victim) issue(at time.Time, line int, from link.Addr, init []byte) (token [wire.TokenSize]byte) {
	v.t.Helper()
	_, covered, err := wire.ParseInit(init)
	if err != nil {
		v.t.Fatal(err)
	}
	e := v.server.e
	if err := e.callReceiver(func() {
		for p := range e.life.ports {
			if p.sock == v.tap.sockets[line] {
				token = e.receiver.door.tokens.Issue(at, source(p, from), covered)
			}
		}
	}); err != nil {
		v.t.Fatal(err)
	}
	return token
}

// forget empties the tap's log, which would grow otherwise, and returns what both ends
// sent: how many bytes, and of which kinds.
func (tp *tap) forget() (bytes int, kinds map[string]int) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	kinds = make(map[string]int)
	for _, r := range tp.log {
		bytes += len(r.data)
		kinds[kindOf(r.data)]++
	}
	tp.log, tp.stray = nil, nil
	return bytes, kinds
}

// computed returns how many INITs the server has done X25519 for.
func (v *victim) computed() (n uint64) {
	v.t.Helper()
	if err := v.server.e.call(func(time.Time) { n = v.server.e.sender.count.computed }); err != nil {
		v.t.Fatal(err)
	}
	return n
}

func TestTokenAbuse(t *testing.T) { synctest.Test(t, testTokenAbuse) }

// A token is worth nothing from another address or port, for another INIT, too late, with
// a bit flipped, or after a restart.
func testTokenAbuse(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 2, server: func(c *ServerConfig) {
		c.Handshakes = HandshakeLimit{PerSource: 1e6, SourceBurst: 1e6, Total: 1e6}
	}})
	defer func() { v.close() }()
	v.sleep(11 * time.Second) // so that a token can be 11 s old
	v.works("before")
	rng := rand.New(rand.NewPCG(5, 5))
	noise := v.noiseFor(crypto.GeneratePrivateKey(), crypto.PresharedKey{})
	other := v.noiseFor(crypto.GeneratePrivateKey(), crypto.PresharedKey{})
	home := link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
	first := v.initFor(1, noise)
	inject := func(line int, from link.Addr, init []byte, token [wire.TokenSize]byte) {
		init = slices.Clone(init)
		wire.SetToken(init, token)
		v.tap.toServer(line, from, init)
	}
	before := v.computed()
	inject(0, home, first, v.issue(time.Now(), 0, home, first))
	synctest.Wait()
	if n := v.computed() - before; n != 1 {
		t.Fatalf("an INIT with its token was computed %d times", n)
	}
	stale := v.issue(time.Now().Add(-11*time.Second), 0, home, first)
	abuses := []struct {
		what string
		try  func()
	}{
		{"another address", func() {
			from := link.Addr{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(rng.Uint32()), byte(rng.Uint32()), 1}), 666)}
			inject(0, from, first, v.issue(time.Now(), 0, home, first))
		}},
		{"another port", func() {
			from := link.Addr{Remote: netip.AddrPortFrom(home.Remote.Addr(), 667+uint16(rng.IntN(60000)))}
			inject(0, from, first, v.issue(time.Now(), 0, home, first))
		}},
		{"another socket", func() { inject(1, home, first, v.issue(time.Now(), 0, home, first)) }},
		{"another INIT", func() { inject(0, home, v.initFor(rng.Uint64(), other), v.issue(time.Now(), 0, home, first)) }},
		{"a token 11 s old", func() { inject(0, home, first, stale) }},
		{"a flipped bit", func() {
			token := v.issue(time.Now(), 0, home, first)
			token[rng.IntN(len(token))] ^= 1 << rng.IntN(8)
			inject(0, home, first, token)
		}},
	}
	n := times(200, 10000)
	for _, a := range abuses {
		v.tap.forget()
		before := v.computed()
		for i := range n {
			a.try()
			v.pause(i)
		}
		synctest.Wait()
		if got := v.computed() - before; got != 0 {
			t.Errorf("%s: %d of %d were computed", a.what, got, n)
		}
		if _, kinds := v.tap.forget(); kinds["RESP"] != 0 || kinds["RETRY"] == 0 {
			t.Errorf("%s: the server sent %v", a.what, kinds)
		}
		v.sleep(time.Second)
	}
	good := v.issue(time.Now(), 0, home, first)
	v.stopServer()
	v.tap.renewSockets()
	v.startServer()
	v.sleep(5 * time.Second)
	v.works("after a restart")
	before = v.computed()
	for i := range n {
		inject(0, home, first, good)
		v.pause(i)
	}
	if got := v.computed() - before; got != 0 {
		t.Errorf("a token of before the restart: %d of %d were computed", got, n)
	}
}

func TestKnownKeyFlood(t *testing.T) { synctest.Test(t, testKnownKeyFlood) }

// INITs with the right mac1, from any number of addresses, get a RETRY at most, which is
// shorter. They cost no X25519 and no memory.
func testKnownKeyFlood(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	v.works("before")
	v.tap.forget()
	rng := rand.New(rand.NewPCG(9, 9))
	in := 0
	flood := func(n int) (out int) {
		for i := range n {
			noise := make([]byte, 96)
			binary.BigEndian.PutUint64(noise, rng.Uint64())
			init := v.initFor(rng.Uint64(), noise)
			if i%2 == 0 {
				var token [wire.TokenSize]byte
				binary.BigEndian.PutUint64(token[rng.IntN(24):], rng.Uint64())
				wire.SetToken(init, token)
			}
			from := link.Addr{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())}), uint16(rng.Uint32()))}
			in += len(init)
			v.tap.toServer(0, from, init)
			if i%100 == 99 {
				synctest.Wait()
				bytes, kinds := v.tap.forget()
				out += bytes
				delete(kinds, "RETRY")
				if len(kinds) > 0 {
					t.Fatalf("the server sent %v", kinds)
				}
			}
		}
		return out
	}
	before := v.computed()
	flood(2000)
	heapBefore, goroutines := heap(), runtime.NumGoroutine()
	in = 0
	n := times(20_000, 1_000_000)
	out := flood(n)
	if out > in || out == 0 {
		t.Errorf("%d bytes were sent for %d", out, in)
	}
	if got := v.computed() - before; got != 0 {
		t.Errorf("%d of %d INITs without a valid token were computed", got, n)
	}
	if grown := int64(heap()) - int64(heapBefore); grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if n := runtime.NumGoroutine(); n != goroutines {
		t.Errorf("%d goroutines, before %d", n, goroutines)
	}
	v.works("after")
}

func TestReplayedProvedInit(t *testing.T) { synctest.Test(t, testReplayedProvedInit) }

// The INIT that a session comes from, replayed with its token from the client's own
// address while the token is good, is not answered any more.
func testReplayedProvedInit(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	v.works("before")
	inits := v.tap.sent(func(r *recorded) bool { return kindOf(r.data) == "INIT" && hasToken(r.data) })
	before := v.look()
	n := times(2000, 100_000)
	for i := range n {
		v.tap.replay(inits[0])
		v.pause(i)
	}
	_, d := v.unchanged("replays of the session's INIT", before)
	if d.ReplayedInits == 0 || d.ReplayedInits+d.Flooded != uint64(n) {
		t.Errorf("of %d replays: %+v", n, d)
	}
	if n := v.computed(); n != 1 {
		t.Errorf("%d INITs were computed", n)
	}
	v.works("after")
}

func TestFailingHandshakes(t *testing.T) { synctest.Test(t, testFailingHandshakes) }

// Handshakes that fail, for want of a key that is let in or of the right preshared key,
// leave nothing behind.
func testFailingHandshakes(t *testing.T) {
	mallory := crypto.GeneratePrivateKey()
	v := newVictim(t, victimConfig{lines: 1, server: func(c *ServerConfig) {
		c.Handshakes = HandshakeLimit{PerSource: 1e9, SourceBurst: 1e9, Total: 1e9}
		c.Clients = append(c.Clients, Peer{Name: "mallory", Key: mallory.Public(), Preshared: crypto.GeneratePresharedKey()})
	}})
	defer v.close()
	v.sleep(time.Second)
	v.works("before")
	var unknown [][]byte
	for i := range 64 {
		unknown = append(unknown, v.initFor(uint64(i), v.noiseFor(crypto.GeneratePrivateKey(), crypto.PresharedKey{})))
	}
	from := link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
	attempt := uint64(1000)
	flood := func(n int) {
		for i := range n {
			init := unknown[i%len(unknown)]
			if i%10 == 9 {
				attempt++
				init = v.initFor(attempt, v.noiseFor(mallory, crypto.PresharedKey{}))
			}
			wire.SetToken(init, v.issue(time.Now(), 0, from, init))
			v.tap.toServer(0, from, init)
			if i%20 == 19 {
				v.sleep(100 * time.Millisecond)
				v.tap.forget()
			}
		}
		v.sleep(70 * time.Second) // sessions that never came up are forgotten, probes answered
		v.tap.forget()
	}
	// The log of answered INITs has a fixed size: it must be full.
	flood(500)
	for i := range initLogSize {
		if err := v.server.e.call(func(time.Time) {
			v.server.inits.add(initHash{byte(i), byte(i >> 8), 1}, &initRecord{})
		}); err != nil {
			t.Fatal(err)
		}
	}
	before, computed, goroutines := heap(), v.computed(), runtime.NumGoroutine()
	n := times(1000, 1_000_000)
	flood(n)
	if got := v.computed() - computed; got < uint64(n)*9/10 {
		t.Errorf("only %d of %d handshakes were computed: this tests nothing", got, n)
	}
	if grown := int64(heap()) - int64(before); grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if n := runtime.NumGoroutine(); n != goroutines {
		t.Errorf("%d goroutines, before %d", n, goroutines)
	}
	if st := v.server.Stats(); len(st.Sessions) != 1 {
		t.Errorf("%d sessions", len(st.Sessions))
	}
	v.works("after")
}

// The points of order 1, 2, 4 and 8 on Curve25519 and its twist, in all encodings.
var lowOrderPoints = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func TestLowOrderPoints(t *testing.T) { synctest.Test(t, testLowOrderPoints) }

// Points of low order are refused as ephemeral keys by the server, and as the server's key
// by a client, which sends nothing.
func testLowOrderPoints(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	from := link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
	for i, p := range lowOrderPoints {
		point, err := hex.DecodeString(p)
		if err != nil {
			t.Fatal(err)
		}
		noise := make([]byte, 160)
		copy(noise, point)
		init := v.initFor(uint64(i), noise)
		wire.SetToken(init, v.issue(time.Now(), 0, from, init))
		before := v.look()
		v.tap.toServer(0, from, init)
		if _, d := v.unchanged("an INIT with a point of low order", before); d.Refused != 1 {
			t.Errorf("%s: drops %+v", p, d)
		}
		if _, err := NewClient(ClientConfig{
			Config: Config{Device: v.cdev, Key: crypto.GeneratePrivateKey()},
			Server: crypto.PublicKey(point),
		}); err == nil && crypto.PublicKey(point) == (crypto.PublicKey{}) {
			t.Errorf("%s: a client was made for this server key", p)
		}
		if _, err := crypto.NewInitiator(crypto.HandshakeConfig{Key: crypto.GeneratePrivateKey(), Peer: crypto.PublicKey(point)}); err == nil {
			t.Errorf("%s: a handshake was begun with this server key", p)
		}
	}
	v.works("after")
}

func TestNoLegacy(t *testing.T) { synctest.Test(t, testNoLegacy) }

// What another version, or MLVPN, would send is not answered.
func testNoLegacy(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	init := v.tap.sent(func(r *recorded) bool { return kindOf(r.data) == "INIT" })[0]
	before := v.look()
	for version := range 256 {
		if version == wire.Version {
			continue
		}
		data := slices.Clone(init.data)
		data[5] = byte(version)
		_, covered, _ := wire.ParseInit(init.data)
		mac := crypto.MAC1(crypto.MAC1Key(v.sc.Key.Public()), data[:len(covered)])
		copy(data[len(covered):], mac[:])
		v.tap.toServer(0, init.from(v), data)
	}
	for _, s := range []string{
		// AUTH, keepalive and data of MLVPN 2.x, as captured.
		"0012010474a4ffff4204d9ec0000000000000000000000000000000032b9ca73c1bce519fc80ba3816f96564ea00",
		"00120102ffffffff4204d9ec000000000000000100000000000000004155",
		"001c010274a4ffff4204d9ec000000000000000200000000000000014500001c000040004001b7c10a000002",
	} {
		data, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		v.tap.toServer(0, init.from(v), data)
	}
	if _, d := v.unchanged("other versions", before); d.Malformed+d.UnknownIndex != 255+3 {
		t.Errorf("drops %+v", d)
	}
	v.works("after")
}

// from is the address that a datagram of the client came from.
func (r *recorded) from(v *victim) link.Addr { return v.tap.link(r.line).addr }

func TestDowngrade(t *testing.T) { synctest.Test(t, testDowngrade) }

// A server that answers with an AEAD that was not offered, with several or with none, is
// not believed, though its answer is authentic.
func testDowngrade(t *testing.T) {
	for _, mask := range []uint8{0, 3, 4, 7, 0x80, 0xff} {
		v := newVictim(t, victimConfig{lines: 1, hold: func(up bool, _ []byte) bool { return true }})
		v.sleep(100 * time.Millisecond)
		init, _, err := wire.ParseInit(v.tap.sent(nil)[0].data)
		if err != nil {
			t.Fatal(err)
		}
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
		if hello.AEADs&crypto.ChaCha20Poly1305.Bit() == 0 {
			t.Errorf("the client offers %#x: ChaCha20-Poly1305 is missing", hello.AEADs)
		}
		reply := wire.Params{AEADs: mask, Indices: make([]uint32, len(hello.Indices))}
		for i := range reply.Indices {
			reply.Indices[i] = uint32(i + 1)
		}
		noise, _, err := r.Finish(nil, reply.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		resp := wire.Response{Attempt: init.Attempt, Noise: noise}
		v.tap.toClient(0, resp.Append(nil))
		v.sleep(time.Second)
		if st := v.client.Stats(); len(st.Sessions) > 0 && (st.Sessions[0].Up || st.Sessions[0].Cipher != "") {
			t.Errorf("AEAD mask %#x: the client has a session: %+v", mask, st.Sessions[0])
		}
		sent := v.tap.sent(func(r *recorded) bool { return r.up && !isHandshake(r.data) })
		if len(sent) > 0 {
			t.Errorf("AEAD mask %#x: the client sent %d datagrams under the keys", mask, len(sent))
		}
		v.close()
	}
}

func TestGracefulRestart(t *testing.T) { synctest.Test(t, testGracefulRestart) }

// A server that stops tells its clients when to come back, each another time, and they
// are back within 2.5 s of a restart.
func testGracefulRestart(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 2})
	defer func() { v.close() }()
	v.sleep(time.Second)
	var pauses []time.Duration
	for range times(10, 100) {
		v.works("before")
		v.log.take()
		v.tap.forget()
		stopped := time.Now()
		v.stopServer()
		v.tap.renewSockets()
		v.startServer()
		var back time.Time
		for back.IsZero() && time.Since(stopped) < 10*time.Second {
			v.sleep(10 * time.Millisecond)
			if inits := v.tap.sent(func(r *recorded) bool { return kindOf(r.data) == "INIT" }); len(inits) > 0 {
				back = time.Now()
			}
		}
		pause := back.Sub(stopped)
		pauses = append(pauses, pause.Round(100*time.Millisecond))
		if pause < minReturn || pause > maxReturn+10*time.Millisecond {
			t.Errorf("the client came back after %v", pause)
		}
		if got := v.log.take(); !slices.Contains(got, "session down") {
			t.Errorf("events %q: the client did not hear that the server stops", got)
		}
		v.sleep(time.Until(stopped.Add(2500 * time.Millisecond)))
		v.works("2.5 s after")
	}
	slices.Sort(pauses)
	if n := len(slices.Compact(slices.Clone(pauses))); n < 5 {
		t.Errorf("the pauses %v are all alike", pauses)
	}
	if d := v.client.Stats().Drops; reflect.ValueOf(d).IsZero() {
		t.Log("nothing was dropped")
	}
}
