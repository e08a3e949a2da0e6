package crypto

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2s"
)

// MinPassword is the length of the shortest password accepted, in characters.
const MinPassword = 16

// ErrWeakPassword says that a password is too short to resist offline guessing.
var ErrWeakPassword = errors.New("crypto: weak password")

// The cost of the Argon2id function of RFC 9106: its second recommended option.
const (
	argonPasses  = 3
	argonMemory  = 64 << 10 // KiB
	argonThreads = 4
)

// CheckPassword returns an error matching ErrWeakPassword if password is shorter than
// MinPassword characters, and nil otherwise. It cannot tell a guessable long password
// from a good one: GeneratePassword is better.
func CheckPassword(password string) error {
	if n := utf8.RuneCountInString(password); n < MinPassword {
		return fmt.Errorf("the password has %d characters, at least %d are needed; better generate one: %w", n, MinPassword, ErrWeakPassword)
	}
	return nil
}

// PasswordKey derives the key of password mode from a password and the name of the
// network, which may be empty. Both count byte for byte. It takes in the order of a
// tenth of a second and 64 MiB of memory: derive once, at start. It refuses what
// CheckPassword does.
func PasswordKey(password, network string) (PresharedKey, error) {
	if err := CheckPassword(password); err != nil {
		return PresharedKey{}, err
	}
	salt := blake2s.Sum256([]byte("ml1" + network))
	return PresharedKey(argon2.IDKey([]byte(password), salt[:16], argonPasses, argonMemory, argonThreads, KeySize)), nil
}

// passwordEncoding has no letters that are easily taken for digits.
var passwordEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// GeneratePassword returns a random password of 160 bits: eight groups of four lower
// case letters and digits, joined by hyphens. It needs no escaping between quotes.
func GeneratePassword() string {
	var b [20]byte
	rand.Read(b[:])
	s := passwordEncoding.EncodeToString(b[:])
	var groups []string
	for ; s != ""; s = s[4:] {
		groups = append(groups, s[:4])
	}
	return strings.Join(groups, "-")
}
