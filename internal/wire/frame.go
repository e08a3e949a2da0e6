package wire

import (
	"encoding/binary"
	"fmt"
)

// A Type is the type of a frame.
type Type uint8

// Frame types. Those that this package has no parser for are reserved.
const (
	TypePad      Type = 0x00
	TypePing     Type = 0x01
	TypePong     Type = 0x02
	TypeClose    Type = 0x03
	TypePath     Type = 0x04
	TypeFeedback Type = 0x05
	TypeStream   Type = 0x06
	TypeFEC      Type = 0x07
	TypeRekey    Type = 0x08
	TypeMTU      Type = 0x09
	TypeHold     Type = 0x0a
	// TypeData stands for all first bytes with bit 7 set.
	TypeData Type = 0x80
)

var typeNames = [...]string{"PAD", "PING", "PONG", "CLOSE", "PATH", "FEEDBACK", "STREAM", "FEC", "REKEY", "MTU", "HOLD"}

// String returns the name of the type as SPEC.md writes it.
func (t Type) String() string {
	switch {
	case int(t) < len(typeNames):
		return typeNames[t]
	case t == TypeData:
		return "DATA"
	}
	return fmt.Sprintf("type 0x%02x", uint8(t))
}

// DataFlags are the flags of a DATA frame: its first byte without bit 7.
type DataFlags uint8

const (
	// FlagLength says that the frame has a length field, so that other frames may
	// follow it.
	FlagLength DataFlags = 0x40
	// FlagOrdered says that the packet is to be delivered in the order of its flow
	// bucket.
	FlagOrdered DataFlags = 0x20
	// FlagRepair marks a second copy of a packet, or one rebuilt from others.
	FlagRepair DataFlags = 0x10
	// FlagPartial says that the checksum of the inner packet was left to be completed.
	FlagPartial DataFlags = 0x08

	// FlagHold says that the packet is not to be delivered before the target of the last
	// HOLD frame.
	FlagHold DataFlags = 0x01

	flagECN DataFlags = 0x06
	flagAll           = FlagLength | FlagOrdered | FlagRepair | FlagPartial | FlagHold | flagECN
)

// ECN returns the ECN code point, 0 to 3, of RFC 3168.
func (f DataFlags) ECN() uint8 { return uint8(f&flagECN) >> 1 }

// WithECN returns f with the ECN code point replaced by the low two bits of ecn.
func (f DataFlags) WithECN(ecn uint8) DataFlags { return f&^flagECN | DataFlags(ecn<<1)&flagECN }

// MaxStamp is the largest send stamp; stamps are counted modulo MaxStamp+1.
const MaxStamp = 1<<24 - 1

// Data is a DATA frame, which carries one inner packet.
type Data struct {
	// Flags holds the flags. Bit 7 is ignored when written and zero when read.
	Flags DataFlags
	// Stamp is the global send stamp of the session direction, modulo 2^24.
	Stamp uint32
	// Order is the position within the flow bucket, modulo 2^16.
	Order uint16
	// Time is the sender's monotonic clock in units of 100 microseconds, modulo 2^16.
	Time uint16
	// Payload is the inner packet. Next borrows it from its argument.
	Payload []byte
}

// HeaderSize returns the length of the header in front of the payload: 8 bytes, or
// 10 with FlagLength.
func (d *Data) HeaderSize() int {
	if d.Flags&FlagLength != 0 {
		return DataOverhead + LengthSize
	}
	return DataOverhead
}

// PutData writes the header of d to b[:d.HeaderSize()] and returns that length. It
// does not touch the payload, which belongs right behind: with FlagLength its length
// is written, and must be at most 65535 bytes.
func PutData(b []byte, d *Data) int {
	_ = b[DataOverhead-1]
	b[0] = uint8(TypeData) | uint8(d.Flags&flagAll)
	b[1], b[2], b[3] = uint8(d.Stamp>>16), uint8(d.Stamp>>8), uint8(d.Stamp)
	binary.BigEndian.PutUint16(b[4:], d.Order)
	binary.BigEndian.PutUint16(b[6:], d.Time)
	if d.Flags&FlagLength == 0 {
		return DataOverhead
	}
	binary.BigEndian.PutUint16(b[8:], uint16(len(d.Payload)))
	return DataOverhead + LengthSize
}

// AppendData appends the whole frame d to b, which must not overlap d.Payload.
// Without FlagLength it must be the last frame of the plaintext.
func AppendData(b []byte, d *Data) []byte {
	var h [DataOverhead + LengthSize]byte
	n := PutData(h[:], d)
	b = append(b, h[:n]...)
	return append(b, d.Payload...)
}

// A Frame is one frame of a plaintext.
type Frame struct {
	Type Type
	// Body is the body of a frame other than DATA, borrowed from the plaintext. Of PAD
	// it is the rest of the padding.
	Body []byte
	// Data is set if Type is TypeData.
	Data Data
}

// FrameOverhead is the length of type and length of frames other than DATA and PAD.
const FrameOverhead = 3

const frameHeader = FrameOverhead

// Next splits the first frame off p, the plaintext of a datagram. Call it until rest
// is empty; on an empty p it returns ErrTruncated. A frame of unknown type is
// returned with its body, for the caller to count and skip. After an error nothing
// in the rest of the plaintext can be trusted to be a frame.
func Next(p []byte) (f Frame, rest []byte, err error) {
	if len(p) == 0 {
		return Frame{}, nil, ErrTruncated
	}
	if p[0]&uint8(TypeData) != 0 {
		return nextData(p)
	}
	f.Type = Type(p[0])
	if f.Type == TypePad {
		if !allZero(p) {
			return Frame{}, nil, ErrPadding
		}
		f.Body = p[1:]
		return f, nil, nil
	}
	if len(p) < frameHeader {
		return Frame{}, nil, ErrTruncated
	}
	n := int(binary.BigEndian.Uint16(p[1:]))
	p = p[frameHeader:]
	if n > len(p) {
		return Frame{}, nil, ErrTruncated
	}
	f.Body = p[:n:n]
	return f, p[n:], nil
}

func nextData(p []byte) (f Frame, rest []byte, err error) {
	if len(p) < DataOverhead {
		return Frame{}, nil, ErrTruncated
	}
	flags := DataFlags(p[0])
	f.Type = TypeData
	f.Data = Data{
		Flags: flags & flagAll,
		Stamp: uint32(p[1])<<16 | uint32(p[2])<<8 | uint32(p[3]),
		Order: binary.BigEndian.Uint16(p[4:]),
		Time:  binary.BigEndian.Uint16(p[6:]),
	}
	p = p[DataOverhead:]
	if flags&FlagLength == 0 {
		f.Data.Payload = p
		return f, nil, nil
	}
	if len(p) < LengthSize {
		return Frame{}, nil, ErrTruncated
	}
	n := int(binary.BigEndian.Uint16(p))
	p = p[LengthSize:]
	if n > len(p) {
		return Frame{}, nil, ErrTruncated
	}
	f.Data.Payload = p[:n:n]
	return f, p[n:], nil
}

// AppendFrame appends a frame of type t, other than PAD and DATA, with a body of at
// most 65535 bytes.
func AppendFrame(b []byte, t Type, body []byte) []byte {
	return append(appendFrameHeader(b, t, len(body)), body...)
}

// AppendPad appends n bytes of padding, which end the plaintext.
func AppendPad(b []byte, n int) []byte {
	for range n {
		b = append(b, 0)
	}
	return b
}

func appendFrameHeader(b []byte, t Type, n int) []byte {
	return append(b, uint8(t), uint8(n>>8), uint8(n))
}

func allZero(b []byte) bool {
	var or uint64
	for ; len(b) >= 8; b = b[8:] {
		or |= binary.NativeEndian.Uint64(b)
	}
	for _, c := range b {
		or |= uint64(c)
	}
	return or == 0
}
