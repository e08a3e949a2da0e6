package crypto

import (
	"bytes"
	"testing"
)

func TestMAC1Vectors(t *testing.T) {
	for _, v := range readVectors(t, "derived.txt", 3) {
		var key [32]byte
		if v.text("public") != "" {
			key = MAC1Key(v.key(t, "public"))
		} else {
			key = MAC1PasswordKey(v.key(t, "key"))
		}
		if key != v.key(t, "mac1_key") {
			t.Errorf("%s: key %x", v.text("name"), key)
		}
		if mac := MAC1(key, v.bytes(t, "message")); !bytes.Equal(mac[:], v.bytes(t, "mac1")) {
			t.Errorf("%s: mac1 %x", v.text("name"), mac)
		}
	}
}

func TestVerifyMAC1(t *testing.T) {
	key, msg := MAC1Key(GeneratePrivateKey().Public()), []byte("message")
	mac := MAC1(key, msg)
	if !VerifyMAC1(key, msg, mac) {
		t.Error("refused")
	}
	for i := range 8 * len(mac) {
		bad := mac
		bad[i/8] ^= 1 << (i % 8)
		if VerifyMAC1(key, msg, bad) {
			t.Errorf("accepted with bit %d flipped", i)
		}
	}
	if VerifyMAC1(key, msg[1:], mac) || VerifyMAC1(MAC1Key(GeneratePrivateKey().Public()), msg, mac) {
		t.Error("accepted with another message or key")
	}
	if MAC1Key(PublicKey{1}) == MAC1PasswordKey(PresharedKey{1}) {
		t.Error("the modes have the same key")
	}
}

func BenchmarkVerifyMAC1(b *testing.B) {
	b.ReportAllocs()
	key, msg := MAC1Key(PublicKey{1}), make([]byte, 152)
	for b.Loop() {
		VerifyMAC1(key, msg, [MAC1Size]byte{})
	}
}
