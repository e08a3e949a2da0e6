package crypto

import (
	"crypto/subtle"

	"golang.org/x/crypto/blake2s"
)

// MAC1Size is the length of mac1, in bytes.
const MAC1Size = 16

// MAC1Key returns the key of mac1 on messages to the owner of pub, the responder, in
// keys mode. It is as public as pub.
func MAC1Key(pub PublicKey) [32]byte {
	return blake2s.Sum256(append([]byte("ml1 mac1 keys"), pub[:]...))
}

// MAC1PasswordKey returns the key of mac1 in password mode. It is a secret.
func MAC1PasswordKey(psk PresharedKey) [32]byte {
	return blake2s.Sum256(append([]byte("ml1 mac1 password"), psk[:]...))
}

// MAC1 returns the keyed BLAKE2s-128 (RFC 7693) of msg. It tells a responder, before it
// spends work, that the sender knows whom it talks to; it proves nothing more.
func MAC1(key [32]byte, msg []byte) (mac [MAC1Size]byte) {
	h, err := blake2s.New128(key[:])
	if err != nil {
		panic("crypto: BLAKE2s does not take a 32-byte key: " + err.Error())
	}
	h.Write(msg)
	h.Sum(mac[:0])
	return mac
}

// VerifyMAC1 reports, in constant time, whether mac is the mac1 of msg.
func VerifyMAC1(key [32]byte, msg []byte, mac [MAC1Size]byte) bool {
	want := MAC1(key, msg)
	return subtle.ConstantTimeCompare(want[:], mac[:]) == 1
}
