// Package wire encodes and parses the datagrams of the ML/1 protocol, as SPEC.md
// describes them. It knows no keys: what it parses as frames or as handshake
// payload must have been authenticated by the caller before it is acted on.
//
// All integers are big-endian. Parsers borrow: the slices in what they return are
// parts of their argument. They accept any input, never panic, and allocate nothing
// by a length that the input claims. The functions of the data path, that is
// everything in header.go and frame.go, do not allocate at all.
package wire

import (
	"errors"
	"fmt"
)

// Version is the version of the protocol.
const Version = 1

var (
	// ErrTruncated says that the input ends before what it announces.
	ErrTruncated = errors.New("wire: truncated")
	// ErrReserved says that a bit or byte that must be zero is not.
	ErrReserved = errors.New("wire: reserved bits are set")
	// ErrPadding says that padding holds something else than zeros.
	ErrPadding = errors.New("wire: padding is not zero")
	// ErrLength says that a field has a length or a count that the protocol forbids.
	ErrLength = errors.New("wire: bad length")
	// ErrValue says that a field holds a value that the protocol forbids.
	ErrValue = errors.New("wire: bad value")
	// ErrVersion says that a handshake message is of another protocol version.
	ErrVersion = errors.New("wire: unknown protocol version")
	// ErrKind says that a message is not of the kind that the parser is for.
	ErrKind = errors.New("wire: another kind of message")
)

func wrap(what string, err error) error { return fmt.Errorf("%s: %w", what, err) }
