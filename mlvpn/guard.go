package mlvpn

import (
	"net/netip"

	"github.com/multilink-vpn/multilink/internal/flow"
	"github.com/multilink-vpn/multilink/internal/prefix"
)

// A guard knows the inner addresses that packets may have. All of it is constant while
// the engine runs, so that the sender and the receiver both ask it.
type guard struct {
	local  *prefix.Set // this end's; nil: any
	remote *prefix.Set // the server's, on a client; nil: any
}

func newGuard(local, remote []netip.Prefix) guard {
	return guard{prefix.NewSet(masked(local)), prefix.NewSet(masked(remote))}
}

// leaves reports whether a packet from the device may go to the peer.
func (g *guard) leaves(info *flow.Info) bool {
	if info.Version == 0 {
		return true
	}
	return (g.local == nil || g.local.Contains(info.Src)) &&
		(g.remote == nil || g.remote.Contains(info.Dst) || info.Dst.IsMulticast())
}

// arrives reports whether a packet from the peer may go to the device, as far as its
// destination is concerned.
func (g *guard) arrives(info *flow.Info) bool {
	return g.local == nil || g.local.Contains(info.Dst) || info.Dst.IsMulticast()
}

// martian reports whether an IP packet has addresses that no packet has that was sent
// from one host to another (RFC 6890, section 2.2). IPv4-mapped addresses in an IPv6
// packet are among them: two ends could take them for different ones.
func martian(info *flow.Info) bool {
	return never(info.Src) || info.Src.IsMulticast() || info.Src == limitedBroadcast ||
		never(info.Dst) || info.Version == 6 && (info.Src.Is4() || info.Dst.Is4())
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func never(a netip.Addr) bool { return a.IsUnspecified() || a.IsLoopback() }

// An ownerChange tells the receiver whose addresses are whose from now on.
type ownerChange struct {
	account    *account
	lose, gain []netip.Prefix
	open       bool
	session    *Session // of the account, if it has one
}

// changeOwners applies changes in their order.
func (r *receiver) changeOwners(changes []ownerChange) {
	for i := range changes {
		c := &changes[i]
		for _, p := range c.lose {
			if x, _ := r.owners.Get(p); x == c.account {
				r.owners.Delete(p)
			}
		}
		for _, p := range c.gain {
			r.owners.Set(p, c.account)
		}
		c.account.open = c.open
		if c.session != nil {
			r.forget(c.session) // what it had learnt may be another's now
		}
	}
}

// mayUse reports whether the peer of a session may have sent a packet from this source.
func (r *receiver) mayUse(s *Session, src netip.Addr) bool {
	if s.owner == nil {
		return r.e.guard.remote == nil || r.e.guard.remote.Contains(src)
	}
	if owner, _, ok := r.owners.Lookup(src); ok {
		return owner == s.owner
	}
	return s.owner.open
}
