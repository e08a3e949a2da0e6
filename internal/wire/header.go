package wire

import "encoding/binary"

// Sizes of the data datagram, in bytes.
const (
	// HeaderSize is the length of the header that is sent in the clear.
	HeaderSize = 8
	// DataOverhead is what one DATA frame without length adds to its payload.
	DataOverhead = 8
	// LengthSize is what FlagLength adds to DataOverhead.
	LengthSize = 2
)

// PutHeader writes the header of a data datagram to b[:HeaderSize]: the receiver's
// index, which is not 0, and the low 32 bits of the packet number.
func PutHeader(b []byte, index, counter uint32) {
	_ = b[HeaderSize-1]
	binary.BigEndian.PutUint32(b, index)
	binary.BigEndian.PutUint32(b[4:], counter)
}

// ParseHeader reads the header of a datagram. Index 0 announces a handshake
// message, and counter then means nothing. It returns false when b is shorter than
// HeaderSize.
func ParseHeader(b []byte) (index, counter uint32, ok bool) {
	if len(b) < HeaderSize {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), true
}
