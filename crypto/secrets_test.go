package crypto

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

// newTestSecrets returns the secrets of both sides of a session.
func newTestSecrets(t testing.TB) (a, b *Secrets) {
	t.Helper()
	k1, k2, hash := [32]byte{1}, [32]byte{2}, bytes.Repeat([]byte{3}, 32)
	a, err := newSecrets(k1, k2, hash)
	if err != nil {
		t.Fatal(err)
	}
	b, err = newSecrets(k2, k1, hash)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// newTestPair returns a sealer and the opener for it.
func newTestPair(t testing.TB, aead AEAD) (*Sealer, *Opener) {
	t.Helper()
	a, b := newTestSecrets(t)
	s, err := a.Sealer(aead, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	o, err := b.Opener(aead, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

// HKDF as RFC 5869 writes it, with HMAC alone.
func TestKeySchedule(t *testing.T) {
	mac := func(key []byte, data ...[]byte) []byte {
		h := hmac.New(sha256.New, key)
		for _, d := range data {
			h.Write(d)
		}
		return h.Sum(nil)
	}
	a, _ := newTestSecrets(t)
	k1, hash := [32]byte{1}, bytes.Repeat([]byte{3}, 32)
	prk := mac(hash, k1[:])
	if !bytes.Equal(prk, a.send[:]) {
		t.Fatal("extract")
	}
	key := mac(prk, []byte("ml1 link\x01\x02\x03\x04\x05\x06\x07"), []byte{1})
	c, err := ChaCha20Poly1305.new((*[32]byte)(key))
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Sealer(ChaCha20Poly1305, 0x0203, 0x04050607)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Seal(nil, []byte("plaintext"), []byte("ad"))
	if err != nil || !bytes.Equal(got, c.Seal(nil, make([]byte, 12), []byte("plaintext"), []byte("ad"))) {
		t.Error("link key", err)
	}
	if seed := mac(prk, []byte("ml1 flow"), []byte{1}); a.SendFlowSeed() != binary.BigEndian.Uint64(seed) {
		t.Error("flow seed")
	}
}

// A packet opens only where it belongs: on its link, in its epoch, with its AEAD and
// direction, in its session.
func TestSeparation(t *testing.T) {
	a, b := newTestSecrets(t)
	other, err := newSecrets([32]byte{1}, [32]byte{2}, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	type place struct {
		side  string
		aead  AEAD
		link  uint16
		epoch uint32
	}
	sides := map[string]*Secrets{"a": a, "b": b, "other": other}
	peer := map[string]string{"a": "b", "b": "a", "other": ""}
	var places []place
	for side := range sides {
		for _, aead := range []AEAD{ChaCha20Poly1305, AES256GCM} {
			for _, link := range []uint16{0, 1, 0x100, 0xffff} {
				for _, epoch := range []uint32{0, 1, 0x10000, 0xffffffff} {
					places = append(places, place{side, aead, link, epoch})
				}
			}
		}
	}
	opened := 0
	for _, from := range places {
		s, err := sides[from.side].Sealer(from.aead, from.link, from.epoch)
		if err != nil {
			t.Fatal(err)
		}
		packet, err := s.Seal(nil, []byte("plaintext"), []byte("ad"))
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range places {
			o, err := sides[to.side].Opener(to.aead, to.link, to.epoch)
			if err != nil {
				t.Fatal(err)
			}
			want := peer[from.side] == to.side && from.aead == to.aead && from.link == to.link && from.epoch == to.epoch
			_, err = o.Open(nil, packet, []byte("ad"), 0)
			if want != (err == nil) {
				t.Errorf("from %v, opened at %v: %v", from, to, err)
			}
			if err == nil {
				opened++
			}
		}
	}
	if want := 2 * len(places) / 3; opened != want {
		t.Errorf("%d packets were opened, want %d", opened, want)
	}
}

func TestFlowSeeds(t *testing.T) {
	a, b := newTestSecrets(t)
	if a.SendFlowSeed() != b.RecvFlowSeed() || a.RecvFlowSeed() != b.SendFlowSeed() {
		t.Error("the seeds do not match crosswise")
	}
	if a.SendFlowSeed() == a.RecvFlowSeed() || a.SendFlowSeed() == 0 {
		t.Error("the seeds of the two directions are the same, or zero")
	}
	if a.Binding() != b.Binding() || a.Binding() != [32]byte(bytes.Repeat([]byte{3}, 32)) {
		t.Error("binding")
	}
}

func TestWipe(t *testing.T) {
	a, b := newTestSecrets(t)
	s, err := a.Sealer(ChaCha20Poly1305, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	a.Wipe()
	if a.send != [32]byte{} || a.recv != [32]byte{} {
		t.Error("secrets are left")
	}
	if _, err := a.Sealer(ChaCha20Poly1305, 1, 0); !errors.Is(err, errWiped) {
		t.Errorf("Sealer: %v", err)
	}
	if _, err := a.Opener(ChaCha20Poly1305, 1, 0); !errors.Is(err, errWiped) {
		t.Errorf("Opener: %v", err)
	}
	if a.SendFlowSeed() != 0 || a.RecvFlowSeed() != 0 {
		t.Error("flow seeds of wiped secrets")
	}
	o, err := b.Opener(ChaCha20Poly1305, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	packet, err := s.Seal(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Open(nil, packet, nil, 0); err != nil {
		t.Errorf("a sealer made before: %v", err)
	}
}

func TestUnknownAEAD(t *testing.T) {
	a, _ := newTestSecrets(t)
	for _, aead := range []AEAD{0, 3, 255} {
		_, err1 := a.Sealer(aead, 0, 0)
		_, err2 := a.Opener(aead, 0, 0)
		if !errors.Is(err1, ErrNoAEAD) || !errors.Is(err2, ErrNoAEAD) {
			t.Errorf("%v: %v, %v", aead, err1, err2)
		}
		if want := fmt.Sprintf("AEAD %d", uint8(aead)); aead.String() != want || aead.Bit() != 0 {
			t.Errorf("%q, bit %d", aead, aead.Bit())
		}
	}
}
