//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package link

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// udpPatience bounds the time that one call of Send may spend in the net package,
// which knows no other way to give up a write than a deadline.
const udpPatience = 10 * time.Millisecond

// udpSender sends through the net package.
type udpSender struct {
	conn      *net.UDPConn
	connected bool
}

func (s *udpSender) init(conn *net.UDPConn, _ syscall.RawConn, _ bool) {
	s.conn = conn
	s.connected = conn.RemoteAddr() != nil
}

func (s *udpSender) send(pkts [][]byte, to *Addr) (int, error) {
	if err := s.conn.SetWriteDeadline(time.Now().Add(udpPatience)); err != nil {
		return 0, err
	}
	var remote netip.AddrPort
	if to != nil {
		remote = to.Remote
	}
	for i, p := range pkts {
		var err error
		if s.connected {
			_, err = s.conn.Write(p)
		} else {
			_, err = s.conn.WriteToUDPAddrPort(p, remote)
		}
		var timeout net.Error
		switch {
		case err == nil:
		case errors.Is(err, errMsgSize):
			return i, ErrTooLarge
		case errors.As(err, &timeout) && timeout.Timeout():
			return i, ErrFull
		default:
			return i, err
		}
	}
	return len(pkts), nil
}

// udpReceiver receives through the net package.
type udpReceiver struct{ conn *net.UDPConn }

func (r *udpReceiver) init(conn *net.UDPConn, _ syscall.RawConn, _, _ bool) { r.conn = conn }

func (r *udpReceiver) receive(bufs [][]byte, sizes []int, from []Addr) (int, error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	for {
		n, _, flags, remote, err := r.conn.ReadMsgUDPAddrPort(bufs[0], nil)
		if errors.Is(err, errMsgSize) || err == nil && flags&msgTrunc != 0 {
			continue
		}
		if err != nil {
			return 0, err
		}
		sizes[0] = n
		if from != nil {
			from[0] = Addr{Remote: unmap(remote)}
		}
		return 1, nil
	}
}
