package mlvpn

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned by calls on a Client or Server whose Run has ended.
	ErrClosed = errors.New("mlvpn: closed")

	// ErrTooManyLinks is returned when a client has as many links as a session can
	// have.
	ErrTooManyLinks = errors.New("mlvpn: too many links")

	errRunning = errors.New("mlvpn: Run was called before: make a new Client or Server to run again")
)

// A LinkError says what went wrong on which link.
type LinkError struct {
	Link string // the link's name
	Op   string // what was tried: "send", "receive", "accept"
	Err  error
}

func (e *LinkError) Error() string { return fmt.Sprintf("link %s: %s: %v", e.Link, e.Op, e.Err) }

// Unwrap returns the cause.
func (e *LinkError) Unwrap() error { return e.Err }
