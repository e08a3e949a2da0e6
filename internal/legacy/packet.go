package legacy

import (
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/nacl/secretbox"
)

// Sizes in bytes.
const (
	HeaderSize = 28
	// Overhead is what a datagram adds to a packet that is encrypted.
	Overhead = HeaderSize + secretbox.Overhead
	// MaxDatagram is the largest datagram that the C daemon receives whole.
	MaxDatagram = 1500
)

// A Type is the type of a packet.
type Type uint8

const (
	Auth       Type = iota // a client wants the link up
	AuthOK                 // a server's answer
	KeepAlive              // about once a second from both
	Data                   // an inner packet
	Disconnect             // the sender stops
	numTypes
)

func (t Type) String() string {
	if t >= numTypes {
		return "invalid"
	}
	return [numTypes]string{"AUTH", "AUTH_OK", "KEEPALIVE", "DATA", "DISCONNECT"}[t]
}

// payload is what a packet of a type other than Data says. Nobody checks it.
func (t Type) payload() []byte {
	switch t {
	case Auth:
		return []byte("AU")
	case AuthOK:
		return []byte("OK")
	}
	return nil
}

// NoTimestamp is the value of Header.TimestampReply that means none.
const NoTimestamp = 0xffff

// A Header is the header of a packet, but for the body's length.
type Header struct {
	Version        uint8 // 1; the end of version 0 numbers no data
	Type           Type
	Reorder        bool // DataSeq means something
	Timestamp      uint16
	TimestampReply uint16
	FlowID         uint32
	Seq            uint64
	DataSeq        uint64
}

// A Key is what a password stands for.
type Key [32]byte

// PasswordKey returns the key of a password.
func PasswordKey(password string) *Key {
	k := Key(blake2b.Sum256([]byte(password)))
	return &k
}

// Errors of Open, which say what is wrong with a datagram.
var (
	ErrMalformed   = errors.New("not a packet of MLVPN")
	ErrUnauthentic = errors.New("altered, or sealed with another password")
)

// A Codec seals and opens packets.
type Codec struct {
	Key *Key
	// ClearData leaves packets of type Data in clear and unauthenticated.
	ClearData bool
}

// nonce fills n with a packet's nonce.
func (h *Header) nonce(n *[24]byte) {
	*n = [24]byte{}
	binary.LittleEndian.PutUint64(n[:], h.Seq)
	binary.LittleEndian.PutUint32(n[8:], h.FlowID)
}

// clear reports whether a packet of this type is not encrypted.
func (c *Codec) clear(t Type) bool { return c.ClearData && t == Data }

// Overhead returns what a packet of type Data is longer by on the way, in bytes.
func (c *Codec) Overhead() int {
	if c.ClearData {
		return HeaderSize
	}
	return Overhead
}

// Seal appends to dst the datagram with this header and body, which must not overlap
// with what is appended. It does not allocate if dst has room.
func (c *Codec) Seal(dst []byte, h *Header, body []byte) []byte {
	size := len(body)
	if !c.clear(h.Type) {
		size += secretbox.Overhead
	}
	var header [HeaderSize]byte
	binary.BigEndian.PutUint16(header[0:], uint16(size))
	word := uint16(h.Version)&0xf | uint16(h.Type)&0x3f<<4
	if h.Reorder {
		word |= 1 << 10
	}
	binary.LittleEndian.PutUint16(header[2:], word)
	binary.BigEndian.PutUint16(header[4:], h.Timestamp)
	binary.BigEndian.PutUint16(header[6:], h.TimestampReply)
	binary.BigEndian.PutUint32(header[8:], h.FlowID)
	binary.BigEndian.PutUint64(header[12:], h.Seq)
	binary.BigEndian.PutUint64(header[20:], h.DataSeq)
	dst = append(dst, header[:]...)
	if c.clear(h.Type) {
		return append(dst, body...)
	}
	var nonce [24]byte
	h.nonce(&nonce)
	return secretbox.Seal(dst, body, &nonce, (*[32]byte)(c.Key))
}

// Open reads a datagram and appends its body, in clear, to dst, which must not overlap
// with the datagram. What the header says of the sequence number and the flow is
// authentic, unless the body was in clear; the rest of it never is. Open does not
// allocate if dst has room.
//
// A datagram that is longer than it says is cut, as the C daemon does.
func (c *Codec) Open(dst, datagram []byte) (h Header, body []byte, err error) {
	if len(datagram) < HeaderSize {
		return h, nil, ErrMalformed
	}
	size := int(binary.BigEndian.Uint16(datagram))
	word := binary.LittleEndian.Uint16(datagram[2:])
	h = Header{
		Version:        uint8(word & 0xf),
		Type:           Type(word >> 4 & 0x3f),
		Reorder:        word>>10&1 != 0,
		Timestamp:      binary.BigEndian.Uint16(datagram[4:]),
		TimestampReply: binary.BigEndian.Uint16(datagram[6:]),
		FlowID:         binary.BigEndian.Uint32(datagram[8:]),
		Seq:            binary.BigEndian.Uint64(datagram[12:]),
		DataSeq:        binary.BigEndian.Uint64(datagram[20:]),
	}
	datagram = datagram[HeaderSize:]
	if size > len(datagram) || h.Version > 1 || h.Type >= numTypes {
		return h, nil, ErrMalformed
	}
	if h.Version == 0 {
		h.Reorder, h.DataSeq = false, 0
	}
	datagram = datagram[:size]
	if c.clear(h.Type) {
		return h, append(dst, datagram...), nil
	}
	var nonce [24]byte
	h.nonce(&nonce)
	body, ok := secretbox.Open(dst, datagram, &nonce, (*[32]byte)(c.Key))
	if !ok {
		return h, nil, ErrUnauthentic
	}
	return h, body, nil
}
