package wire

// ProofSize is the length of a Proof, in bytes.
const ProofSize = 16

// A Proof is what a peer can repeat only if it has received it.
type Proof [ProofSize]byte

// AppendProof appends a PATH frame of kind PathKindChallenge or PathKindResponse.
func AppendProof(b []byte, k PathKind, p Proof) []byte {
	b = appendFrameHeader(b, TypePath, 1+ProofSize)
	return append(append(b, uint8(k)), p[:]...)
}

// ParseProof parses the body of a PATH frame. The error matches ErrKind if the frame is
// of another kind than PathKindChallenge and PathKindResponse.
func ParseProof(body []byte) (k PathKind, p Proof, err error) {
	switch {
	case len(body) == 0:
		return 0, Proof{}, wrap("PATH", ErrLength)
	case PathKind(body[0]) != PathKindChallenge && PathKind(body[0]) != PathKindResponse:
		return 0, Proof{}, wrap("PATH", ErrKind)
	case len(body) != 1+ProofSize:
		return 0, Proof{}, wrap("PATH CHALLENGE or RESPONSE", ErrLength)
	}
	return PathKind(body[0]), Proof(body[1:]), nil
}
