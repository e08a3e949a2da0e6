// Package linksim simulates networks of links in memory: lines with a rate, a
// queue, delay, jitter, loss, duplication and reordering, that implement
// link.Link and link.Socket.
//
// [Pair] makes the two ends of one line. A [Network] has sockets that many lines
// lead to. [Line] is the mechanism below both, without clock and goroutine, for
// simulations that run on an event queue of their own.
//
// All waits are timers and condition variables. In a bubble of testing/synctest a
// simulation runs in virtual time and its delays are exact; make the links inside
// the bubble. Elsewhere it runs in real time: a datagram is then delivered at the
// first wake-up of the process after it is due, and lateness does not add up.
//
// The random fate of a datagram depends on the seed, the line, the direction and
// the number of datagrams sent in that direction before it, and on nothing else.
// How goroutines interleave does not change it. What depends on time, such as a full
// queue, is as reproducible as the time of the calls is.
package linksim

import (
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/multilink-vpn/multilink/link"
)

// A Link is one end of a simulated line. It implements link.Link and
// link.Addresser.
//
// Send never refuses a datagram for want of room: what finds the line's queue full
// is dropped silently, as a modem does, and counted. Closing one end does not tell
// the other; what was on its way still arrives there.
//
// All methods may be called concurrently, except that at most one goroutine calls
// Send at a time, and one Receive.
type Link struct {
	out, in *direction // the directions in which this end sends and receives
	inbox   *inbox
	closed  atomic.Bool
	client  *client // nil unless made by Network.Dial
}

var (
	_ link.Link      = (*Link)(nil)
	_ link.Addresser = (*Link)(nil)
)

// Pair returns the two ends of a new line. Datagrams from a to b meet with the
// impairments of ab, those from b to a with ba. It panics if a profile is not
// valid.
func Pair(ab, ba Profile, seed uint64) (a, b *Link) {
	p := new(pool)
	atA, atB := newInbox(p), newInbox(p)
	toB := newDirection(NewLine(ab, seed, 0), p)
	toA := newDirection(NewLine(ba, seed, 1), p)
	toB.inbox, toA.inbox = atB, atA
	a = &Link{out: toB, in: toA, inbox: atA}
	b = &Link{out: toA, in: toB, inbox: atB}
	return a, b
}

// Send implements link.Link. It copies the datagrams.
func (l *Link) Send(pkts [][]byte) (n int, err error) {
	if l.closed.Load() {
		return 0, net.ErrClosed
	}
	return l.out.send(pkts, l.source())
}

// Receive implements link.Link.
func (l *Link) Receive(bufs [][]byte, sizes []int) (n int, err error) {
	return l.inbox.receive(bufs, sizes, nil)
}

// MTU returns the MTU of the direction in which this end sends.
func (l *Link) MTU() int { return int(l.out.mtu.Load()) }

// Close implements link.Link. Datagrams on their way to this end are dropped, those
// on their way to the other still arrive.
func (l *Link) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	if l.client != nil {
		l.client.hangUp(l)
	}
	l.inbox.close()
	l.in.close()
	return nil
}

// Addresses implements link.Addresser. The ends of a Pair have addresses of the
// documentation range 192.0.2.0/24.
func (l *Link) Addresses() (local, remote netip.AddrPort) {
	if l.client != nil {
		return l.client.addresses()
	}
	a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 1)
	b := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 2}), 1)
	if l.out.stream()&1 == 0 {
		return a, b
	}
	return b, a
}

// SetProfile changes the direction in which this end sends. Datagrams that the line
// has taken before keep the time of arrival that they were given then, and those
// that follow do not overtake them. It panics if p is not valid.
func (l *Link) SetProfile(p Profile) { l.set(l.out, p) }

// Profile returns the profile of the direction in which this end sends, as it was
// set.
func (l *Link) Profile() Profile { return l.out.profile() }

// Stats returns the counters of the direction in which this end sends.
func (l *Link) Stats() Stats { return l.out.counters() }

// SetReceiveProfile is SetProfile for the direction in which this end receives.
func (l *Link) SetReceiveProfile(p Profile) { l.set(l.in, p) }

// ReceiveProfile is Profile for the direction in which this end receives.
func (l *Link) ReceiveProfile() Profile { return l.in.profile() }

// ReceiveStats is Stats for the direction in which this end receives.
func (l *Link) ReceiveStats() Stats { return l.in.counters() }

// Cut takes both directions of the line down: it sets Down in both profiles.
// Nobody is told, as when a cable is pulled behind the modem.
func (l *Link) Cut() {
	l.out.setDown(true)
	l.in.setDown(true)
}

// Restore clears Down in the profiles of both directions.
func (l *Link) Restore() {
	l.out.setDown(false)
	l.in.setDown(false)
}

// Rebind changes the address from which the other end sees this one send, as a NAT
// does that has forgotten the flow. Datagrams already sent keep the old address;
// what the socket sends to the old address from now on is lost. Only links of
// Network.Dial can be rebound; the error says that this is none, that it is closed,
// or that local is in use. Port 0 chooses a free port.
func (l *Link) Rebind(local netip.AddrPort) error {
	if l.client == nil {
		return errNoClient
	}
	return l.client.rebind(l, local)
}

func (l *Link) source() link.Addr {
	if l.client == nil {
		return link.Addr{}
	}
	return l.client.source()
}

func (l *Link) set(d *direction, p Profile) {
	d.setProfile(p)
	if l.client != nil {
		l.client.network.updateMTU()
	}
}
