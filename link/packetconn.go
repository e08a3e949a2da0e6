package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// writePatience bounds the time that one call of Send may spend in a net.PacketConn,
// which knows no other way to give up a write than a deadline.
const writePatience = 10 * time.Millisecond

// maxPacket is larger than any datagram of UDP, so that a read that fills it was
// perhaps truncated.
const maxPacket = 1 << 16

// PacketConn is a Link over a net.PacketConn. It copies each datagram once on arrival.
// For UDP of the system, UDP is faster.
type PacketConn struct {
	pc     net.PacketConn
	direct addrPortConn // pc, if it is UDP and spares the allocations of net.Addr
	remote net.Addr
	peer   netip.AddrPort // of remote, if direct
	name   string         // of remote
	mtu    int
	closed atomic.Bool

	scratch []byte // only accessed by Receive
}

// addrPortConn is what *net.UDPConn and its like have beyond net.PacketConn.
type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

// NewPacketConn returns a link over pc to remote, for datagrams of up to mtu bytes.
// Datagrams from other senders are dropped. The link owns pc: Close closes it, and
// nothing else may use it.
//
// Send sets a write deadline of 10 ms on pc, and reports ErrFull when it passes: a
// PacketConn that has no write deadlines must not block in WriteTo.
func NewPacketConn(pc net.PacketConn, remote net.Addr, mtu int) *PacketConn {
	p := &PacketConn{
		pc:      pc,
		remote:  remote,
		name:    remote.Network() + " " + remote.String(),
		mtu:     mtu,
		scratch: make([]byte, maxPacket),
	}
	if u, ok := remote.(*net.UDPAddr); ok {
		if direct, ok := pc.(addrPortConn); ok {
			p.direct, p.peer = direct, unmap(u.AddrPort())
		}
	}
	return p
}

// Send implements Link.
func (p *PacketConn) Send(pkts [][]byte) (n int, err error) {
	if p.closed.Load() {
		return 0, net.ErrClosed
	}
	// A PacketConn without deadlines says so here; then WriteTo must not block.
	_ = p.pc.SetWriteDeadline(time.Now().Add(writePatience))
	for i, b := range pkts {
		if len(b) > p.mtu {
			return i, ErrTooLarge
		}
		if p.direct != nil {
			_, err = p.direct.WriteToUDPAddrPort(b, p.peer)
		} else {
			_, err = p.pc.WriteTo(b, p.remote)
		}
		if err != nil {
			return i, p.sendError(err)
		}
	}
	return len(pkts), nil
}

func (p *PacketConn) sendError(err error) error {
	var timeout net.Error
	switch {
	case p.closed.Load():
		return net.ErrClosed
	case errors.Is(err, errMsgSize):
		return ErrTooLarge
	case errors.As(err, &timeout) && timeout.Timeout():
		return ErrFull
	}
	return fmt.Errorf("link: send to %s: %w", p.name, err)
}

// Receive implements Link. It returns one datagram at a time.
func (p *PacketConn) Receive(bufs [][]byte, sizes []int) (n int, err error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	for {
		size, ours, err := p.read()
		switch {
		case p.closed.Load():
			return 0, net.ErrClosed
		case errors.Is(err, errMsgSize):
			continue
		case err != nil:
			return 0, p.receiveError(err)
		case !ours || size > len(bufs[0]) || size == len(p.scratch):
			continue
		}
		sizes[0] = copy(bufs[0], p.scratch[:size])
		return 1, nil
	}
}

// read stores a datagram in p.scratch and reports whether it came from the peer.
func (p *PacketConn) read() (size int, ours bool, err error) {
	if p.direct != nil {
		size, from, err := p.direct.ReadFromUDPAddrPort(p.scratch)
		return size, unmap(from) == p.peer, err
	}
	size, from, err := p.pc.ReadFrom(p.scratch)
	if err != nil || from == nil {
		return size, false, err
	}
	return size, from.Network() == p.remote.Network() && from.String() == p.remote.String(), nil
}

// receiveError makes the end of pc, for whatever reason but Close, the end of the
// transport.
func (p *PacketConn) receiveError(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		return fmt.Errorf("link: receive from %s: %w: %w", p.name, io.EOF, err)
	}
	return fmt.Errorf("link: receive from %s: %w", p.name, err)
}

// MTU implements Link.
func (p *PacketConn) MTU() int { return p.mtu }

// Addresses implements Addresser. Addresses that are not of UDP are zero.
func (p *PacketConn) Addresses() (local, remote netip.AddrPort) {
	return addrPort(p.pc.LocalAddr()), addrPort(p.remote)
}

// Close implements Link, and closes the net.PacketConn.
func (p *PacketConn) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	if err := p.pc.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("link: close the connection to %s: %w", p.name, err)
	}
	return nil
}

// addrPort returns the address of a net.Addr that has one, or the zero AddrPort.
func addrPort(a net.Addr) netip.AddrPort {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return unmap(a.AddrPort())
	}
	return netip.AddrPort{}
}
