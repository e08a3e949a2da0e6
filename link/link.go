// Package link defines the transports that carry a tunnel's datagrams, and
// implements the usual ones: UDP, any net.PacketConn, any byte stream.
//
// A [Link] is a transport to one peer. A server that many peers reach through one
// socket uses a [Socket], a server whose transport has connections a [Listener].
// Links know nothing of packet formats, keys, sequence numbers or sessions: whoever
// uses them authenticates what arrives.
//
// To write a transport of your own, implement Link and run the conformance suite of
// package linktest on it.
package link

import (
	"errors"
	"net/netip"
)

// A Link carries datagrams to and from one peer over one network path.
//
// It may lose, duplicate and reorder datagrams. It must not corrupt, truncate,
// merge or split them, nor invent any.
//
// Send and Receive may be called concurrently with each other and with Close. At
// most one goroutine calls Send at a time, and one Receive. Neither may modify the
// datagrams it was given to send, nor keep any slice once it returns.
type Link interface {
	// Send transmits pkts in order, each element as one datagram. It does not wait
	// for the network: what cannot be handed on at once is refused. It returns the
	// number of datagrams handed on and, when n < len(pkts), the reason why pkts[n]
	// was not: ErrFull when the link may take it a little later, ErrTooLarge when
	// pkts[n] is larger than the path allows now, net.ErrClosed after Close. Any
	// other error concerns the link's present state (no route, interface down) and
	// need not be final.
	//
	// Elements are often consecutive, equally sized slices of one slab, the last
	// perhaps shorter: Run finds such runs, so that a link can hand them on with one
	// segmented send and no copy.
	Send(pkts [][]byte) (n int, err error)

	// Receive waits for at least one datagram and stores up to len(bufs) of them,
	// datagram i in bufs[i] with its length in sizes[i]. A datagram longer than its
	// buffer is dropped, never truncated. After Close it returns an error matching
	// net.ErrClosed, also when it was already waiting; an error matching io.EOF says
	// that the peer has ended the transport for good. Any other error is transient: the
	// caller may call Receive again.
	Receive(bufs [][]byte, sizes []int) (n int, err error)

	// MTU returns the largest datagram, in bytes, that Send accepts now. It may
	// change while the link is open.
	MTU() int

	// Close ends the link and unblocks Send and Receive. It may be called more than
	// once.
	Close() error
}

// An Addresser is a Link that can name its two ends. The result is informative.
type Addresser interface {
	Addresses() (local, remote netip.AddrPort)
}

// An Addr says where a datagram of a Socket came from and how to answer it. It is
// comparable, and opaque to the packages above: an Addr that has not been
// authenticated means nothing.
type Addr struct {
	// Remote is the sender's address. IPv4 addresses are never in the IPv6-mapped
	// form.
	Remote netip.AddrPort
	// Local is the address that the datagram was sent to, and the source address of
	// an answer ("sticky source"). The zero Addr leaves the choice to the system.
	Local netip.Addr
	// Interface is the index of the interface that the datagram arrived on; 0 is
	// unknown.
	Interface int
}

// String returns the remote address.
func (a Addr) String() string { return a.Remote.String() }

// A Socket carries the datagrams of many peers over one local port. Its datagrams
// obey the contract of Link, as do its methods unless said otherwise.
type Socket interface {
	// SendTo transmits pkts in order to one address, under the rules of Link.Send.
	SendTo(pkts [][]byte, to Addr) (n int, err error)

	// ReceiveFrom is Link.Receive, and stores the origin of datagram i in from[i].
	ReceiveFrom(bufs [][]byte, sizes []int, from []Addr) (n int, err error)

	// LocalAddr returns the bound address.
	LocalAddr() netip.AddrPort

	// MTU returns the largest datagram, in bytes, that SendTo accepts.
	MTU() int

	// Close ends the socket and unblocks SendTo and ReceiveFrom. It may be called
	// more than once.
	Close() error
}

// A Listener accepts links of a transport that has connections, such as TCP or
// WebSocket. Who is at the other end of an accepted link is not known.
type Listener interface {
	// Accept waits for the next link. After Close it returns an error matching
	// net.ErrClosed.
	Accept() (Link, error)

	// Close stops listening and unblocks Accept. Links already accepted live on.
	Close() error
}

var (
	// ErrFull says that a link cannot take a datagram now, and may a little later.
	ErrFull = errors.New("link: queue full")

	// ErrTooLarge says that a datagram is larger than the link or its path allows.
	ErrTooLarge = errors.New("link: datagram too large")
)

// Run returns the longest prefix of pkts that lies in one slab: n elements that are
// consecutive in memory and size bytes long each, except the last, which may be
// shorter (not empty). slab is the memory of those n elements. One element is a run;
// of no elements, n is 0.
func Run(pkts [][]byte) (slab []byte, size, n int) {
	if len(pkts) == 0 {
		return nil, 0, 0
	}
	slab, size, n = pkts[0], len(pkts[0]), 1
	for n < len(pkts) && len(pkts[n-1]) == size {
		next := pkts[n]
		if len(next) == 0 || len(next) > size || cap(slab) < len(slab)+len(next) {
			break
		}
		grown := slab[:len(slab)+len(next)]
		if &grown[len(slab)] != &next[0] {
			break
		}
		slab = grown
		n++
	}
	return slab, size, n
}
