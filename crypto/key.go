package crypto

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/crypto/curve25519"
)

// KeySize is the length of all keys, in bytes.
const KeySize = 32

// A PrivateKey is an X25519 private key. Its text form, and only that, comes from
// EncodeText: fmt, log/slog and encoding/json show that there is a key but not which.
// (fmt cannot do so for a key in an unexported field of a struct: do not print these.)
type PrivateKey [KeySize]byte

// A PublicKey is an X25519 public key.
type PublicKey [KeySize]byte

// A PresharedKey is a symmetric key that both sides know. The zero PresharedKey means
// that there is none. Like a PrivateKey it is not printed.
type PresharedKey [KeySize]byte

// GeneratePrivateKey returns a new random private key.
func GeneratePrivateKey() PrivateKey {
	var k PrivateKey
	rand.Read(k[:])
	// Clamped as RFC 7748, section 5, does at each use, so that the text form is the one
	// that WireGuard's tools would print.
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k
}

// GeneratePresharedKey returns a new random preshared key.
func GeneratePresharedKey() PresharedKey {
	var k PresharedKey
	rand.Read(k[:])
	return k
}

// Public returns the public key that belongs to k.
func (k PrivateKey) Public() PublicKey {
	pub, err := curve25519.X25519(k[:], curve25519.Basepoint)
	if err != nil {
		panic("crypto: the base point has a large order: " + err.Error())
	}
	return PublicKey(pub)
}

// IsZero reports whether k is the zero key, which is no valid private key.
func (k PrivateKey) IsZero() bool { return k == PrivateKey{} }

// IsZero reports whether k is the zero key, which is no valid public key.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// IsZero reports whether k is the zero key, which means that there is none.
func (k PresharedKey) IsZero() bool { return k == PresharedKey{} }

// ParsePrivateKey parses the text form of a private key: 32 bytes in standard base64,
// as WireGuard has it. The all-zero key is refused.
func ParsePrivateKey(s string) (PrivateKey, error) {
	b, err := parseKey("private", s)
	return PrivateKey(b), err
}

// ParsePublicKey parses the text form of a public key: 32 bytes in standard base64, as
// WireGuard has it. Points of low order, zero among them, are refused.
func ParsePublicKey(s string) (PublicKey, error) {
	b, err := parseKey("public", s)
	if err != nil {
		return PublicKey{}, err
	}
	k := PublicKey(b)
	if k.lowOrder() {
		return PublicKey{}, errors.New("parse public key: " + errLowOrder.Error() + "; no private key has it as its public key")
	}
	return k, nil
}

// ParsePresharedKey parses the text form of a preshared key: 32 bytes in standard
// base64, as WireGuard has it. The all-zero key is refused: to have none, leave it out.
func ParsePresharedKey(s string) (PresharedKey, error) {
	b, err := parseKey("preshared", s)
	return PresharedKey(b), err
}

// textSize is the length of the text form of keys.
const textSize = 44

// parseKey never quotes s in an error: it may be a secret in the wrong place.
func parseKey(kind, s string) (k [KeySize]byte, err error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	switch {
	case s == "":
		return k, fmt.Errorf("parse %s key: it is empty", kind)
	case err != nil:
		var at base64.CorruptInputError
		if len(s) == textSize && errors.As(err, &at) {
			return k, fmt.Errorf("parse %s key: not standard base64 at character %d", kind, int64(at)+1)
		}
		return k, fmt.Errorf("parse %s key: not standard base64 of %d bytes: want %d characters, have %d", kind, KeySize, textSize, len(s))
	case len(s) != textSize || len(b) != KeySize:
		return k, fmt.Errorf("parse %s key: want %d characters for %d bytes, have %d for %d", kind, textSize, KeySize, len(s), len(b))
	}
	copy(k[:], b)
	if k == [KeySize]byte{} {
		return k, fmt.Errorf("parse %s key: it is all zero", kind)
	}
	return k, nil
}

// EncodeText returns the secret text form of k, which ParsePrivateKey reads.
func (k PrivateKey) EncodeText() string { return base64.StdEncoding.EncodeToString(k[:]) }

// EncodeText returns the text form of k, which ParsePublicKey reads.
func (k PublicKey) EncodeText() string { return base64.StdEncoding.EncodeToString(k[:]) }

// EncodeText returns the secret text form of k, which ParsePresharedKey reads.
func (k PresharedKey) EncodeText() string { return base64.StdEncoding.EncodeToString(k[:]) }

// String returns the text form of k.
func (k PublicKey) String() string { return k.EncodeText() }

// MarshalText returns the text form of k.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.EncodeText()), nil }

// UnmarshalText is ParsePublicKey.
func (k *PublicKey) UnmarshalText(text []byte) (err error) {
	*k, err = ParsePublicKey(string(text))
	return err
}

// errImplicit is returned where a library asks for a secret on its own account, as
// encoding/json does on behalf of log/slog.
var errImplicit = errors.New("crypto: secret keys are not marshaled; call EncodeText to get the text")

const (
	redactedPrivate   = "(private key)"
	redactedPreshared = "(preshared key)"
	redactedNone      = "(none)"
)

// String says that there is a key, not which.
func (k PrivateKey) String() string {
	if k.IsZero() {
		return redactedNone
	}
	return redactedPrivate
}

// GoString is String.
func (k PrivateKey) GoString() string { return k.String() }

// Format writes String, whatever the verb.
func (k PrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue is String.
func (k PrivateKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText returns an error, so that no encoder writes the key by accident.
func (k PrivateKey) MarshalText() ([]byte, error) { return nil, errImplicit }

// UnmarshalText is ParsePrivateKey.
func (k *PrivateKey) UnmarshalText(text []byte) (err error) {
	*k, err = ParsePrivateKey(string(text))
	return err
}

// String says whether there is a key, not which.
func (k PresharedKey) String() string {
	if k.IsZero() {
		return redactedNone
	}
	return redactedPreshared
}

// GoString is String.
func (k PresharedKey) GoString() string { return k.String() }

// Format writes String, whatever the verb.
func (k PresharedKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue is String.
func (k PresharedKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText returns an error, so that no encoder writes the key by accident.
func (k PresharedKey) MarshalText() ([]byte, error) { return nil, errImplicit }

// UnmarshalText is ParsePresharedKey.
func (k *PresharedKey) UnmarshalText(text []byte) (err error) {
	*k, err = ParsePresharedKey(string(text))
	return err
}

var errLowOrder = errors.New("a point of low order")

// lowOrder reports whether k is one of the encodings of a point whose order divides
// 8, for which X25519 gives zero whatever the scalar. X25519 ignores the top bit.
func (k PublicKey) lowOrder() bool {
	k[31] &= 0x7f
	switch k {
	case PublicKey{}, PublicKey{1},
		PublicKey{
			0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
			0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
		},
		PublicKey{
			0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
			0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
		},
		nearPrime(0xec), nearPrime(0xed), nearPrime(0xee):
		return true
	}
	return false
}

// nearPrime returns the encoding of 2^255 - 256 + low.
func nearPrime(low byte) (k PublicKey) {
	for i := range k {
		k[i] = 0xff
	}
	k[0], k[31] = low, 0x7f
	return k
}
