package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// Sizes of the outer headers of a UDP datagram without options, in bytes
// (RFC 791, RFC 8200, RFC 768).
const (
	ethernetMTU = 1500
	ipv4Header  = 20
	ipv6Header  = 40
	udpHeader   = 8

	// maxUDP is the largest UDP payload over IPv4; IPv6 allows 20 bytes more.
	maxUDP = 65535 - ipv4Header - udpHeader
)

const (
	defaultReadBuffer  = 4 << 20
	defaultWriteBuffer = 1 << 20
)

// UDPConfig configures DialUDP and ListenUDP. Neither modifies or keeps it.
type UDPConfig struct {
	// Local is the address to bind to. The zero value, or a zero Addr or port, leaves
	// that choice to the system. ListenUDP takes both IPv4 and IPv6, if the system
	// has both, when the address is the zero Addr or "::", and IPv4 only when it is
	// "0.0.0.0".
	Local netip.AddrPort

	// Remote is the peer. DialUDP needs it; ListenUDP refuses it.
	Remote netip.AddrPort

	// Interface is the name of the only network interface to use, whatever the
	// routing table prefers (SO_BINDTODEVICE on Linux, IP_BOUND_IF on macOS,
	// IP_UNICAST_IF, which concerns sending only, on Windows). Empty means any.
	Interface string

	// Mark is the firewall mark of outgoing packets (SO_MARK on Linux,
	// SO_USER_COOKIE on FreeBSD, the routing table on OpenBSD). Zero means none.
	Mark uint32

	// RoutingTable is the table that outgoing packets are routed by (SO_SETFIB on
	// FreeBSD, SO_RTABLE on OpenBSD). Zero means the default. Linux has no such option:
	// set a Mark, and add a rule that leads it to the table.
	RoutingTable int

	// MTU is the largest datagram to send, in bytes of UDP payload. Zero means what
	// fits a packet of 1500 bytes: 1472 over IPv4, 1452 over IPv6 and for a socket
	// that takes both.
	MTU int

	// ReadBuffer and WriteBuffer are the sizes of the system's buffers in bytes. Zero
	// means 4 MiB to read and 1 MiB to write, negative leaves the system's default.
	// The system may grant less: Linux does to processes without CAP_NET_ADMIN, up to
	// net.core.rmem_max and wmem_max.
	ReadBuffer, WriteBuffer int
}

func (cfg *UDPConfig) readBuffer() int {
	if cfg.ReadBuffer == 0 {
		return defaultReadBuffer
	}
	return cfg.ReadBuffer
}

func (cfg *UDPConfig) writeBuffer() int {
	if cfg.WriteBuffer == 0 {
		return defaultWriteBuffer
	}
	return cfg.WriteBuffer
}

func (cfg *UDPConfig) mtu(is6 bool) int {
	switch {
	case cfg.MTU != 0:
		return cfg.MTU
	case is6:
		return ethernetMTU - ipv6Header - udpHeader
	default:
		return ethernetMTU - ipv4Header - udpHeader
	}
}

func (cfg *UDPConfig) way() way { return way{cfg.Interface, cfg.Mark, cfg.RoutingTable} }

func (cfg *UDPConfig) check() error {
	if cfg.MTU < 0 || cfg.MTU > maxUDP {
		return fmt.Errorf("an MTU of %d is out of range: use 1 to %d, or 0 for the default", cfg.MTU, maxUDP)
	}
	return nil
}

// dual reports whether the socket takes both IPv4 and IPv6.
func (cfg *UDPConfig) dual() bool {
	a := cfg.Local.Addr()
	return !cfg.Remote.IsValid() && (!a.IsValid() || a == netip.IPv6Unspecified())
}

// listen opens and binds an unconnected socket.
//
// For both families it asks for IPv6 and then for IPv4 in it, as network "udp" of the
// net package is IPv4 only wherever ::1 is not configured.
func (cfg *UDPConfig) listen() (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: cfg.control}
	network, address := "udp4", cfg.Local.String()
	if cfg.dual() {
		conn, err := lc.ListenPacket(context.Background(), "udp6", fmt.Sprintf("[::]:%d", cfg.Local.Port()))
		if err == nil {
			return conn.(*net.UDPConn), nil
		}
		if errors.Is(err, errAddrInUse) {
			return nil, err
		}
		address = fmt.Sprintf("0.0.0.0:%d", cfg.Local.Port()) // a system without IPv6
	} else if cfg.Local.Addr().Is6() {
		network = "udp6"
	}
	conn, err := lc.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// control applies the options that must be in place before the socket is bound.
func (cfg *UDPConfig) control(network, _ string, rc syscall.RawConn) error {
	var err error
	if cerr := rc.Control(func(fd uintptr) {
		err = setUDPOptions(fd, network == "udp6", cfg)
	}); cerr != nil {
		return cerr
	}
	return err
}

// wrap says what was tried with cfg and, where it is known, what to do about err.
func (cfg *UDPConfig) wrap(op string, err error) error {
	var b strings.Builder
	b.WriteString("link: ")
	b.WriteString(op)
	if cfg.Local != (netip.AddrPort{}) {
		fmt.Fprintf(&b, " from %s", formatLocal(cfg.Local))
	}
	if cfg.Remote.IsValid() {
		fmt.Fprintf(&b, " to %s", cfg.Remote)
	}
	if cfg.Interface != "" {
		fmt.Fprintf(&b, " on interface %s", cfg.Interface)
	}
	// The net package repeats the addresses in front of the cause.
	cause := err
	var op2 *net.OpError
	if errors.As(err, &op2) {
		cause = op2.Err
	}
	switch {
	case errors.Is(err, errAddrNotAvail) && cfg.Local.Addr().IsValid():
		return fmt.Errorf("%s: %w: no interface has the address %s: use an address of this host, or leave it out", b.String(), cause, cfg.Local.Addr())
	case errors.Is(err, errAddrInUse):
		return fmt.Errorf("%s: %w: stop the program that has this port, or choose another port", b.String(), cause)
	case errors.Is(err, errNetUnreach):
		return fmt.Errorf("%s: %w: check that the interface is up and has a route to the remote address", b.String(), cause)
	}
	return fmt.Errorf("%s: %w", b.String(), cause)
}

// formatLocal formats an address whose IP part may be absent.
func formatLocal(ap netip.AddrPort) string {
	if !ap.Addr().IsValid() {
		return fmt.Sprintf(":%d", ap.Port())
	}
	return ap.String()
}

// udpConn is a UDP socket with the system's batch I/O. Everything in it but the two
// halves is constant after opening.
type udpConn struct {
	conn          *net.UDPConn
	local, remote netip.AddrPort // remote is the zero AddrPort if not connected
	iface         string
	mtu           int

	sender   udpSender   // owned by the goroutine that sends
	receiver udpReceiver // owned by the goroutine that receives
}

func (c *udpConn) init(conn *net.UDPConn, remote netip.AddrPort, cfg *UDPConfig) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	c.conn = conn
	c.local = unmap(local)
	c.remote = remote
	c.iface = cfg.Interface
	c.mtu = cfg.mtu(local.Addr().Is6())
	c.sender.init(conn, raw, local.Addr().Is6())
	c.receiver.init(conn, raw, local.Addr().Is6(), remote.IsValid())
	return nil
}

// send implements Link.Send, to the connected peer if to is nil.
func (c *udpConn) send(pkts [][]byte, to *Addr) (int, error) {
	fit := 0
	for fit < len(pkts) && len(pkts[fit]) <= c.mtu {
		fit++
	}
	if fit > 0 {
		n, err := c.sender.send(pkts[:fit], to)
		if n < fit {
			return n, c.sendError(err, to)
		}
	}
	if fit < len(pkts) {
		return fit, ErrTooLarge
	}
	return fit, nil
}

func (c *udpConn) sendError(err error, to *Addr) error {
	if err == ErrFull || err == ErrTooLarge {
		return err
	}
	if errors.Is(err, net.ErrClosed) {
		return net.ErrClosed
	}
	remote, from := c.remote, c.local.String()
	if to != nil {
		remote = to.Remote
		if to.Local.IsValid() {
			from = to.Local.String()
		}
	}
	return fmt.Errorf("link: send from %s to %s%s: %w", from, remote, c.on(), err)
}

// receive implements Link.Receive; from is nil if the socket is connected.
func (c *udpConn) receive(bufs [][]byte, sizes []int, from []Addr) (int, error) {
	n, err := c.receiver.receive(bufs, sizes, from)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, net.ErrClosed) {
		return n, net.ErrClosed
	}
	if c.remote.IsValid() {
		return n, fmt.Errorf("link: receive at %s from %s%s: %w", c.local, c.remote, c.on(), err)
	}
	return n, fmt.Errorf("link: receive at %s%s: %w", c.local, c.on(), err)
}

func (c *udpConn) on() string {
	if c.iface == "" {
		return ""
	}
	return " on interface " + c.iface
}

func (c *udpConn) close() error {
	if err := c.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("link: close %s: %w", c.local, err)
	}
	return nil
}

// UDP is a Link over a connected UDP socket.
//
// Datagrams are sent with the don't-fragment bit, and the system's own path MTU
// discovery is set aside where it can be: finding the size that passes is up to the
// caller (RFC 8899). ICMP errors, such as connection refused, are returned by Receive
// as transient errors, once per ICMP message.
type UDP struct{ c udpConn }

// DialUDP opens a UDP link to cfg.Remote. It does no I/O on the network. The local
// address is chosen now, by the routing table if cfg leaves it open, and stays: open a
// new link when the host's addresses have changed.
func DialUDP(cfg UDPConfig) (*UDP, error) {
	const op = "dial UDP"
	if err := cfg.check(); err != nil {
		return nil, cfg.wrap(op, err)
	}
	if !cfg.Remote.Addr().IsValid() || cfg.Remote.Port() == 0 || cfg.Remote.Addr().IsUnspecified() {
		return nil, cfg.wrap(op, errors.New("no remote address and port: set UDPConfig.Remote"))
	}
	cfg.Local, cfg.Remote = unmap(cfg.Local), unmap(cfg.Remote)
	network := "udp4"
	if cfg.Remote.Addr().Is6() {
		network = "udp6"
	}
	if a := cfg.Local.Addr(); a.IsValid() && a.Is4() != cfg.Remote.Addr().Is4() {
		return nil, cfg.wrap(op, errors.New("one address is IPv4, the other IPv6: use two of the same family"))
	}
	d := net.Dialer{Control: cfg.control}
	if cfg.Local != (netip.AddrPort{}) {
		d.LocalAddr = udpAddr(cfg.Local)
	}
	conn, err := d.DialContext(context.Background(), network, cfg.Remote.String())
	if err != nil {
		return nil, cfg.wrap(op, err)
	}
	u := new(UDP)
	if err := u.c.init(conn.(*net.UDPConn), cfg.Remote, &cfg); err != nil {
		conn.Close()
		return nil, cfg.wrap(op, err)
	}
	return u, nil
}

// Send implements Link. It does not allocate.
func (u *UDP) Send(pkts [][]byte) (n int, err error) { return u.c.send(pkts, nil) }

// Receive implements Link. It does not allocate.
func (u *UDP) Receive(bufs [][]byte, sizes []int) (n int, err error) {
	return u.c.receive(bufs, sizes, nil)
}

// MTU implements Link.
func (u *UDP) MTU() int { return u.c.mtu }

// Addresses implements Addresser.
func (u *UDP) Addresses() (local, remote netip.AddrPort) { return u.c.local, u.c.remote }

// Close implements Link.
func (u *UDP) Close() error { return u.c.close() }

// UDPSocket is a Socket over UDP.
//
// Addr.Local and Addr.Interface are known on Linux and macOS, on FreeBSD, and on the
// other BSDs for IPv6. Elsewhere they are zero, and answers leave from the address that
// the routing table prefers: bind one socket to each address there.
type UDPSocket struct{ c udpConn }

// ListenUDP opens a UDP socket for many peers, bound to cfg.Local.
func ListenUDP(cfg UDPConfig) (*UDPSocket, error) {
	const op = "listen on UDP"
	if err := cfg.check(); err != nil {
		return nil, cfg.wrap(op, err)
	}
	if cfg.Remote != (netip.AddrPort{}) {
		return nil, cfg.wrap(op, errors.New("a listening socket has no remote address: use DialUDP"))
	}
	cfg.Local = unmap(cfg.Local)
	conn, err := cfg.listen()
	if err != nil {
		return nil, cfg.wrap(op, err)
	}
	s := new(UDPSocket)
	if err := s.c.init(conn, netip.AddrPort{}, &cfg); err != nil {
		conn.Close()
		return nil, cfg.wrap(op, err)
	}
	return s, nil
}

// SendTo implements Socket. It does not allocate.
//
// When to.Local is no longer an address of this host, SendTo fails; an Addr with a zero
// Local leaves by whatever address the host has now.
func (s *UDPSocket) SendTo(pkts [][]byte, to Addr) (n int, err error) {
	return s.c.send(pkts, &to)
}

// ReceiveFrom implements Socket. It does not allocate.
func (s *UDPSocket) ReceiveFrom(bufs [][]byte, sizes []int, from []Addr) (n int, err error) {
	return s.c.receive(bufs, sizes, from)
}

// LocalAddr implements Socket.
func (s *UDPSocket) LocalAddr() netip.AddrPort { return s.c.local }

// MTU implements Socket.
func (s *UDPSocket) MTU() int { return s.c.mtu }

// Close implements Socket.
func (s *UDPSocket) Close() error { return s.c.close() }

func unmap(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// udpAddr is net.UDPAddrFromAddrPort for an address whose IP part may be absent.
func udpAddr(ap netip.AddrPort) *net.UDPAddr {
	if !ap.Addr().IsValid() {
		return &net.UDPAddr{Port: int(ap.Port())}
	}
	return net.UDPAddrFromAddrPort(ap)
}
