package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/flynn/noise"
)

// parties are the two sides of a test handshake.
type parties struct {
	initiator, responder HandshakeConfig
}

func keysParties() parties {
	a, b, psk := GeneratePrivateKey(), GeneratePrivateKey(), GeneratePresharedKey()
	return parties{
		HandshakeConfig{Key: a, Peer: b.Public(), Preshared: psk, Network: "home"},
		HandshakeConfig{Key: b, Preshared: psk, Network: "home"},
	}
}

func passwordParties() parties {
	cfg := HandshakeConfig{Password: true, Preshared: GeneratePresharedKey(), Network: "home"}
	return parties{cfg, cfg}
}

func modes() map[string]func() parties {
	return map[string]func() parties{"keys": keysParties, "password": passwordParties}
}

func (p parties) start(t testing.TB) (*Initiator, *Responder) {
	t.Helper()
	i, err := NewInitiator(p.initiator)
	if err != nil {
		t.Fatal(err)
	}
	return i, p.newResponder(t)
}

func (p parties) newResponder(t testing.TB) *Responder {
	t.Helper()
	r, err := NewResponder(p.responder)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sameSession reports whether packets pass between the two in both directions.
func sameSession(t *testing.T, a, b *Secrets) bool {
	t.Helper()
	for _, way := range [][2]*Secrets{{a, b}, {b, a}} {
		s, err := way[0].Sealer(ChaCha20Poly1305, 7, 0)
		if err != nil {
			t.Fatal(err)
		}
		o, err := way[1].Opener(ChaCha20Poly1305, 7, 0)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Seal(nil, []byte("plaintext"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Open(nil, p, nil, 0); err != nil {
			return false
		}
	}
	return a.Binding() == b.Binding() && a.SendFlowSeed() == b.RecvFlowSeed() && b.SendFlowSeed() == a.RecvFlowSeed()
}

func TestHandshake(t *testing.T) {
	for mode, newParties := range modes() {
		t.Run(mode, func(t *testing.T) {
			p := newParties()
			i, r := p.start(t)
			size := KeysInitSize
			if p.initiator.Password {
				size = PasswordInitSize
			}
			msg1, err := i.Init([]byte("dst"), []byte("hello"))
			if err != nil || string(msg1[:3]) != "dst" || len(msg1) != 3+size+len("hello") {
				t.Fatalf("%d bytes, %v", len(msg1), err)
			}
			payload, peer, err := r.Read(msg1[3:])
			if err != nil || string(payload) != "hello" {
				t.Fatalf("%q, %v", payload, err)
			}
			if want := p.initiator.Key.Public(); !p.initiator.Password && peer != want || p.initiator.Password && !peer.IsZero() {
				t.Errorf("the peer is %v", peer)
			}
			msg2, b, err := r.Finish([]byte("dst"), []byte("welcome"))
			if err != nil || string(msg2[:3]) != "dst" || len(msg2) != 3+ResponseSize+len("welcome") {
				t.Fatalf("%d bytes, %v", len(msg2), err)
			}
			payload, a, err := i.Finish(msg2[3:])
			if err != nil || string(payload) != "welcome" {
				t.Fatalf("%q, %v", payload, err)
			}
			if !sameSession(t, a, b) {
				t.Error("the two sides have different secrets")
			}
			if _, _, err := i.Finish(msg2[3:]); !errors.Is(err, ErrState) {
				t.Errorf("the same response again: %v", err)
			}
		})
	}
}

// Two handshakes between the same parties have nothing in common.
func TestHandshakesDiffer(t *testing.T) {
	for mode, newParties := range modes() {
		p := newParties()
		m1, m2, a := complete(t, p)
		n1, n2, b := complete(t, p)
		if bytes.Equal(m1, n1) || bytes.Equal(m2, n2) || a.Binding() == b.Binding() || sameSession(t, a, b) || a.SendFlowSeed() == b.SendFlowSeed() {
			t.Errorf("%s: two handshakes are alike", mode)
		}
	}
}

func complete(t *testing.T, p parties) (msg1, msg2 []byte, s *Secrets) {
	t.Helper()
	i, r := p.start(t)
	msg1, err := i.Init(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Read(msg1); err != nil {
		t.Fatal(err)
	}
	msg2, _, err = r.Finish(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, s, err = i.Finish(msg2); err != nil {
		t.Fatal(err)
	}
	return msg1, msg2, s
}

// The responder looks the preshared key up once it knows the peer.
func TestLatePreshared(t *testing.T) {
	p := keysParties()
	psk := p.initiator.Preshared
	for _, test := range []struct {
		configured, late PresharedKey
		set, want        bool
	}{
		{PresharedKey{}, psk, true, true},
		{GeneratePresharedKey(), psk, true, true},
		{psk, PresharedKey{}, false, true},
		{psk, PresharedKey{}, true, false},
		{PresharedKey{}, PresharedKey{}, false, false},
		{psk, GeneratePresharedKey(), true, false},
	} {
		p.responder.Preshared = test.configured
		i, r := p.start(t)
		msg1, err := i.Init(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Read(msg1); err != nil {
			t.Fatal(err)
		}
		if test.set {
			r.SetPreshared(test.late)
		}
		msg2, _, err := r.Finish(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := i.Finish(msg2); (err == nil) != test.want {
			t.Errorf("configured %t, set %t: %v", !test.configured.IsZero(), test.set, err)
		}
	}
}

// A difference in what both must have in common ends the handshake, at the first side
// that can tell.
func TestHandshakeMismatch(t *testing.T) {
	for _, test := range []struct {
		name      string
		parties   func() parties
		change    func(*parties)
		responder bool // it is the responder that refuses
	}{
		{"responder's key", keysParties, func(p *parties) { p.initiator.Peer = GeneratePrivateKey().Public() }, true},
		{"network", keysParties, func(p *parties) { p.initiator.Network = "hom" }, true},
		{"no network", keysParties, func(p *parties) { p.responder.Network = "" }, true},
		{"preshared key", keysParties, func(p *parties) { p.initiator.Preshared = GeneratePresharedKey() }, false},
		{"initiator without preshared key", keysParties, func(p *parties) { p.initiator.Preshared = PresharedKey{} }, false},
		{"responder without preshared key", keysParties, func(p *parties) { p.responder.Preshared = PresharedKey{} }, false},
		{"password", passwordParties, func(p *parties) { p.initiator.Preshared[31]++ }, true},
		{"network", passwordParties, func(p *parties) { p.responder.Network = "Home" }, true},
		{"mode of the initiator", keysParties, func(p *parties) { p.initiator.Password = true }, true},
		{"mode of the responder", keysParties, func(p *parties) { p.responder.Password = true }, true},
	} {
		p := test.parties()
		test.change(&p)
		i, r := p.start(t)
		msg1, err := i.Init(nil, []byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		payload, peer, err := r.Read(msg1)
		if test.responder {
			if !errors.Is(err, ErrHandshake) || payload != nil || !peer.IsZero() {
				t.Errorf("%s: the responder read %q, %v, %v", test.name, payload, peer, err)
			}
			if _, _, err := r.Finish(nil, nil); !errors.Is(err, ErrState) {
				t.Errorf("%s: Finish after a refused message: %v", test.name, err)
			}
			if _, _, err := r.Read(msg1); !errors.Is(err, ErrState) {
				t.Errorf("%s: Read after a refused message: %v", test.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		msg2, _, err := r.Finish(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, s, err := i.Finish(msg2); !errors.Is(err, ErrHandshake) || s != nil {
			t.Errorf("%s: the initiator: %v", test.name, err)
		}
	}
}

// A responder for one peer refuses all others.
func TestResponderPeer(t *testing.T) {
	p := keysParties()
	p.responder.Peer = p.initiator.Key.Public()
	complete(t, p)
	p.responder.Peer = GeneratePrivateKey().Public()
	i, r := p.start(t)
	msg1, err := i.Init(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, peer, err := r.Read(msg1); !errors.Is(err, ErrPeer) || !peer.IsZero() {
		t.Errorf("%v, %v", peer, err)
	}
	if _, _, err := r.Finish(nil, nil); !errors.Is(err, ErrState) {
		t.Errorf("Finish: %v", err)
	}
}

// tampered calls f with all messages that differ from msg in a bit or in length.
func tampered(msg []byte, f func(what string, bad []byte)) {
	for i := range 8 * len(msg) {
		bad := bytes.Clone(msg)
		bad[i/8] ^= 1 << (i % 8)
		f(fmt.Sprintf("bit %d flipped", i), bad)
	}
	for n := range msg {
		f(fmt.Sprintf("cut to %d bytes", n), msg[:n])
	}
	f("a byte more", append(bytes.Clone(msg), 0))
}

// No altered message is accepted, and the initiator then still accepts the true one.
func TestTamperedHandshake(t *testing.T) {
	for mode, newParties := range modes() {
		t.Run(mode, func(t *testing.T) {
			p := newParties()
			i, r := p.start(t)
			msg1, err := i.Init(nil, []byte("hello"))
			if err != nil {
				t.Fatal(err)
			}
			tampered(msg1, func(what string, bad []byte) {
				if _, _, err := p.newResponder(t).Read(bad); !errors.Is(err, ErrHandshake) {
					t.Errorf("first message, %s: %v", what, err)
				}
			})
			if _, _, err := r.Read(msg1); err != nil {
				t.Fatal(err)
			}
			msg2, b, err := r.Finish(nil, []byte("welcome"))
			if err != nil {
				t.Fatal(err)
			}
			refuse := func(what string, bad []byte) {
				if payload, s, err := i.Finish(bad); !errors.Is(err, ErrHandshake) || payload != nil || s != nil {
					t.Errorf("second message, %s: %v", what, err)
				}
			}
			tampered(msg2, refuse)
			refuse("its own message", msg1)
			for _, point := range lowOrderPoints(t) {
				refuse("an ephemeral key of low order", append(bytes.Clone(point[:]), msg2[KeySize:]...))
			}
			payload, a, err := i.Finish(msg2)
			if err != nil || string(payload) != "welcome" || !sameSession(t, a, b) {
				t.Errorf("the true message: %q, %v", payload, err)
			}
		})
	}
}

// A message made with a static or ephemeral key of low order is authentic as far as
// Noise can tell, had X25519 not refused: nothing of it may be accepted.
func TestLowOrderRefused(t *testing.T) {
	for _, point := range lowOrderPoints(t) {
		if _, err := NewInitiator(HandshakeConfig{Key: GeneratePrivateKey(), Peer: point}); err == nil {
			t.Errorf("%x: accepted as peer by an initiator", point[:])
		}
		if _, err := NewResponder(HandshakeConfig{Key: GeneratePrivateKey(), Peer: point}); err == nil && !point.IsZero() {
			t.Errorf("%x: accepted as peer by a responder", point[:])
		}
		for mode, newParties := range modes() {
			r := newParties().newResponder(t)
			msg := append(bytes.Clone(point[:]), make([]byte, 64)...)
			if _, _, err := r.Read(msg); !errors.Is(err, ErrHandshake) || !errors.Is(err, errLowOrder) {
				t.Errorf("%s: %x as ephemeral key: %v", mode, point[:], err)
			}
		}
	}
}

func TestOutOfOrder(t *testing.T) {
	p := keysParties()
	i, r := p.start(t)
	if _, _, err := i.Finish(make([]byte, ResponseSize)); !errors.Is(err, ErrState) {
		t.Errorf("Finish before Init: %v", err)
	}
	if _, _, err := r.Finish(nil, nil); !errors.Is(err, ErrState) {
		t.Errorf("Finish before Read: %v", err)
	}
	msg1, err := i.Init(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := i.Init([]byte("dst"), nil); !errors.Is(err, ErrState) || string(out) != "dst" {
		t.Errorf("second Init: %v", err)
	}
	if _, _, err := r.Read(msg1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Read(msg1); !errors.Is(err, ErrState) {
		t.Errorf("second Read: %v", err)
	}
	msg2, _, err := r.Finish(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Finish(nil, nil); !errors.Is(err, ErrState) {
		t.Errorf("second Finish: %v", err)
	}
	i.Wipe()
	i.Wipe()
	if _, _, err := i.Finish(msg2); !errors.Is(err, ErrState) {
		t.Errorf("Finish after Wipe: %v", err)
	}
	if _, err := i.Init(nil, nil); !errors.Is(err, ErrState) {
		t.Errorf("Init after Wipe: %v", err)
	}
	r = p.newResponder(t)
	r.Wipe()
	r.SetPreshared(GeneratePresharedKey())
	if _, _, err := r.Read(msg1); !errors.Is(err, ErrState) {
		t.Errorf("Read after Wipe: %v", err)
	}
}

// The largest payload that Noise takes is far more than a datagram; larger ones are
// refused without a panic.
func TestPayloadTooLong(t *testing.T) {
	i, r := keysParties().start(t)
	if out, err := i.Init([]byte("dst"), make([]byte, noise.MaxMsgLen+1)); err == nil || string(out) != "dst" {
		t.Error("accepted")
	}
	i, _ = keysParties().start(t)
	if _, err := i.Init(nil, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Read(nil); !errors.Is(err, ErrHandshake) {
		t.Errorf("empty message: %v", err)
	}
}

// Keys are gone from memory after a handshake, as far as they can be reached.
func TestHandshakeWipes(t *testing.T) {
	i, _ := keysParties().start(t)
	if _, err := i.Init(nil, nil); err != nil {
		t.Fatal(err)
	}
	static, ephemeral := i.noise.static, i.noise.hs.LocalEphemeral().Private
	if allZero(static) || allZero(ephemeral) {
		t.Fatal("there are no keys to wipe")
	}
	i.Wipe()
	if !allZero(static) || !allZero(ephemeral) {
		t.Error("keys are left")
	}
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

func TestConfigRefused(t *testing.T) {
	k, pub := GeneratePrivateKey(), GeneratePrivateKey().Public()
	for _, test := range []struct {
		name                 string
		cfg                  HandshakeConfig
		initiator, responder bool // whether it is enough for one
	}{
		{"nothing", HandshakeConfig{}, false, false},
		{"no key", HandshakeConfig{Peer: pub}, false, false},
		{"no peer", HandshakeConfig{Key: k}, false, true},
		{"no password", HandshakeConfig{Password: true, Key: k, Peer: pub}, false, false},
		{"password", HandshakeConfig{Password: true, Preshared: GeneratePresharedKey()}, true, true},
	} {
		before := test.cfg
		if _, err := NewInitiator(test.cfg); (err == nil) != test.initiator {
			t.Errorf("initiator, %s: %v", test.name, err)
		}
		if _, err := NewResponder(test.cfg); (err == nil) != test.responder {
			t.Errorf("responder, %s: %v", test.name, err)
		}
		if !reflect.DeepEqual(before, test.cfg) {
			t.Errorf("%s: the configuration was changed", test.name)
		}
	}
}

// The frozen transcripts: whatever changes them breaks the protocol.
func TestGoldenHandshakes(t *testing.T) {
	for _, v := range readVectors(t, "handshake.txt", 5) {
		t.Run(v.text("name"), func(t *testing.T) {
			psk := v.key(t, "preshared")
			p := parties{
				HandshakeConfig{Preshared: psk, Network: v.text("network"), rand: bytes.NewReader(v.bytes(t, "initiator_ephemeral"))},
				HandshakeConfig{Preshared: psk, Network: v.text("network"), rand: bytes.NewReader(v.bytes(t, "responder_ephemeral"))},
			}
			packets := 8
			if v.text("renews") != "" {
				packets = 4
				p.initiator.Renews = [32]byte(v.bytes(t, "renews"))
				p.responder.Renews = p.initiator.Renews
			}
			if v.text("mode") == "password" {
				p.initiator.Password, p.responder.Password = true, true
			} else {
				p.initiator.Key, p.responder.Key = v.key(t, "initiator_private"), v.key(t, "responder_private")
				p.initiator.Peer = p.responder.Key.Public()
			}
			i, r := p.start(t)
			msg1, err := i.Init(nil, v.bytes(t, "init_payload"))
			if err != nil || !bytes.Equal(msg1, v.bytes(t, "init")) {
				t.Fatalf("first message %x, %v", msg1, err)
			}
			if _, _, err := r.Read(msg1); err != nil {
				t.Fatal(err)
			}
			msg2, b, err := r.Finish(nil, v.bytes(t, "response_payload"))
			if err != nil || !bytes.Equal(msg2, v.bytes(t, "response")) {
				t.Fatalf("second message %x, %v", msg2, err)
			}
			_, a, err := i.Finish(msg2)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Binding(); !bytes.Equal(got[:], v.bytes(t, "binding")) || !sameSession(t, a, b) {
				t.Errorf("binding %x", got)
			}
			for side, s := range map[string]*Secrets{"initiator": a, "responder": b} {
				if got := fmt.Sprintf("%016x", s.SendFlowSeed()); got != v.text(side+"_flow_seed") {
					t.Errorf("flow seed of the %s: %s", side, got)
				}
			}
			if len(v["packet"]) != packets {
				t.Fatalf("%d packets", len(v["packet"]))
			}
			for _, line := range v["packet"] {
				goldenPacket(t, line, a, b)
			}
		})
	}
}

func goldenPacket(t *testing.T, line string, initiator, responder *Secrets) {
	t.Helper()
	var side, datagramHex, plainHex string
	var aead AEAD
	var link uint16
	var epoch uint32
	var counter uint64
	if _, err := fmt.Sscanf(line, "%s aead=%d link=%d epoch=%d counter=%d datagram=%s plaintext=%s",
		&side, &aead, &link, &epoch, &counter, &datagramHex, &plainHex); err != nil {
		t.Fatal(line, err)
	}
	from, to := initiator, responder
	if side == "responder" {
		from, to = to, from
	}
	datagram, plain := mustHex(t, datagramHex), mustHex(t, plainHex)
	s, err := from.Sealer(aead, link, epoch)
	if err != nil {
		t.Fatal(err)
	}
	s.first, s.counter = counter, counter
	got, err := s.Seal(bytes.Clone(datagram[:8]), plain, datagram[:8])
	if err != nil || !bytes.Equal(got, datagram) {
		t.Errorf("%s\nhave %x, %v", line, got, err)
	}
	o, err := to.Opener(aead, link, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := o.Open(nil, datagram[8:], datagram[:8], counter); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%s\nopened %x, %v", line, got, err)
	}
}

// The Noise library, set up as here, agrees with its own vectors for the two patterns.
func TestNoiseVectors(t *testing.T) {
	for _, v := range readVectors(t, "noise.txt", 8) {
		cfg := HandshakeConfig{Preshared: v.key(t, "preshared_key")}
		if v.text("init_static") == "" {
			cfg.Password = true
		}
		var sides [2]*noise.HandshakeState
		for i, name := range []string{"init", "resp"} {
			if !cfg.Password {
				cfg.Key = v.key(t, name+"_static")
				cfg.Peer = PrivateKey(v.key(t, "resp_static")).Public()
			}
			cfg.rand = bytes.NewReader(v.bytes(t, "gen_"+name+"_ephemeral"))
			c, err := noiseConfig(&cfg, name == "init")
			if err != nil {
				t.Fatal(err)
			}
			c.Prologue = v.bytes(t, "prologue")
			if sides[i], err = noise.NewHandshakeState(c); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 {
			payload, want := v.bytes(t, fmt.Sprintf("msg_%d_payload", i)), v.bytes(t, fmt.Sprintf("msg_%d_ciphertext", i))
			msg, _, _, err := sides[i].WriteMessage(nil, payload)
			if err != nil || !bytes.Equal(msg, want) {
				t.Errorf("%s: message %d is %x, %v", v.text("name"), i, msg, err)
			}
			if got, _, _, err := sides[1-i].ReadMessage(nil, msg); err != nil || !bytes.Equal(got, payload) {
				t.Errorf("%s: message %d read as %x, %v", v.text("name"), i, got, err)
			}
		}
	}
}

func FuzzResponderRead(f *testing.F) {
	for _, v := range []int{0, 47, 48, 95, 96, 200} {
		f.Add(bytes.Repeat([]byte{9}, v), v%2 == 0)
	}
	keys, password := keysParties(), passwordParties()
	f.Fuzz(func(t *testing.T, msg []byte, pw bool) {
		p := keys
		if pw {
			p = password
		}
		if _, _, err := p.newResponder(t).Read(msg); !errors.Is(err, ErrHandshake) {
			t.Fatal(err)
		}
	})
}

func FuzzInitiatorFinish(f *testing.F) {
	for _, v := range []int{0, 32, 47, 48, 96} {
		f.Add(bytes.Repeat([]byte{9}, v), v%2 == 0)
	}
	keys, password := keysParties(), passwordParties()
	f.Fuzz(func(t *testing.T, msg []byte, pw bool) {
		p := keys
		if pw {
			p = password
		}
		i, r := p.start(t)
		msg1, err := i.Init(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := i.Finish(msg); !errors.Is(err, ErrHandshake) {
			t.Fatal(err)
		}
		if _, _, err := r.Read(msg1); err != nil {
			t.Fatal(err)
		}
		msg2, _, err := r.Finish(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := i.Finish(msg2); err != nil {
			t.Fatal("the true message after a false one:", err)
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	for mode, newParties := range modes() {
		b.Run(mode, func(b *testing.B) {
			b.ReportAllocs()
			p := newParties()
			for b.Loop() {
				i, r := p.start(b)
				msg1, _ := i.Init(nil, nil)
				r.Read(msg1)
				msg2, _, _ := r.Finish(nil, nil)
				if _, _, err := i.Finish(msg2); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a forged first message costs a responder.
func BenchmarkRefuse(b *testing.B) {
	for mode, newParties := range modes() {
		b.Run(mode, func(b *testing.B) {
			b.ReportAllocs()
			p := newParties()
			msg := bytes.Repeat([]byte{9}, KeysInitSize)
			for b.Loop() {
				if _, _, err := p.newResponder(b).Read(msg); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

// A handshake that renews a session is one only between sides that have that session,
// and is not one that begins another.
func TestRenews(t *testing.T) {
	client, server := GeneratePrivateKey(), GeneratePrivateKey()
	for _, x := range []struct {
		initiator, responder [32]byte
		ok                   bool
	}{
		{[32]byte{}, [32]byte{}, true}, {[32]byte{1}, [32]byte{1}, true},
		{[32]byte{1}, [32]byte{}, false}, {[32]byte{}, [32]byte{1}, false}, {[32]byte{1}, [32]byte{2}, false},
	} {
		i, err := NewInitiator(HandshakeConfig{Key: client, Peer: server.Public(), Renews: x.initiator})
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewResponder(HandshakeConfig{Key: server, Renews: x.responder})
		if err != nil {
			t.Fatal(err)
		}
		msg, err := i.Init(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Read(msg); (err == nil) != x.ok {
			t.Errorf("initiator %x, responder %x: %v", x.initiator[:1], x.responder[:1], err)
		}
	}
}
