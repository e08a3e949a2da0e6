package tcpmodel

// Flags of a Segment (RFC 9293, section 3.1).
const (
	FlagSYN uint8 = 1 << 1
	FlagPSH uint8 = 1 << 3
	FlagACK uint8 = 1 << 4
)

// maxBlocks is the most SACK blocks that fit beside timestamps (RFC 2018, section 3).
const maxBlocks = 3

// A Block is a SACK block: the sequence numbers from Left up to but not including Right.
type Block struct{ Left, Right uint32 }

// A Segment is what the TCP header and its options say, and the length of the payload.
// The payload is always zeros.
type Segment struct {
	Seq, Ack     uint32
	Len          int // bytes of payload
	Window       int // bytes, window scaling undone
	TSVal, TSEcr uint32
	MSS          int // of the MSS option; 0 unless FlagSYN is set
	Flags        uint8
	NumBlocks    uint8
	Blocks       [maxBlocks]Block // the first NumBlocks are valid
}

// unwrap returns the sequence number with the low bits v that is nearest to ref.
func unwrap(ref uint64, v uint32) uint64 {
	return ref + uint64(int64(int32(v-uint32(ref))))
}
