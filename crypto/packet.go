package crypto

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// maxCounter is where packet numbers end, far before they could repeat.
	maxCounter = 1 << 60
	// maxFailed is the number of forgeries after which a key is given up: the integrity
	// limit of ChaCha20-Poly1305 in RFC 9001, section 6.6, and below that of AES-GCM.
	maxFailed = 1 << 36
)

var (
	// ErrExhausted says that a key has been used as often as is safe. Only a new session
	// or epoch helps.
	ErrExhausted = errors.New("crypto: key exhausted")
	// ErrReplay says that a packet was opened before, or is too old to tell.
	ErrReplay = errors.New("crypto: packet replayed or too old")
	// ErrAuth says that a packet is not authentic.
	ErrAuth = errors.New("crypto: packet not authentic")
)

// nonce is 4 zero bytes and the packet number.
type nonce [12]byte

func (n *nonce) set(counter uint64) []byte {
	binary.BigEndian.PutUint64(n[4:], counter)
	return n[:]
}

// A Sealer protects the packets that one side sends on one link in one epoch. It
// numbers them from 0, or goes on where the sealer of the epoch before was. It is for
// one goroutine.
type Sealer struct {
	aead    cipher.AEAD
	limit   uint64 // packets that the key may protect; 0 is maxCounter
	first   uint64
	counter uint64
	nonce   nonce // here so that it does not escape to the heap at each packet
}

// Counter returns the packet number that the next Seal will use.
func (s *Sealer) Counter() uint64 { return s.counter }

// Used returns the number of packets that the key has protected.
func (s *Sealer) Used() uint64 { return s.counter - s.first }

// Continue makes the packet numbers of s, which has sealed nothing yet, go on from
// those of before, the sealer of the same link in the epoch before, which must not be
// used any more. So the numbers of a link are those of its whole session.
func (s *Sealer) Continue(before *Sealer) { s.first, s.counter = before.counter, before.counter }

// Wipe forgets the key: nothing is sealed any more.
func (s *Sealer) Wipe() { s.aead = nil }

// Seal appends the sealed plaintext to dst and counts the packet. ad is authenticated
// with it, and is not sent. To seal in place pass plaintext[:0] as dst, with a capacity
// for Overhead more bytes; otherwise dst and plaintext must not overlap. After as many
// packets as AEAD.PacketLimit says it returns ErrExhausted. It does not allocate if dst
// has the capacity.
func (s *Sealer) Seal(dst, plaintext, ad []byte) ([]byte, error) {
	if s.aead == nil || s.counter >= maxCounter || s.limit != 0 && s.Used() >= s.limit {
		return dst, ErrExhausted
	}
	dst = s.aead.Seal(dst, s.nonce.set(s.counter), plaintext, ad)
	s.counter++
	return dst, nil
}

// An Opener opens the packets that the peer sends on one link in one epoch, each at
// most once. It is for one goroutine.
type Opener struct {
	aead    cipher.AEAD
	nonce   nonce
	failed  uint64
	numbers *numbers
}

// numbers are the packet numbers that have arrived on a link, in all epochs.
type numbers struct {
	window   Window
	received uint64
}

func newOpener(aead cipher.AEAD) *Opener { return &Opener{aead: aead, numbers: new(numbers)} }

// Continue makes o, which has opened nothing yet, share its packet numbers with before,
// the opener of the same link in the epoch before: a number is accepted once, by
// whichever of the two. Both may be used, by the same goroutine.
func (o *Opener) Continue(before *Opener) { o.numbers = before.numbers }

// Expand returns the packet number whose low 32 bits are low and which is nearest to
// the one after the highest accepted (RFC 9000, appendix A.3).
func (o *Opener) Expand(low uint32) uint64 {
	const half, full = 1 << 31, 1 << 32
	var expected uint64
	if highest, ok := o.numbers.window.Highest(); ok {
		expected = highest + 1
	}
	counter := expected&^(full-1) | uint64(low)
	switch {
	case counter+half <= expected && counter < maxCounter-full:
		return counter + full
	case counter > expected+half && counter >= full:
		return counter - full
	}
	return counter
}

// Open appends the opened ciphertext to dst. ad is what was given to Seal, counter the
// packet number, from Expand. To open in place pass ciphertext[:0] as dst; otherwise
// the two must not overlap. The errors are ErrReplay, ErrAuth and, for good once 2^36
// packets were not authentic, ErrExhausted. After an error nothing has changed but the
// count of failures; in place, the ciphertext is destroyed by ErrAuth. It does not
// allocate if dst has the capacity.
func (o *Opener) Open(dst, ciphertext, ad []byte, counter uint64) ([]byte, error) {
	if o.aead == nil || o.failed >= maxFailed || counter >= maxCounter {
		return dst, ErrExhausted
	}
	if !o.numbers.window.Check(counter) {
		return dst, ErrReplay
	}
	plaintext, err := o.aead.Open(dst, o.nonce.set(counter), ciphertext, ad)
	if err != nil {
		o.failed++
		return dst, ErrAuth
	}
	o.numbers.window.Mark(counter)
	o.numbers.received++
	return plaintext, nil
}

// Wipe forgets the key: nothing is opened any more. An opener that continues o keeps the
// packet numbers.
func (o *Opener) Wipe() { o.aead = nil }

// Highest returns the highest packet number opened, and false if none was. What was
// opened in the epochs before that it continues counts, too.
func (o *Opener) Highest() (uint64, bool) { return o.numbers.window.Highest() }

// Received returns the number of packets opened, like Highest.
func (o *Opener) Received() uint64 { return o.numbers.received }

// Failed returns the number of packets that were not authentic.
func (o *Opener) Failed() uint64 { return o.failed }

// Format writes the packet number, whatever the verb, and never the key.
func (s Sealer) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "(sealer at packet %d)", s.counter) }

// Format writes the counts of packets, whatever the verb, and never the key.
func (o Opener) Format(f fmt.State, _ rune) {
	io.WriteString(f, fmt.Sprintf("(opener of %d packets, %d not authentic)", o.numbers.received, o.failed))
}
