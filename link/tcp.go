package link

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// TCPConfig configures DialTCP and ListenTCP. Neither modifies or keeps it. Its fields
// are those of UDPConfig.
type TCPConfig struct {
	Local        netip.AddrPort
	Remote       netip.AddrPort // of DialTCP only
	Interface    string
	Mark         uint32
	RoutingTable int
}

// DialTCP opens a TCP connection, for NewStream directly or below TLS or another
// protocol. ctx bounds the time that it takes.
func DialTCP(ctx context.Context, cfg TCPConfig) (net.Conn, error) {
	const op = "dial TCP"
	u := cfg.udp()
	if !cfg.Remote.Addr().IsValid() || cfg.Remote.Port() == 0 {
		return nil, u.wrap(op, errors.New("no remote address and port: set TCPConfig.Remote"))
	}
	d := net.Dialer{Control: cfg.control}
	if u.Local != (netip.AddrPort{}) {
		a := net.TCPAddr(*udpAddr(u.Local))
		d.LocalAddr = &a
	}
	c, err := d.DialContext(ctx, "tcp", u.Remote.String())
	if err != nil {
		return nil, u.wrap(op, err)
	}
	return c, nil
}

// ListenTCP listens on cfg.Local for TCP connections. The zero address and "::" take
// both IPv4 and IPv6, if the system has both.
func ListenTCP(cfg TCPConfig) (net.Listener, error) {
	const op = "listen on TCP"
	u := cfg.udp()
	if cfg.Remote != (netip.AddrPort{}) {
		return nil, u.wrap(op, errors.New("a listening socket has no remote address: use DialTCP"))
	}
	address, network := u.Local.String(), "tcp"
	if u.dual() {
		address = net.JoinHostPort("", strconv.Itoa(int(u.Local.Port())))
	} else if u.Local.Addr().Is4() {
		network = "tcp4"
	}
	lc := net.ListenConfig{Control: cfg.control}
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, u.wrap(op, err)
	}
	return l, nil
}

// udp returns the same for UDP, for what both have in common.
func (cfg *TCPConfig) udp() *UDPConfig {
	return &UDPConfig{Local: unmap(cfg.Local), Remote: unmap(cfg.Remote), Interface: cfg.Interface}
}

func (cfg *TCPConfig) control(network, _ string, rc syscall.RawConn) error {
	var err error
	if cerr := rc.Control(func(fd uintptr) {
		err = way{cfg.Interface, cfg.Mark, cfg.RoutingTable}.set(fd, network == "tcp6")
	}); cerr != nil {
		return cerr
	}
	return err
}
