package gate

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"golang.org/x/crypto/blake2s"
)

const (
	// TokenSize is the length of a token, in bytes.
	TokenSize = 32
	// TokenLife is how long a token is good.
	TokenLife = 10 * time.Second

	// period is how long one key makes tokens. It is no less than TokenLife, so that the
	// present key and the one before have made all tokens that are still good.
	period = time.Minute

	ageSize = 8 // of the time at the start of a token
)

// A Source is where a datagram came from: an address, and the local port, or the
// connection, that it arrived at.
type Source struct {
	Addr netip.AddrPort // zero on a transport that has no addresses
	Port uint32
}

// Tokens issues and checks the tokens that prove an address: a stranger gets one sent
// to the address that it claims, for the one message that it wants to send, and must
// repeat the message with the token in it. What is issued is not remembered: a token
// holds its own age and a message authentication code, under a key that is replaced
// every minute and dies with the process. It is opaque to who gets it.
type Tokens struct {
	rand  io.Reader
	start time.Time // ages are counted from here
	turn  int64     // number of the present period
	keys  [2][32]byte
}

// NewTokens returns Tokens with fresh keys.
func NewTokens(now time.Time) *Tokens { return newTokens(now, rand.Reader) }

func newTokens(now time.Time, random io.Reader) *Tokens {
	t := &Tokens{rand: random, start: now}
	t.renew(0)
	t.renew(1)
	return t
}

func (t *Tokens) renew(turn int64) {
	if _, err := io.ReadFull(t.rand, t.keys[turn&1][:]); err != nil {
		panic("gate: no randomness: " + err.Error()) // crypto/rand never fails
	}
}

// advance replaces the keys whose time is over.
func (t *Tokens) advance(now time.Time) {
	turn := int64(now.Sub(t.start) / period)
	switch {
	case turn <= t.turn:
		return
	case turn > t.turn+1:
		t.renew(turn - 1)
	}
	t.renew(turn)
	t.turn = turn
}

// Issue returns a token for a message that claims to come from a source.
func (t *Tokens) Issue(now time.Time, from Source, message []byte) (token [TokenSize]byte) {
	t.advance(now)
	age := now.Sub(t.start)
	binary.BigEndian.PutUint64(token[:], uint64(age))
	t.sign(token[ageSize:], age, from, message)
	return token
}

// Check reports whether a token was issued for this message from this source within
// TokenLife.
func (t *Tokens) Check(now time.Time, token *[TokenSize]byte, from Source, message []byte) bool {
	t.advance(now)
	issued := time.Duration(binary.BigEndian.Uint64(token[:]))
	if age := now.Sub(t.start) - issued; issued < 0 || age < 0 || age > TokenLife {
		return false
	}
	var want [TokenSize - ageSize]byte
	t.sign(want[:], issued, from, message)
	return subtle.ConstantTimeCompare(want[:], token[ageSize:]) == 1
}

// sign fills mac with the authentication code of a token.
func (t *Tokens) sign(mac []byte, issued time.Duration, from Source, message []byte) {
	h, err := blake2s.New256(t.keys[int64(issued/period)&1][:])
	if err != nil {
		panic("gate: BLAKE2s does not take a 32-byte key: " + err.Error())
	}
	var head [8 + 16 + 2 + 4]byte
	binary.BigEndian.PutUint64(head[:], uint64(issued))
	addr := from.Addr.Addr().Unmap()
	if addr.IsValid() {
		a := addr.As16()
		copy(head[8:], a[:])
	}
	binary.BigEndian.PutUint16(head[24:], from.Addr.Port())
	binary.BigEndian.PutUint32(head[26:], from.Port)
	h.Write(head[:])
	h.Write(message)
	var sum [blake2s.Size]byte
	copy(mac, h.Sum(sum[:0]))
}
