package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// serverConfig returns what a server is made of, but for its links.
func serverConfig(s *settings, shared mlvpn.Config) mlvpn.ServerConfig {
	return mlvpn.ServerConfig{Config: shared, Clients: s.clients, Pools: pools(s.conf)}
}

// pools returns the networks from which clients get addresses: those of the tunnel, if
// there is room in them for others. A bridge leaves that to the hosts it joins.
func pools(c *conf.Config) (nets []netip.Prefix) {
	if c.Device == conf.TAP {
		return nil
	}
	for _, own := range []netip.Prefix{c.IP4, c.IP6} {
		if own.IsValid() && own.Bits() < own.Addr().BitLen() {
			nets = append(nets, own)
		}
	}
	return nets
}

// parseClients returns the clients of a server that knows them by key: the one in its
// configuration, if there is one, and those that have files.
func parseClients(c *conf.Config, keys keyring, files []*conf.ClientFile) ([]mlvpn.Peer, error) {
	if c.Mode != conf.Server || c.PrivateKey == "" {
		return nil, nil
	}
	var list []mlvpn.Peer
	if c.PeerKey != "" {
		// It may use any address that is no other's.
		everything := []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
		list = append(list, mlvpn.Peer{Name: "client", Key: keys.peer, Preshared: keys.preshared, Prefixes: everything})
	}
	var errs []error
	for _, f := range files {
		p, err := parseClient(c, f)
		list, errs = append(list, p), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := mlvpn.CheckPeers(list); err != nil {
		return nil, fmt.Errorf("%s: %w", c.ClientsPath(), err)
	}
	return list, nil
}

func parseClient(c *conf.Config, f *conf.ClientFile) (p mlvpn.Peer, err error) {
	fail := func(key string, err error) (mlvpn.Peer, error) {
		return mlvpn.Peer{}, fmt.Errorf("%s: %s in [client]: %w", f.File, key, err)
	}
	p.Name = f.Name
	if p.Key, err = crypto.ParsePublicKey(f.PublicKey); err != nil {
		return fail("public_key", err)
	}
	if f.PresharedKey != "" {
		if p.Preshared, err = crypto.ParsePresharedKey(f.PresharedKey); err != nil {
			return fail("preshared_key", err)
		}
	}
	for _, x := range []struct {
		addr netip.Addr
		own  netip.Prefix
		key  string
	}{{f.IP4, c.IP4, "ip4"}, {f.IP6, c.IP6, "ip6"}} {
		switch {
		case !x.addr.IsValid():
			continue
		case !x.own.IsValid():
			x.own = netip.PrefixFrom(x.addr, x.addr.BitLen())
		case x.addr == x.own.Addr():
			return fail(x.key, fmt.Errorf("%v is the server's own address: choose another", x.addr))
		case !x.own.Contains(x.addr):
			return fail(x.key, fmt.Errorf("%v is not in the server's network %v: choose one of that", x.addr, x.own.Masked()))
		}
		p.Addresses = append(p.Addresses, netip.PrefixFrom(x.addr, x.own.Bits()))
	}
	p.Prefixes = append(append(p.Prefixes, f.IP4Routes...), f.IP6Routes...)
	return p, nil
}

// clientList is the part of a server that lets clients in.
type clientList struct {
	server *mlvpn.Server
	log    *slog.Logger
}

// prepare implements part. The list was checked when it was read.
func (l clientList) prepare(_, new *settings) (func() string, func(), error) {
	return func() string {
		changes, err := l.server.SetClients(new.clients)
		if err != nil {
			l.log.Error("the clients stay as they are", "err", err)
			return ""
		}
		if changes.IsZero() {
			return ""
		}
		return "clients: " + changes.String()
	}, nil, nil
}
