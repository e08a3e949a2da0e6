package wire

import "encoding/binary"

// A Kind is the kind of a handshake message.
type Kind uint8

const (
	// KindInit is the first message, an Init.
	KindInit Kind = 1
	// KindResponse is the answer, a Response.
	KindResponse Kind = 2
	// KindRetry asks for the first message again, with a token, a Retry.
	KindRetry Kind = 3
)

// A Mode says how the peers know each other.
type Mode uint8

const (
	// ModeKeys is Noise IKpsk2: each side has a key pair.
	ModeKeys Mode = 0
	// ModePassword is Noise NNpsk0: both sides have one password.
	ModePassword Mode = 1
)

// Sizes of handshake messages, in bytes.
const (
	// MACSize is the length of mac1.
	MACSize = 16
	// TokenSize is the length of the token.
	TokenSize = 32
	// MinInitSize is the smallest INIT datagram.
	MinInitSize = 200
	// MaxNoiseSize is the longest Noise message in an INIT or a RESP. It is a limit of
	// ML/1, far below that of Noise, so that neither needs IP fragments on usual paths.
	MaxNoiseSize = 1152

	// noiseOffset is where the Noise message starts: header, attempt, length.
	noiseOffset = HeaderSize + 8 + 2
	initTrailer = MACSize + TokenSize
)

// ResponseOverhead is what RESP adds to its Noise message, in bytes.
const ResponseOverhead = noiseOffset

// Init is the first handshake message, from the initiator.
type Init struct {
	Mode Mode
	// Attempt is a random number that the Response repeats.
	Attempt uint64
	// Noise is the first Noise message, at most MaxNoiseSize bytes. ParseInit borrows it
	// from its argument.
	Noise []byte
	// Size is the length of the whole datagram. Append pads up to it; less than needed,
	// or than MinInitSize, means as small as allowed. A RESP must not be longer.
	Size int
	// Token is that of a Retry, or zero. mac1 does not cover it: see SetToken.
	Token [TokenSize]byte
	// MAC1 authenticates all that precedes it in the datagram.
	MAC1 [MACSize]byte
}

// Append appends the datagram. If mac1 is not nil, it is called with all the bytes
// that mac1 covers, and its result takes the place of m.MAC1.
func (m *Init) Append(b []byte, mac1 func(covered []byte) [MACSize]byte) []byte {
	start := len(b)
	b = appendHandshake(b, KindInit, m.Mode, m.Attempt, m.Noise)
	if pad := max(m.Size, MinInitSize) - initTrailer - (len(b) - start); pad > 0 {
		b = append(b, make([]byte, pad)...)
	}
	mac := m.MAC1
	if mac1 != nil {
		mac = mac1(b[start:])
	}
	b = append(b, mac[:]...)
	return append(b, m.Token[:]...)
}

// ParseInit parses an INIT datagram. covered is the part of b that mac1 covers. The
// caller verifies mac1 before it spends more work on the message. It does not allocate,
// since anybody can send such messages.
func ParseInit(b []byte) (m Init, covered []byte, err error) {
	noise, rest, err := parseHandshake(b, KindInit)
	if err != nil {
		return Init{}, nil, err
	}
	if len(b) < MinInitSize || len(rest) < initTrailer {
		return Init{}, nil, ErrTruncated
	}
	pad, trailer := rest[:len(rest)-initTrailer], rest[len(rest)-initTrailer:]
	if !allZero(pad) {
		return Init{}, nil, ErrPadding
	}
	m = Init{Mode: Mode(b[6]), Attempt: binary.BigEndian.Uint64(b[8:]), Noise: noise, Size: len(b)}
	copy(m.MAC1[:], trailer)
	copy(m.Token[:], trailer[MACSize:])
	return m, b[:len(b)-initTrailer], nil
}

// Response is the second handshake message, from the responder.
type Response struct {
	Mode Mode
	// Attempt is that of the Init.
	Attempt uint64
	// Noise is the second Noise message, at most MaxNoiseSize bytes. ParseResponse
	// borrows it from its argument.
	Noise []byte
}

// Append appends the datagram.
func (m *Response) Append(b []byte) []byte {
	return appendHandshake(b, KindResponse, m.Mode, m.Attempt, m.Noise)
}

// ParseResponse parses a RESP datagram. It does not allocate.
func ParseResponse(b []byte) (Response, error) {
	noise, rest, err := parseHandshake(b, KindResponse)
	if err != nil {
		return Response{}, err
	}
	if len(rest) != 0 {
		return Response{}, ErrLength
	}
	return Response{Mode: Mode(b[6]), Attempt: binary.BigEndian.Uint64(b[8:]), Noise: noise}, nil
}

// SetToken replaces the token of the INIT datagram b, which nothing else depends on.
func SetToken(b []byte, token [TokenSize]byte) { copy(b[len(b)-TokenSize:], token[:]) }

// Retry tells an initiator to prove that it receives at its address, by sending its
// Init again with the token.
type Retry struct {
	Mode Mode
	// Attempt is that of the Init.
	Attempt uint64
	Token   [TokenSize]byte
}

// RetrySize is the length of a RETRY datagram, in bytes.
const RetrySize = HeaderSize + 8 + TokenSize

// Append appends the datagram.
func (m *Retry) Append(b []byte) []byte {
	b = append(b, 0, 0, 0, 0, uint8(KindRetry), Version, uint8(m.Mode), 0)
	b = binary.BigEndian.AppendUint64(b, m.Attempt)
	return append(b, m.Token[:]...)
}

// ParseRetry parses a RETRY datagram. It does not allocate.
func ParseRetry(b []byte) (m Retry, err error) {
	switch err := parseHandshakeHeader(b); {
	case err != nil:
		return Retry{}, err
	case Kind(b[4]) != KindRetry:
		return Retry{}, ErrKind
	case len(b) != RetrySize:
		return Retry{}, ErrLength
	}
	m = Retry{Mode: Mode(b[6]), Attempt: binary.BigEndian.Uint64(b[8:])}
	copy(m.Token[:], b[16:])
	return m, nil
}

// HandshakeType tells what handshake message b is, without looking further than its
// header. It returns false if b is none, or of another version, or of a mode or kind
// that ML/1 does not have.
func HandshakeType(b []byte) (k Kind, m Mode, ok bool) {
	if parseHandshakeHeader(b) != nil {
		return 0, 0, false
	}
	k, m = Kind(b[4]), Mode(b[6])
	return k, m, KindInit <= k && k <= KindRetry
}

func appendHandshake(b []byte, k Kind, m Mode, attempt uint64, noise []byte) []byte {
	b = append(b, 0, 0, 0, 0, uint8(k), Version, uint8(m), 0)
	b = binary.BigEndian.AppendUint64(b, attempt)
	b = binary.BigEndian.AppendUint16(b, uint16(len(noise)))
	return append(b, noise...)
}

func parseHandshakeHeader(b []byte) error {
	switch {
	case len(b) < HeaderSize:
		return ErrTruncated
	case binary.BigEndian.Uint32(b) != 0:
		return ErrKind
	case b[5] != Version:
		return ErrVersion
	case b[6] > uint8(ModePassword):
		return ErrValue
	case b[7] != 0:
		return ErrReserved
	}
	return nil
}

// parseHandshake returns the Noise message of b and what follows it.
func parseHandshake(b []byte, k Kind) (noise, rest []byte, err error) {
	if err := parseHandshakeHeader(b); err != nil {
		return nil, nil, err
	}
	if Kind(b[4]) != k {
		return nil, nil, ErrKind
	}
	if len(b) < noiseOffset {
		return nil, nil, ErrTruncated
	}
	n := int(binary.BigEndian.Uint16(b[noiseOffset-2:]))
	b = b[noiseOffset:]
	switch {
	case n > MaxNoiseSize:
		return nil, nil, ErrLength
	case n > len(b):
		return nil, nil, ErrTruncated
	}
	return b[:n:n], b[n:], nil
}
