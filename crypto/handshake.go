package crypto

import (
	"errors"
	"fmt"
	"io"

	"github.com/flynn/noise"
)

// protocolVersion is part of what both sides must agree on.
const protocolVersion = 1

// HandshakeConfig says who takes part in a handshake.
type HandshakeConfig struct {
	// Key is the private key of this side. Not used in password mode.
	Key PrivateKey
	// Peer is the public key of the other side. An initiator needs it. A responder may
	// leave it zero and decide on the key that Read returns; if set, all others are
	// refused. Not used in password mode.
	Peer PublicKey
	// Preshared is an additional symmetric key; zero is none, and both sides must have
	// the same. In password mode it is required, and comes from PasswordKey.
	Preshared PresharedKey
	// Password chooses password mode.
	Password bool
	// Network is the name of the network, the same on both sides. It may be empty.
	Network string
	// Renews is the Binding of the session whose keys the handshake is to replace; zero is
	// none. Both sides must have the same.
	Renews [32]byte

	rand io.Reader // of ephemeral keys; tests set it
}

var (
	// ErrHandshake says that a handshake message is not authentic: it was not made for
	// this side, or with another key, preshared key, password or network name.
	ErrHandshake = errors.New("crypto: handshake message not authentic")
	// ErrPeer says that a handshake message comes from another peer than was configured.
	ErrPeer = errors.New("crypto: handshake message of another peer")
	// ErrState says that a method was called out of order.
	ErrState = errors.New("crypto: handshake method called out of order")
)

// Sizes of handshake messages without payload, in bytes.
const (
	// KeysInitSize is the length of the first message in keys mode.
	KeysInitSize = 96
	// PasswordInitSize is the length of the first message in password mode.
	PasswordInitSize = 48
	// ResponseSize is the length of the second message in both modes.
	ResponseSize = 48
)

// noiseState is what Initiator and Responder have in common.
type noiseState struct {
	hs *noise.HandshakeState
	// static is the private key that hs refers to.
	static   []byte
	password bool
}

func newNoiseState(cfg *HandshakeConfig, initiator bool) (noiseState, error) {
	c, err := noiseConfig(cfg, initiator)
	if err != nil {
		return noiseState{}, err
	}
	hs, err := noise.NewHandshakeState(c)
	return noiseState{hs: hs, static: c.StaticKeypair.Private, password: cfg.Password}, err
}

func noiseConfig(cfg *HandshakeConfig, initiator bool) (noise.Config, error) {
	c := noise.Config{
		CipherSuite: noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashBLAKE2s),
		Random:      cfg.rand,
		Initiator:   initiator,
		// Always set, to zeros if there is none: the library would take a nil one for the
		// empty string.
		PresharedKey: append([]byte(nil), cfg.Preshared[:]...),
	}
	if cfg.Renews == ([32]byte{}) {
		c.Prologue = append([]byte("ML/1"), protocolVersion)
	} else {
		c.Prologue = append(append([]byte("ML/1 rekey"), protocolVersion), cfg.Renews[:]...)
	}
	c.Prologue = append(c.Prologue, cfg.Network...)
	if cfg.Password {
		if cfg.Preshared.IsZero() {
			return noise.Config{}, errors.New("password mode needs Preshared, from PasswordKey")
		}
		c.Pattern, c.PresharedKeyPlacement = noise.HandshakeNN, 0
	} else {
		switch {
		case cfg.Key.IsZero():
			return noise.Config{}, errors.New("no private key is configured")
		case initiator && cfg.Peer.IsZero():
			return noise.Config{}, errors.New("no public key of the peer is configured")
		case !cfg.Peer.IsZero() && cfg.Peer.lowOrder():
			return noise.Config{}, fmt.Errorf("the public key of the peer is %w", errLowOrder)
		}
		c.Pattern, c.PresharedKeyPlacement = noise.HandshakeIK, 2
		pub := cfg.Key.Public()
		c.StaticKeypair = noise.DHKey{Private: append([]byte(nil), cfg.Key[:]...), Public: pub[:]}
		if initiator {
			c.PeerStatic = append([]byte(nil), cfg.Peer[:]...)
		}
	}
	return c, nil
}

// secrets ends the handshake. first protects what the initiator sends.
func (n *noiseState) secrets(initiator bool, first, second *noise.CipherState) (*Secrets, error) {
	send, recv := first.UnsafeKey(), second.UnsafeKey()
	if !initiator {
		send, recv = recv, send
	}
	s, err := newSecrets(send, recv, n.hs.ChannelBinding())
	n.wipe()
	return s, err
}

// wipe forgets the private keys. The handshake state cannot be used any more.
func (n *noiseState) wipe() {
	if n.hs != nil {
		clear(n.hs.LocalEphemeral().Private)
	}
	clear(n.static)
	n.hs = nil
}

// checkEphemeral refuses messages that begin with a point of low order. It comes before
// the Noise library sees the message, because that one changes its state first.
func checkEphemeral(msg []byte) error {
	if len(msg) < KeySize {
		return ErrHandshake
	}
	if PublicKey(msg[:KeySize]).lowOrder() {
		return fmt.Errorf("the ephemeral key is %w: %w", errLowOrder, ErrHandshake)
	}
	return nil
}

// An Initiator is the side of a handshake that speaks first.
type Initiator struct {
	noise noiseState
	sent  bool
}

// NewInitiator returns an initiator of one handshake. It keeps no reference to cfg.
func NewInitiator(cfg HandshakeConfig) (*Initiator, error) {
	n, err := newNoiseState(&cfg, true)
	if err != nil {
		return nil, fmt.Errorf("start handshake: %w", err)
	}
	return &Initiator{noise: n}, nil
}

// Init appends the first Noise message, which carries payload, to dst. It can be called
// once: to repeat the message, send the same bytes again. payload is protected from all
// but the responder, but can be replayed, and in keys mode has no forward secrecy; in
// password mode, whoever has the password can read it.
func (i *Initiator) Init(dst, payload []byte) ([]byte, error) {
	if i.sent || i.noise.hs == nil {
		return dst, ErrState
	}
	i.sent = true
	msg, _, _, err := i.noise.hs.WriteMessage(dst, payload)
	if err != nil {
		return dst, fmt.Errorf("write first handshake message: %w", err)
	}
	return msg, nil
}

// Finish reads the second Noise message. It returns its payload and the secrets of the
// session. If the message is not authentic, which an error matching ErrHandshake says,
// the handshake goes on as if it had not come.
func (i *Initiator) Finish(msg []byte) (payload []byte, s *Secrets, err error) {
	if !i.sent || i.noise.hs == nil {
		return nil, nil, ErrState
	}
	if err := checkEphemeral(msg); err != nil {
		return nil, nil, fmt.Errorf("read second handshake message: %w", err)
	}
	payload, first, second, err := i.noise.hs.ReadMessage(nil, msg)
	if err != nil {
		return nil, nil, fmt.Errorf("read second handshake message: %w", ErrHandshake)
	}
	s, err = i.noise.secrets(true, first, second)
	if err != nil {
		return nil, nil, err
	}
	return payload, s, nil
}

// Wipe gives the handshake up and forgets its keys.
func (i *Initiator) Wipe() { i.noise.wipe() }

// Format writes a constant, whatever the verb, and never a key.
func (i Initiator) Format(f fmt.State, _ rune) { io.WriteString(f, "(handshake initiator)") }

// A Responder is the side of a handshake that answers one first message.
type Responder struct {
	noise noiseState
	peer  PublicKey // the only one allowed, if not zero
	state responderState
}

type responderState uint8

const (
	responderNew  responderState = iota // until Read
	responderRead                       // until Finish
	responderDone                       // after an error, Finish or Wipe
)

// NewResponder returns a responder to one message. It keeps no reference to cfg.
func NewResponder(cfg HandshakeConfig) (*Responder, error) {
	n, err := newNoiseState(&cfg, false)
	if err != nil {
		return nil, fmt.Errorf("answer handshake: %w", err)
	}
	return &Responder{noise: n, peer: cfg.Peer}, nil
}

// Read reads the first Noise message. It returns its payload and, in keys mode, the
// public key of the initiator. Both are what the owner of that key once sent, but the
// message may be a replay until a packet opens under the new keys. The error matches
// ErrHandshake or ErrPeer; the responder is then of no more use.
func (r *Responder) Read(msg []byte) (payload []byte, peer PublicKey, err error) {
	if r.state != responderNew {
		return nil, PublicKey{}, ErrState
	}
	payload, peer, err = r.read(msg)
	if err != nil {
		r.Wipe()
		return nil, PublicKey{}, fmt.Errorf("read first handshake message: %w", err)
	}
	r.state = responderRead
	return payload, peer, nil
}

func (r *Responder) read(msg []byte) (payload []byte, peer PublicKey, err error) {
	if err := checkEphemeral(msg); err != nil {
		return nil, PublicKey{}, err
	}
	payload, _, _, err = r.noise.hs.ReadMessage(nil, msg)
	if err != nil {
		return nil, PublicKey{}, ErrHandshake
	}
	if r.noise.password {
		return payload, PublicKey{}, nil
	}
	peer = PublicKey(r.noise.hs.PeerStatic())
	if !r.peer.IsZero() && peer != r.peer {
		return nil, PublicKey{}, ErrPeer
	}
	return payload, peer, nil
}

// SetPreshared replaces the preshared key, which in keys mode is not needed before
// Finish and so can be looked up by the peer that Read returned. Zero is none. In
// password mode it has no effect: the key was needed by Read.
func (r *Responder) SetPreshared(psk PresharedKey) {
	if r.noise.password || r.noise.hs == nil {
		return
	}
	if err := r.noise.hs.SetPresharedKey(psk[:]); err != nil {
		panic("crypto: noise does not take a 32-byte preshared key: " + err.Error())
	}
}

// Finish appends the second Noise message, which carries payload, to dst, and returns
// the secrets of the session. Until a packet opens under them, nothing proves that the
// initiator is there and has the preshared key.
func (r *Responder) Finish(dst, payload []byte) (msg []byte, s *Secrets, err error) {
	if r.state != responderRead {
		return dst, nil, ErrState
	}
	defer r.Wipe()
	msg, first, second, err := r.noise.hs.WriteMessage(dst, payload)
	if err != nil {
		return dst, nil, fmt.Errorf("write second handshake message: %w", err)
	}
	s, err = r.noise.secrets(false, first, second)
	if err != nil {
		return dst, nil, err
	}
	return msg, s, nil
}

// Wipe gives the handshake up and forgets its keys.
func (r *Responder) Wipe() {
	r.noise.wipe()
	r.state = responderDone
}

// Format writes a constant, whatever the verb, and never a key.
func (r Responder) Format(f fmt.State, _ rune) { io.WriteString(f, "(handshake responder)") }
