package wire

import (
	"encoding/binary"
	"unicode"
	"unicode/utf8"
)

// Ping asks for a Pong on the same path.
type Ping struct {
	// Echo comes back in the Pong. It means nothing to the receiver.
	Echo uint64
	// Time is as Data.Time.
	Time uint16
}

const pingSize = 10

// AppendPing appends the frame p.
func AppendPing(b []byte, p Ping) []byte {
	b = appendFrameHeader(b, TypePing, pingSize)
	b = binary.BigEndian.AppendUint64(b, p.Echo)
	return binary.BigEndian.AppendUint16(b, p.Time)
}

// ParsePing parses the body of a PING frame.
func ParsePing(body []byte) (Ping, error) {
	if len(body) != pingSize {
		return Ping{}, wrap("PING", ErrLength)
	}
	return Ping{Echo: binary.BigEndian.Uint64(body), Time: binary.BigEndian.Uint16(body[8:])}, nil
}

// Pong answers a Ping, on the same path.
type Pong struct {
	// Echo is that of the Ping.
	Echo uint64
	// Received is the number of datagrams opened on this path in this epoch, modulo 2^32.
	Received uint32
	// Highest is the low 32 bits of the highest packet number opened.
	Highest uint32
	// Delay is the receiver's clock less Ping.Time when the Ping arrived, in units of 100
	// microseconds, modulo 2^16.
	Delay uint16
}

const pongSize = 18

// AppendPong appends the frame p.
func AppendPong(b []byte, p Pong) []byte {
	b = appendFrameHeader(b, TypePong, pongSize)
	b = binary.BigEndian.AppendUint64(b, p.Echo)
	b = binary.BigEndian.AppendUint32(b, p.Received)
	b = binary.BigEndian.AppendUint32(b, p.Highest)
	return binary.BigEndian.AppendUint16(b, p.Delay)
}

// ParsePong parses the body of a PONG frame.
func ParsePong(body []byte) (Pong, error) {
	if len(body) != pongSize {
		return Pong{}, wrap("PONG", ErrLength)
	}
	return Pong{
		Echo:     binary.BigEndian.Uint64(body),
		Received: binary.BigEndian.Uint32(body[8:]),
		Highest:  binary.BigEndian.Uint32(body[12:]),
		Delay:    binary.BigEndian.Uint16(body[16:]),
	}, nil
}

// A Reason says why a session is closed. Unknown reasons are as ReasonUnspecified.
type Reason uint8

const (
	// ReasonUnspecified gives no reason.
	ReasonUnspecified Reason = 0
	// ReasonShutdown says that the sender stops or restarts.
	ReasonShutdown Reason = 1
	// ReasonReplaced says that the peer has a newer session.
	ReasonReplaced Reason = 2
	// ReasonRefused says that the peer is not, or no longer, allowed in.
	ReasonRefused Reason = 3
	// ReasonProtocol says that the peer broke the protocol.
	ReasonProtocol Reason = 4
)

// Close ends the session.
type Close struct {
	Reason Reason
	// RetryMillis is how long, in milliseconds, the peer is asked to wait before a new
	// handshake.
	RetryMillis uint32
}

const closeSize = 5

// AppendClose appends the frame c.
func AppendClose(b []byte, c Close) []byte {
	b = appendFrameHeader(b, TypeClose, closeSize)
	return binary.BigEndian.AppendUint32(append(b, uint8(c.Reason)), c.RetryMillis)
}

// ParseClose parses the body of a CLOSE frame.
func ParseClose(body []byte) (Close, error) {
	if len(body) != closeSize {
		return Close{}, wrap("CLOSE", ErrLength)
	}
	return Close{Reason: Reason(body[0]), RetryMillis: binary.BigEndian.Uint32(body[1:])}, nil
}

// A PathKind is the first byte of the body of a PATH frame. Frames of unknown kind
// are skipped.
type PathKind uint8

const (
	// PathKindInfo is the kind of PathInfo.
	PathKindInfo PathKind = 0
	// PathKindChallenge asks for a PathKindResponse with the same Proof.
	PathKindChallenge PathKind = 1
	// PathKindResponse answers a PathKindChallenge.
	PathKindResponse PathKind = 2
)

// TierNone says that the sender of a PathInfo will not use the path any more, and that
// the receiver must not either.
const TierNone = 255

// MaxPathName is the longest name of a path, in bytes.
const MaxPathName = 32

// PathInfo is the PATH frame of kind INFO: what the sender of the frame wants the
// receiver of the frame to know about the path it came on.
type PathInfo struct {
	// Tier says when to use the path: a cost, lower first, in the low six bits, 0x40 for
	// one that may take what better ones have no room for, 0x80 for one to be used while
	// no other works. TierNone is one that has ended.
	Tier uint8
	// Weight is the rate wanted towards the sender of the frame, in bytes per second; 0
	// is unknown.
	Weight uint64
	// Name is for people: UTF-8 without control characters, at most MaxPathName bytes.
	Name string
}

const pathInfoSize = 10

// AppendPathInfo appends the frame p. A name that the protocol forbids is left out.
func AppendPathInfo(b []byte, p PathInfo) []byte {
	if !validName(p.Name, MaxPathName) {
		p.Name = ""
	}
	b = appendFrameHeader(b, TypePath, pathInfoSize+len(p.Name))
	b = append(b, uint8(PathKindInfo), p.Tier)
	b = binary.BigEndian.AppendUint64(b, p.Weight)
	return append(b, p.Name...)
}

// ParsePathInfo parses the body of a PATH frame. The error matches ErrKind if the
// frame is of another kind than PathKindInfo.
func ParsePathInfo(body []byte) (PathInfo, error) {
	if len(body) == 0 {
		return PathInfo{}, wrap("PATH", ErrLength)
	}
	if PathKind(body[0]) != PathKindInfo {
		return PathInfo{}, wrap("PATH", ErrKind)
	}
	if len(body) < pathInfoSize || len(body) > pathInfoSize+MaxPathName {
		return PathInfo{}, wrap("PATH INFO", ErrLength)
	}
	name := string(body[pathInfoSize:])
	if !validName(name, MaxPathName) {
		return PathInfo{}, wrap("PATH INFO name", ErrValue)
	}
	return PathInfo{Tier: body[1], Weight: binary.BigEndian.Uint64(body[2:]), Name: name}, nil
}

// validName reports whether s may be sent as a name. Control characters are refused
// because names end up in logs and on terminals.
func validName(s string, limit int) bool {
	if len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}
