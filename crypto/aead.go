package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/sys/cpu"
)

// An AEAD is an algorithm that protects the packets of a link. All have 32-byte keys,
// 12-byte nonces and 16-byte tags.
type AEAD uint8

const (
	// ChaCha20Poly1305 is the AEAD of RFC 8439. All peers have it.
	ChaCha20Poly1305 AEAD = 1
	// AES256GCM is AES-256 in Galois/Counter mode (NIST SP 800-38D). It is used if both
	// peers have hardware for it.
	AES256GCM AEAD = 2
)

// Overhead is what sealing adds to a plaintext, in bytes.
const Overhead = 16

// ErrNoAEAD says that the peers have no AEAD in common.
var ErrNoAEAD = errors.New("crypto: no AEAD in common")

// String returns the name of the algorithm.
func (a AEAD) String() string {
	switch a {
	case ChaCha20Poly1305:
		return "ChaCha20-Poly1305"
	case AES256GCM:
		return "AES-256-GCM"
	}
	return fmt.Sprintf("AEAD %d", uint8(a))
}

// Bit returns the mask in which only a is set. Of an AEAD that ML/1 does not have it
// is 0.
func (a AEAD) Bit() uint8 {
	if a != ChaCha20Poly1305 && a != AES256GCM {
		return 0
	}
	return 1 << (a - 1)
}

// PacketLimit returns the number of packets that one key protects at most: 2^28 with
// AES-256-GCM, which keeps an attacker's advantage below 2^-57 with packets of up to
// 2 KiB (RFC 8446, section 5.5), and with ChaCha20-Poly1305, which needs none, the 2^60
// at which a Sealer stops in any case.
func (a AEAD) PacketLimit() uint64 {
	if a == AES256GCM {
		return 1 << 28
	}
	return maxCounter
}

// Supported returns the mask of the AEADs to offer: bit 0, ChaCha20Poly1305, always; bit
// 1, AES256GCM, if the processor has instructions for it, without which it is slow and
// its timing leaks.
func Supported() uint8 {
	mask := ChaCha20Poly1305.Bit()
	if hasAES() {
		mask |= AES256GCM.Bit()
	}
	return mask
}

func hasAES() bool {
	return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ ||
		cpu.ARM64.HasAES && cpu.ARM64.HasPMULL ||
		cpu.S390X.HasAES && cpu.S390X.HasAESCTR && cpu.S390X.HasGHASH
}

// Choose returns the AEAD to use between peers that offer the masks a and b: AES256GCM
// if both do, else ChaCha20Poly1305 if both do. Otherwise the error matches ErrNoAEAD.
func Choose(a, b uint8) (AEAD, error) {
	switch {
	case a&b&AES256GCM.Bit() != 0:
		return AES256GCM, nil
	case a&b&ChaCha20Poly1305.Bit() != 0:
		return ChaCha20Poly1305, nil
	}
	return 0, fmt.Errorf("choose an AEAD from the masks %#x and %#x: %w", a, b, ErrNoAEAD)
}

// Chosen returns the one AEAD in mask, a responder's choice, which must be among those
// that were offered. Otherwise the error matches ErrNoAEAD.
func Chosen(mask, offered uint8) (AEAD, error) {
	if a := AEAD(bits.TrailingZeros8(mask) + 1); mask != 0 && mask == a.Bit() && mask&offered != 0 {
		return a, nil
	}
	return 0, fmt.Errorf("the peer chose the AEAD mask %#x of %#x: %w", mask, offered, ErrNoAEAD)
}

func (a AEAD) new(key *[KeySize]byte) (cipher.AEAD, error) {
	switch a {
	case ChaCha20Poly1305:
		return chacha20poly1305.New(key[:])
	case AES256GCM:
		block, err := aes.NewCipher(key[:])
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(block)
	}
	return nil, fmt.Errorf("%v is unknown: %w", a, ErrNoAEAD)
}
