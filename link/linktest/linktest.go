// Package linktest is the contract of package link, executable.
//
// To test a transport, write a function that makes two connected links, and give it to
// [TestLink] together with what the transport promises beyond the contract.
// [TestSocket] does the same for a socket of many peers.
//
// Every wait is bounded: a broken link is reported within seconds and never hangs the
// test. A failure begins with the name of the case and the sentence of the contract that
// was violated.
package linktest

import (
	"testing"

	"github.com/multilink-vpn/multilink/link"
)

// MakePair returns two links that are connected to each other. It reports its own
// failures to t, and releases what it needs with t.Cleanup; the suite closes the links.
// It is called once for each case.
type MakePair func(t testing.TB) (a, b link.Link)

// MakeSocket returns a socket, and a function that makes links to it, each with an
// address of its own. It reports its own failures to t, and releases what it needs with
// t.Cleanup; the suite closes the socket and the links.
type MakeSocket func(t testing.TB) (s link.Socket, dial func() link.Link)

// Traits are promises that a transport makes beyond the contract of link.Link, as
// MakePair configures it. A promise is tested only if it is made.
type Traits struct {
	// Lossless says that what Send has accepted arrives, as long as no more than 130
	// datagrams and 32 KiB, or one datagram, are under way.
	Lossless bool
	// Ordered says that datagrams arrive in the order they were sent in.
	Ordered bool
	// NoDup says that a datagram arrives once at most.
	NoDup bool

	// Virtual says that the links do no real I/O and wait on nothing but channels,
	// sync.Cond and timers. Each case then runs in a bubble of testing/synctest, in no
	// real time, and Send must not let any time pass.
	Virtual bool
}
