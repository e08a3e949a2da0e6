package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// once sends one probe and waits for its answer until ctx is done.
func once(ctx context.Context, l Line, t Target) error {
	switch t.Method {
	case ICMP:
		return echo(ctx, l, t.Addr.Addr())
	case TCP:
		c, err := dial(ctx, l, "tcp", t.Addr)
		if errors.Is(err, unix.ECONNREFUSED) {
			return nil
		}
		if err != nil {
			return err
		}
		return c.Close()
	}
	return query(ctx, l, t.Addr)
}

// mark has a socket's packets go by the line's table.
func (l Line) mark(_, _ string, c syscall.RawConn) (err error) {
	cerr := c.Control(func(fd uintptr) {
		if l.Mark != 0 {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(l.Mark))
		}
	})
	return errors.Join(cerr, err)
}

func dial(ctx context.Context, l Line, network string, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Control: l.mark}
	local := netip.AddrPortFrom(l.Addr, 0)
	if network == "tcp" {
		d.LocalAddr = net.TCPAddrFromAddrPort(local)
	} else {
		d.LocalAddr = net.UDPAddrFromAddrPort(local)
	}
	return d.DialContext(ctx, network, to.String())
}

// rootQuery asks for the name servers of the root, RFC 1035, section 4.1.
func rootQuery(id uint16) []byte {
	return []byte{byte(id >> 8), byte(id), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1}
}

// query sends a DNS query. What refuses it is there, too.
func query(ctx context.Context, l Line, to netip.AddrPort) error {
	c, err := dial(ctx, l, "udp", to)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := c.Write(rootQuery(uint16(rand.Uint32()))); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 512))
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	return err
}

// echo sends an echo request.
func echo(ctx context.Context, l Line, to netip.Addr) error { return Ping(ctx, l, to, 0) }

// Ping sends an echo request, RFC 792 and RFC 4443, in an IP packet of so many bytes that
// must not be fragmented, and waits for the answer until ctx is done. A size of 0 is a
// small one. A packet that is known to be too large for the way is an error that matches
// EMSGSIZE.
func Ping(ctx context.Context, l Line, to netip.Addr, size int) error {
	network, kind, proto, headers := "ip4:icmp", icmp.Type(ipv4.ICMPTypeEcho), 1, 28
	if to.Is6() {
		network, kind, proto, headers = "ip6:ipv6-icmp", ipv6.ICMPTypeEchoRequest, 58, 48
	}
	lc := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
		return errors.Join(l.mark(network, address, c), dontFragment(c, to))
	}}
	c, err := lc.ListenPacket(ctx, network, l.Addr.String())
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	id, seq := int(rand.Uint32()&0xffff), int(rand.Uint32()&0xffff)
	m := icmp.Message{Type: kind, Body: &icmp.Echo{ID: id, Seq: seq, Data: make([]byte, max(8, size-headers))}}
	var pseudo []byte // part of the checksum in IPv6 only
	if to.Is6() {
		pseudo = icmp.IPv6PseudoHeader(l.Addr.AsSlice(), to.AsSlice())
	}
	b, err := m.Marshal(pseudo)
	if err != nil {
		return fmt.Errorf("echo request: %w", err)
	}
	if _, err := c.WriteTo(b, &net.IPAddr{IP: to.AsSlice()}); err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		m, err := icmp.ParseMessage(proto, buf[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply {
			continue
		}
		if e, ok := m.Body.(*icmp.Echo); ok && e.ID == id && e.Seq == seq {
			return nil
		}
	}
}

// dontFragment has a socket's packets go in one piece or not at all.
func dontFragment(c syscall.RawConn, to netip.Addr) (err error) {
	cerr := c.Control(func(fd uintptr) {
		if to.Is4() {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		}
	})
	return errors.Join(cerr, err)
}

// Refused reports whether a UDP port says that nobody listens there. Silence until ctx
// is done says nothing.
func Refused(ctx context.Context, l Line, to netip.AddrPort) bool {
	c, err := dial(ctx, l, "udp", to)
	if err != nil {
		return false
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := c.Write([]byte{0}); err != nil {
		return errors.Is(err, unix.ECONNREFUSED)
	}
	_, err = c.Read(make([]byte, 1))
	return errors.Is(err, unix.ECONNREFUSED)
}
