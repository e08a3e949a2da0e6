package linksim

import (
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/multilink-vpn/multilink/link"
)

// A Socket is the end of all lines of a Network that lead to its address. It
// implements link.Socket.
//
// What it sends to an address that no line has is lost without a word, and so is
// what it sends from another address than the line leads to.
//
// All methods may be called concurrently, except that at most one goroutine calls
// SendTo at a time, and one ReceiveFrom.
type Socket struct {
	network *Network
	addr    netip.AddrPort
	inbox   *inbox
	closed  atomic.Bool
}

var _ link.Socket = (*Socket)(nil)

// SendTo implements link.Socket. It copies the datagrams. They take the line that
// leads from to.Remote to this socket, to its address to.Local if there is one, else
// the one that was dialled first, and meet with that line's down profile. Datagrams
// larger than its MTU are refused.
func (s *Socket) SendTo(pkts [][]byte, to link.Addr) (n int, err error) {
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	if l := s.line(to); l != nil {
		return l.in.send(pkts, link.Addr{})
	}
	mtu := s.MTU()
	for i, p := range pkts {
		if len(p) > mtu {
			return i, link.ErrTooLarge
		}
	}
	return len(pkts), nil
}

// line returns the line to a client, nil if there is none.
func (s *Socket) line(to link.Addr) *Link {
	client := unmap(to.Remote)
	local := to.Local.Unmap()
	n := s.network
	n.mu.RLock()
	defer n.mu.RUnlock()
	switch {
	case !s.addr.Addr().IsUnspecified():
		if local.IsValid() && local != s.addr.Addr() {
			return nil
		}
		return n.lines[flow{client, s.addr}]
	case local.IsValid():
		server := netip.AddrPortFrom(local, s.addr.Port())
		if n.socketLocked(server) != s {
			return nil
		}
		return n.lines[flow{client, server}]
	}
	for _, l := range n.clients[client] {
		if n.socketLocked(l.client.flow.server) == s {
			return l
		}
	}
	return nil
}

// ReceiveFrom implements link.Socket.
func (s *Socket) ReceiveFrom(bufs [][]byte, sizes []int, from []link.Addr) (n int, err error) {
	return s.inbox.receive(bufs, sizes, from[:len(bufs)])
}

// LocalAddr implements link.Socket.
func (s *Socket) LocalAddr() netip.AddrPort { return s.addr }

// MTU returns the largest MTU of the network's lines in the direction to the
// client, DefaultMTU if there are none.
func (s *Socket) MTU() int { return int(s.network.mtu.Load()) }

// Close implements link.Socket. The lines stay, and lead to the next socket at this
// address.
func (s *Socket) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.network.mu.Lock()
	delete(s.network.sockets, s.addr)
	s.network.mu.Unlock()
	s.inbox.close()
	return nil
}
