package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// A serverSocket is the listening port of one link section.
type serverSocket struct {
	link *conf.Link
	sock *link.UDPSocket
}

// listen opens the ports of all link sections.
func listen(c *conf.Config) (socks []serverSocket, err error) {
	defer func() {
		if err != nil {
			closeSockets(socks)
		}
	}()
	for i := range c.Links {
		l := &c.Links[i]
		ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
		addr, err := resolve(ctx, l.BindHost)
		cancel()
		if err != nil {
			return socks, fmt.Errorf("link %s: bindhost: %w", l.Name, err)
		}
		sock, err := link.ListenUDP(link.UDPConfig{Local: netip.AddrPortFrom(addr, l.BindPort), Interface: l.BindDev})
		if err != nil {
			return socks, fmt.Errorf("link %s: %w", l.Name, err)
		}
		socks = append(socks, serverSocket{l, sock})
	}
	return socks, nil
}

func closeSockets(socks []serverSocket) {
	for _, s := range socks {
		s.sock.Close()
	}
}

func newServer(now *settings, shared mlvpn.Config, socks []serverSocket) (*mlvpn.Server, error) {
	srv, err := mlvpn.NewServer(serverConfig(now, shared))
	if err != nil {
		return nil, err
	}
	for _, s := range socks {
		if err := srv.AddSocket(s.sock, linkConfig(s.link)); err != nil {
			return nil, err
		}
	}
	return srv, nil
}

const lookupTimeout = 10 * time.Second

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
