package linktest

import (
	"errors"
	"net/netip"
	"sync"
	"testing"

	"github.com/multilink-vpn/multilink/link"
)

func udpSocket(tb testing.TB) (link.Socket, func() link.Link) {
	s, err := link.ListenUDP(link.UDPConfig{Local: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		tb.Fatal(err)
	}
	return s, func() link.Link {
		l, err := link.DialUDP(link.UDPConfig{Remote: s.LocalAddr()})
		if err != nil {
			tb.Fatal(err)
		}
		return l
	}
}

// brokenSocket changes the addresses of a socket.
type brokenSocket struct {
	link.Socket
	to   func(link.Addr) link.Addr
	from func(link.Addr) link.Addr
}

func (s *brokenSocket) SendTo(pkts [][]byte, to link.Addr) (int, error) {
	if s.to != nil {
		to = s.to(to)
	}
	return s.Socket.SendTo(pkts, to)
}

func (s *brokenSocket) ReceiveFrom(bufs [][]byte, sizes []int, from []link.Addr) (int, error) {
	n, err := s.Socket.ReceiveFrom(bufs, sizes, from)
	for i := range n {
		if s.from != nil {
			from[i] = s.from(from[i])
		}
	}
	return n, err
}

// TestBrokenSockets shows that the cases of many peers can fail.
func TestBrokenSockets(t *testing.T) {
	for _, tc := range []struct {
		name     string
		by       string
		sentence string
		wrap     func(s *brokenSocket)
	}{
		{"one address for all", "PeersAddr", sAddr, func(s *brokenSocket) {
			s.from = func(link.Addr) link.Addr { return link.Addr{Remote: s.LocalAddr()} }
		}},
		{"an address that changes", "PeersAddr", sAddr, func(s *brokenSocket) {
			count := 0
			s.from = func(a link.Addr) link.Addr { count++; a.Interface = count; return a }
		}},
		{"mapped addresses", "PeersAddr", sMapped, func(s *brokenSocket) {
			s.from = func(a link.Addr) link.Addr {
				a.Remote = netip.AddrPortFrom(netip.AddrFrom16(a.Remote.Addr().As16()), a.Remote.Port())
				return a
			}
		}},
		{"answers to the first peer", "PeersReply", sIntact, func(s *brokenSocket) {
			var mu sync.Mutex
			var first link.Addr
			s.to = func(a link.Addr) link.Addr {
				mu.Lock()
				defer mu.Unlock()
				if first == (link.Addr{}) {
					first = a
				}
				return first
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, c := range socketCases {
				if c.name != tc.by {
					continue
				}
				err := c.exec(t, func(tb testing.TB) (link.Socket, func() link.Link) {
					s, dial := udpSocket(tb)
					b := &brokenSocket{Socket: s}
					tc.wrap(b)
					return b, dial
				})
				var v *violation
				if !errors.As(err, &v) {
					t.Fatalf("%s did not catch it: %v", tc.by, err)
				}
				if v.sentence != tc.sentence {
					t.Errorf("%s caught it by %q, want %q", tc.by, err, tc.sentence)
				}
			}
		})
	}
}
