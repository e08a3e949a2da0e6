package crypto

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Secrets is what both sides have after a handshake. It is not printed.
type Secrets struct {
	send, recv [sha256.Size]byte // one pseudorandom key per direction
	binding    [32]byte
	wiped      bool
}

var errWiped = errors.New("the secrets are wiped")

// newSecrets takes the two keys of Noise's Split and its handshake hash.
func newSecrets(send, recv [32]byte, hash []byte) (*Secrets, error) {
	s := &Secrets{}
	copy(s.binding[:], hash)
	for _, k := range []struct{ dst, key *[32]byte }{{&s.send, &send}, {&s.recv, &recv}} {
		prk, err := hkdf.Extract(sha256.New, k.key[:], hash)
		if err != nil {
			return nil, err
		}
		copy(k.dst[:], prk)
		clear(prk)
		clear(k.key[:])
	}
	return s, nil
}

// Sealer returns the sealer of what this side sends on a link in an epoch. Ask for each
// (link, epoch) only once, whatever the AEAD: a second sealer would use packet numbers,
// and with the same AEAD nonces, again.
func (s *Secrets) Sealer(aead AEAD, link uint16, epoch uint32) (*Sealer, error) {
	c, err := s.cipher(&s.send, aead, link, epoch)
	if err != nil {
		return nil, fmt.Errorf("make sealer of link %d, epoch %d: %w", link, epoch, err)
	}
	return &Sealer{aead: c, limit: aead.PacketLimit()}, nil
}

// Opener returns the opener of what the peer sends on a link in an epoch. Ask for each
// (link, epoch) only once: a second opener would accept replays.
func (s *Secrets) Opener(aead AEAD, link uint16, epoch uint32) (*Opener, error) {
	c, err := s.cipher(&s.recv, aead, link, epoch)
	if err != nil {
		return nil, fmt.Errorf("make opener of link %d, epoch %d: %w", link, epoch, err)
	}
	return newOpener(c), nil
}

func (s *Secrets) cipher(prk *[32]byte, aead AEAD, link uint16, epoch uint32) (cipher.AEAD, error) {
	info := append(make([]byte, 0, 16), "ml1 link"...)
	info = append(info, uint8(aead))
	info = binary.BigEndian.AppendUint16(info, link)
	info = binary.BigEndian.AppendUint32(info, epoch)
	key, err := s.expand(prk, info, KeySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return aead.new((*[KeySize]byte)(key))
}

func (s *Secrets) expand(prk *[32]byte, info []byte, n int) ([]byte, error) {
	if s.wiped {
		return nil, errWiped
	}
	return hkdf.Expand(sha256.New, prk[:], string(info), n)
}

// SendFlowSeed returns the key of the hash that sorts the flows this side sends into
// buckets. It equals the peer's RecvFlowSeed. After Wipe it is 0.
func (s *Secrets) SendFlowSeed() uint64 { return s.flowSeed(&s.send) }

// RecvFlowSeed returns the key of the hash that sorts the flows the peer sends into
// buckets. It equals the peer's SendFlowSeed. After Wipe it is 0.
func (s *Secrets) RecvFlowSeed() uint64 { return s.flowSeed(&s.recv) }

func (s *Secrets) flowSeed(prk *[32]byte) uint64 {
	b, err := s.expand(prk, []byte("ml1 flow"), 8)
	if err != nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// Binding returns the handshake hash of Noise, which is the same on both sides and
// differs between any two handshakes. It is not a secret, but tells which packets
// belong together.
func (s *Secrets) Binding() [32]byte { return s.binding }

// Wipe forgets the secrets. Sealers and openers made before live on.
func (s *Secrets) Wipe() {
	clear(s.send[:])
	clear(s.recv[:])
	s.wiped = true
}

const redactedSecrets = "(session secrets)"

// String returns a constant.
func (s Secrets) String() string { return redactedSecrets }

// GoString is String.
func (s Secrets) GoString() string { return redactedSecrets }

// Format writes String, whatever the verb.
func (s Secrets) Format(f fmt.State, _ rune) { io.WriteString(f, redactedSecrets) }

// LogValue is String.
func (s Secrets) LogValue() slog.Value { return slog.StringValue(redactedSecrets) }
