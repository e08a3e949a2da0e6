package daemon

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/fib"
	"github.com/multilink-vpn/multilink/internal/wsconn"
	"github.com/multilink-vpn/multilink/link"
)

const (
	lookupTimeout = 10 * time.Second

	// streamMTU is the longest datagram of a link over a stream, in bytes. Both ends must
	// agree, and the largest tunnel MTU must fit.
	streamMTU = 9216
)

// dial opens the transport of a client's link: to the first of the server's addresses
// that this host can try.
func dial(ctx context.Context, l *conf.Link, w fib.Way) (link.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	local, err := resolve(ctx, l.BindHost)
	if err != nil {
		return nil, fmt.Errorf("bindhost: %w", err)
	}
	remotes, err := resolveRemote(ctx, l.RemoteHost, local)
	if err != nil {
		return nil, fmt.Errorf("remotehost: %w", err)
	}
	var errs []error
	for _, remote := range remotes {
		opened, err := dialAddr(ctx, l, w, localFor(local, remote, l.BindPort), netip.AddrPortFrom(remote, l.RemotePort))
		if err == nil {
			return opened, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// localFor returns the address to bind to for a remote one. "0.0.0.0" and "::" are any
// address.
func localFor(local, remote netip.Addr, port uint16) netip.AddrPort {
	if local.IsUnspecified() && local.Is4() != remote.Is4() {
		local = netip.Addr{}
	}
	if !local.IsValid() && port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(local, port)
}

func dialAddr(ctx context.Context, l *conf.Link, w fib.Way, local, remote netip.AddrPort) (link.Link, error) {
	if l.Transport == conf.UDP {
		return link.DialUDP(link.UDPConfig{Local: local, Remote: remote, Interface: l.BindDev, Mark: w.Mark, RoutingTable: w.Table})
	}
	tcp := func(ctx context.Context) (net.Conn, error) {
		return link.DialTCP(ctx, link.TCPConfig{Local: local, Remote: remote, Interface: l.BindDev, Mark: w.Mark, RoutingTable: w.Table})
	}
	name := cmp.Or(l.TLSName, l.RemoteHost)
	// The server is authenticated by what the stream carries: whose certificate it shows
	// does not matter.
	secure := &tls.Config{ServerName: name, InsecureSkipVerify: true}
	var conn net.Conn
	var err error
	switch l.Transport {
	case conf.TLS:
		if conn, err = tcp(ctx); err == nil {
			t := tls.Client(conn, secure)
			if err = t.HandshakeContext(ctx); err != nil {
				conn.Close()
				err = fmt.Errorf("TLS with %s: %w", remote, err)
			}
			conn = t
		}
	case conf.WebSocket:
		t := wsconn.Target{Host: net.JoinHostPort(name, strconv.Itoa(int(l.RemotePort))), Path: l.WebSocketPath, TLS: secure, Dial: tcp}
		if l.WebSocketPlain {
			t.TLS = nil
		}
		conn, err = wsconn.Dial(ctx, t)
	default:
		conn, err = tcp(ctx)
	}
	if err != nil {
		return nil, err
	}
	return link.NewStream(conn, link.StreamConfig{MTU: streamMTU}), nil
}

// A listening is where the links of one section of a server arrive: at a socket, or at
// a listener.
type listening struct {
	socket   link.Socket
	listener link.Listener
}

func (l listening) close() {
	if l.socket != nil {
		l.socket.Close()
	}
	if l.listener != nil {
		l.listener.Close()
	}
}

// port returns the local port.
func (l listening) port() uint16 {
	if l.socket != nil {
		return l.socket.LocalAddr().Port()
	}
	if s, ok := l.listener.(*link.StreamListener); ok {
		if a, ok := s.Addr().(*net.TCPAddr); ok {
			return uint16(a.Port)
		}
	}
	return 0
}

// listen opens what a section of a server describes.
func listen(l *conf.Link, w fib.Way) (opened listening, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	addr, err := resolve(ctx, l.BindHost)
	if err != nil {
		return listening{}, fmt.Errorf("link %s: bindhost: %w", l.Name, err)
	}
	local := netip.AddrPortFrom(addr, l.BindPort)
	if l.Transport == conf.UDP {
		opened.socket, err = link.ListenUDP(link.UDPConfig{Local: local, Interface: l.BindDev, Mark: w.Mark, RoutingTable: w.Table})
	} else {
		opened.listener, err = listenStream(l, link.TCPConfig{Local: local, Interface: l.BindDev, Mark: w.Mark, RoutingTable: w.Table})
	}
	if err != nil {
		return listening{}, fmt.Errorf("link %s: %w", l.Name, err)
	}
	return opened, nil
}

func listenStream(l *conf.Link, cfg link.TCPConfig) (link.Listener, error) {
	var secure *tls.Config
	if l.Transport == conf.TLS || l.Transport == conf.WebSocket && !l.WebSocketPlain {
		cert, err := certificate(l)
		if err != nil {
			return nil, err
		}
		secure = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	conns, err := link.ListenTCP(cfg)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		conns = tls.NewListener(conns, secure)
	}
	if l.Transport == conf.WebSocket {
		conns = wsconn.Listen(conns, l.WebSocketPath)
	}
	return link.NewStreamListener(conns, link.StreamConfig{MTU: streamMTU}), nil
}

// certificate returns the certificate of a link over TLS: the one in its files, or one
// made up, which is as good for those who do not check it.
func certificate(l *conf.Link) (tls.Certificate, error) {
	if l.TLSCertificate != "" {
		cert, err := tls.LoadX509KeyPair(l.TLSCertificate, l.TLSKey)
		if err != nil {
			return cert, fmt.Errorf("tls_certificate and tls_key: %w", err)
		}
		return cert, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    time.Now().Add(-24 * time.Hour),
		NotAfter:     time.Now().AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// resolve turns a host name or address into an address. An empty host is none.
func resolve(ctx context.Context, host string) (netip.Addr, error) {
	if host == "" {
		return netip.Addr{}, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap(), nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	return addrs[0].Unmap(), nil
}

// resolveRemote looks a host up, in the address family of the local address if there
// is one that is not any address.
func resolveRemote(ctx context.Context, host string, local netip.Addr) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	family := "ip"
	switch {
	case local.Is4():
		family = "ip4"
	case local.Is6() && !local.IsUnspecified():
		family = "ip6"
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, family, host)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}

// sameWay reports whether two descriptions of a link lead to the same transport, so that
// an open one can stay.
func sameWay(a, b *conf.Link) bool {
	of := func(l *conf.Link) conf.Link {
		return conf.Link{
			BindHost: l.BindHost, BindPort: l.BindPort, BindFIB: l.BindFIB, BindDev: l.BindDev,
			RemoteHost: l.RemoteHost, RemotePort: l.RemotePort, Transport: l.Transport,
			TLSCertificate: l.TLSCertificate, TLSKey: l.TLSKey, TLSName: l.TLSName,
			WebSocketPath: l.WebSocketPath, WebSocketPlain: l.WebSocketPlain,
		}
	}
	return of(a) == of(b)
}
