package mlvpn

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/lease"
	"github.com/multilink-vpn/multilink/internal/wire"
)

// addressing gives inner addresses to clients that ask for some by announcing none
// (SPEC.md, section 6.4). It is owned by the sender.
type addressing struct {
	pools  []*lease.Pool
	leases map[netip.Addr]*Session // addresses from the pools that are in use
}

func newAddressing(pools []netip.Prefix) (a addressing, err error) {
	a.leases = make(map[netip.Addr]*Session)
	for _, own := range pools {
		if !own.IsValid() || own.Addr().Is4In6() {
			return a, fmt.Errorf("mlvpn: pool %v is no address of IPv4 or IPv6 with the length of a network", own)
		}
		for _, other := range a.pools {
			if other.Network().Overlaps(own) {
				return a, fmt.Errorf("mlvpn: pools %v and %v overlap", other.Network(), own.Masked())
			}
		}
		a.pools = append(a.pools, lease.New(own))
	}
	if len(a.pools) > wire.MaxAddresses {
		return a, fmt.Errorf("mlvpn: %d pools, and a client can have %d addresses", len(a.pools), wire.MaxAddresses)
	}
	return a, nil
}

// hosts calls fn with the single addresses among the prefixes of a client, for each pool.
func (a *addressing) hosts(p *Peer, fn func(*lease.Pool, netip.Addr)) {
	if len(a.pools) == 0 {
		return
	}
	for _, x := range p.owned() {
		if x.IsSingleIP() {
			for _, pool := range a.pools {
				fn(pool, x.Addr())
			}
		}
	}
}

// reserve keeps the addresses that a client has by configuration out of the pools.
func (a *addressing) reserve(p *Peer) {
	a.hosts(p, func(pool *lease.Pool, x netip.Addr) { pool.Take(x) })
}

func (a *addressing) unreserve(p *Peer) { a.hosts(p, (*lease.Pool).Release) }

// offer returns the addresses for the client that says hello, which are its own from
// grant on: those that it has by configuration, else those of its session, else free
// ones, the same for the same client.
func (v *Server) offer(key crypto.PublicKey, client *account, hello *wire.Params) (addrs []netip.Prefix) {
	if len(hello.Prefixes) > 0 {
		return nil
	}
	id := identity{key: key}
	seed := key[:]
	if client == nil {
		id = identity{password: passwordIdentity(hello)}
		seed = []byte(id.password)
	} else if len(client.peer.Addresses) > 0 {
		return client.peer.Addresses
	}
	if ses := v.sessions[id]; ses != nil && len(ses.leased) > 0 {
		return ses.leased
	}
	for _, pool := range v.addressing.pools {
		if a, ok := pool.For(seed); ok {
			addrs = append(addrs, a)
		} else {
			v.e.log.Warn("no address is left for a client", "pool", pool.Network())
		}
	}
	return addrs
}

// grant makes addresses that offer has returned those of a session.
func (v *Server) grant(ses *Session, addrs []netip.Prefix) {
	if len(ses.leased) > 0 || ses.owner != nil && len(ses.owner.peer.Addresses) > 0 {
		return // they are already
	}
	ses.leased = addrs
	for _, a := range addrs {
		for _, pool := range v.addressing.pools {
			pool.Take(a.Addr())
		}
		v.addressing.leases[a.Addr()] = ses
	}
	v.tellLeases(ses, true)
}

// revoke gives the addresses of a session that has ended back.
func (v *Server) revoke(ses *Session) {
	for _, a := range ses.leased {
		if v.addressing.leases[a.Addr()] != ses {
			continue // somebody has announced it since
		}
		delete(v.addressing.leases, a.Addr())
		for _, pool := range v.addressing.pools {
			pool.Release(a.Addr())
		}
	}
	v.addressing.announced(ses, (*lease.Pool).Release)
	v.tellLeases(ses, false)
	ses.leased = nil
}

// announced calls fn with the single addresses that a client by password has announced,
// for each pool.
func (a *addressing) announced(ses *Session, fn func(*lease.Pool, netip.Addr)) {
	for _, x := range ses.prefixes {
		for _, pool := range a.pools {
			if x.IsSingleIP() {
				fn(pool, x.Addr())
			}
		}
	}
}

// claim keeps the addresses that a client by password has announced out of the pools. Who
// was given one before does not get the packets for it any more.
func (v *Server) claim(ses *Session) {
	v.addressing.announced(ses, func(pool *lease.Pool, x netip.Addr) {
		pool.Take(x)
		delete(v.addressing.leases, x)
	})
}

// tellLeases tells the receiver who may send from leased addresses. In password mode
// everybody may.
func (v *Server) tellLeases(ses *Session, has bool) {
	if ses.owner == nil || len(ses.leased) == 0 {
		return
	}
	var hosts []netip.Prefix
	for _, a := range ses.leased {
		hosts = append(hosts, netip.PrefixFrom(a.Addr(), a.Addr().BitLen()))
	}
	c := ownerChange{account: ses.owner, open: ses.owner.isOpen(v)}
	if has {
		c.gain = hosts
	} else {
		c.lose = hosts
	}
	r := &v.e.receiver
	r.box.put(func(time.Time) { r.changeOwners([]ownerChange{c}) })
}

// evict logs out whoever has got an address from a pool that a client has now by
// configuration. It comes back and gets another.
func (v *Server) evict(now time.Time, p *Peer) {
	v.addressing.hosts(p, func(_ *lease.Pool, x netip.Addr) {
		if ses := v.addressing.leases[x]; ses != nil && ses.id.key != p.Key {
			v.logOut(now, ses.owner, wire.ReasonUnspecified)
		}
	})
}

// fit returns as many addresses as a RESP has room for that must not be longer than its
// INIT, of so many bytes. rest is the length of the other fields.
func fit(addrs []netip.Prefix, room, rest int) []netip.Prefix {
	const noise = crypto.KeySize + crypto.Overhead // what the second Noise message adds
	for n := len(addrs); n > 0; n-- {
		p := wire.Params{Addresses: addrs[:n]}
		if wire.ResponseOverhead+noise+rest+len(p.Append(nil)) <= room {
			return addrs[:n]
		}
	}
	return nil
}

// addressed is told which inner addresses the server has given to this client.
func (c *Client) addressed(now time.Time, addrs []netip.Prefix) {
	if slices.Equal(addrs, c.addresses) {
		return
	}
	c.addresses = addrs
	c.e.log.Info("the server has given this end addresses", "addresses", addrs)
	c.e.notifier.post(Event{Time: now, Kind: Addressed, Peer: c.session.peer, Addresses: slices.Clone(addrs)})
}

// Addresses returns the inner addresses that the server has given to this client, each
// with the length of the tunnel's network: none before the first handshake, and none if
// ClientConfig.Prefixes says which it has. They may change with every handshake; the event
// Addressed says when.
func (c *Client) Addresses() []netip.Prefix {
	var addrs []netip.Prefix
	if c.e.call(func(time.Time) { addrs = slices.Clone(c.addresses) }) != nil {
		return nil
	}
	return addrs
}
