package link_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/link/linktest"
)

var (
	loopback4 = netip.MustParseAddr("127.0.0.1")
	loopback6 = netip.IPv6Loopback()
)

// ordered are the promises of loopback and streams: they are ordered and lose nothing
// while little is under way.
var ordered = linktest.Traits{Lossless: true, Ordered: true, NoDup: true}

// freePort returns an address with a port that was free a moment ago.
func freePort(t testing.TB, addr netip.Addr) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err != nil {
		t.Skipf("no loopback of this family: %v", err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func udpPair(addr netip.Addr) linktest.MakePair {
	return func(t testing.TB) (link.Link, link.Link) {
		pa, pb := freePort(t, addr), freePort(t, addr)
		a, err := link.DialUDP(link.UDPConfig{Local: pa, Remote: pb})
		if err != nil {
			t.Fatal(err)
		}
		b, err := link.DialUDP(link.UDPConfig{Local: pb, Remote: pa})
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
}

func TestUDP4Conformance(t *testing.T) { linktest.TestLink(t, udpPair(loopback4), ordered) }
func TestUDP6Conformance(t *testing.T) { linktest.TestLink(t, udpPair(loopback6), ordered) }

func udpSocket(bind, dial netip.Addr) linktest.MakeSocket {
	return func(t testing.TB) (link.Socket, func() link.Link) {
		s, err := link.ListenUDP(link.UDPConfig{Local: netip.AddrPortFrom(bind, 0)})
		if err != nil {
			t.Fatal(err)
		}
		remote := netip.AddrPortFrom(dial, s.LocalAddr().Port())
		return s, func() link.Link {
			l, err := link.DialUDP(link.UDPConfig{Remote: remote})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
	}
}

func TestUDPSocketConformance(t *testing.T) {
	for _, tc := range []struct {
		name       string
		bind, dial netip.Addr
	}{
		{"IPv4", loopback4, loopback4},
		{"IPv6", loopback6, loopback6},
		{"AnyIPv4", netip.IPv4Unspecified(), loopback4},
		{"DualIPv4", netip.Addr{}, loopback4},
		{"DualIPv6", netip.IPv6Unspecified(), loopback6},
	} {
		t.Run(tc.name, func(t *testing.T) { linktest.TestSocket(t, udpSocket(tc.bind, tc.dial)) })
	}
}

func packetPair(t testing.TB) (link.Link, link.Link) {
	ca, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cb, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return link.NewPacketConn(ca, cb.LocalAddr(), 1400), link.NewPacketConn(cb, ca.LocalAddr(), 1400)
}

func TestPacketConnConformance(t *testing.T) { linktest.TestLink(t, packetPair, ordered) }

func TestUnixgramConformance(t *testing.T) {
	dir := t.TempDir()
	linktest.TestLink(t, func(t testing.TB) (link.Link, link.Link) {
		listen := func(name string) (net.PacketConn, net.Addr) {
			addr := &net.UnixAddr{Net: "unixgram", Name: dir + "/" + name}
			c, err := net.ListenUnixgram("unixgram", addr)
			if err != nil {
				t.Skip(err)
			}
			return c, addr
		}
		ca, a := listen("a")
		cb, b := listen("b")
		return link.NewPacketConn(ca, b, 1400), link.NewPacketConn(cb, a, 1400)
	}, ordered)
}

func pipePair(testing.TB) (link.Link, link.Link) {
	a, b := net.Pipe()
	return link.NewStream(a, link.StreamConfig{}), link.NewStream(b, link.StreamConfig{})
}

func TestStreamPipeConformance(t *testing.T) {
	virtual := ordered
	virtual.Virtual = true
	linktest.TestLink(t, pipePair, virtual)
}

func tcpPair(cfg link.StreamConfig) linktest.MakePair {
	return func(t testing.TB) (link.Link, link.Link) {
		tl, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := link.NewStreamListener(tl, cfg)
		defer l.Close()
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return link.NewStream(c, cfg), b
	}
}

func TestStreamTCPConformance(t *testing.T) {
	linktest.TestLink(t, tcpPair(link.StreamConfig{}), ordered)
}

func TestStreamJumboConformance(t *testing.T) {
	linktest.TestLink(t, tcpPair(link.StreamConfig{MTU: 65535, Queue: 1}), ordered)
}

func BenchmarkUDP(b *testing.B)        { linktest.BenchmarkLink(b, udpPair(loopback4)) }
func BenchmarkPacketConn(b *testing.B) { linktest.BenchmarkLink(b, packetPair) }
func BenchmarkStreamTCP(b *testing.B)  { linktest.BenchmarkLink(b, tcpPair(link.StreamConfig{})) }
