package wire

import "encoding/binary"

// A RekeyKind says what a REKEY frame is. Frames of unknown kind are skipped.
type RekeyKind uint8

const (
	// RekeyInit carries the first Noise message, from the initiator of the session.
	RekeyInit RekeyKind = 1
	// RekeyResponse carries the second, from the responder.
	RekeyResponse RekeyKind = 2
	// RekeyPlease asks the initiator to begin. It carries nothing.
	RekeyPlease RekeyKind = 3
)

// Rekey is a REKEY frame: a handshake inside of a session.
type Rekey struct {
	Kind RekeyKind
	// Epoch is the number of the keys that the handshake is to agree on. In a
	// RekeyPlease it is that of the keys that are to be replaced.
	Epoch uint32
	// Noise is the Noise message, at most MaxNoiseSize bytes. ParseRekey borrows it from
	// its argument.
	Noise []byte
}

const rekeySize = 5

// AppendRekey appends the frame r.
func AppendRekey(b []byte, r *Rekey) []byte {
	b = appendFrameHeader(b, TypeRekey, rekeySize+len(r.Noise))
	b = binary.BigEndian.AppendUint32(append(b, uint8(r.Kind)), r.Epoch)
	return append(b, r.Noise...)
}

// ParseRekey parses the body of a REKEY frame. The error matches ErrKind if its kind is
// unknown.
func ParseRekey(body []byte) (Rekey, error) {
	if len(body) == 0 {
		return Rekey{}, wrap("REKEY", ErrLength)
	}
	kind := RekeyKind(body[0])
	switch {
	case kind < RekeyInit || kind > RekeyPlease:
		return Rekey{}, wrap("REKEY", ErrKind)
	case len(body) < rekeySize || len(body) > rekeySize+MaxNoiseSize, kind == RekeyPlease && len(body) != rekeySize:
		return Rekey{}, wrap("REKEY", ErrLength)
	}
	r := Rekey{Kind: kind, Epoch: binary.BigEndian.Uint32(body[1:])}
	if len(body) > rekeySize {
		r.Noise = body[rekeySize:]
	}
	return r, nil
}
