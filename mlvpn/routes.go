package mlvpn

import (
	"cmp"
	"net/netip"
	"slices"
)

// routes says to which session a packet from a server's device goes: by the longest
// prefix, else to where the inner host was seen, else to the only session there is. It
// is owned by the sender.
type routes struct {
	ethernet bool
	hosts    map[hostAddr]*Session
	prefixes []route    // longest first
	live     []*Session // those with a path that works
}

type route struct {
	prefix  netip.Prefix
	session *Session
}

// add lets a session have the packets for its prefixes.
func (r *routes) add(s *Session, prefixes []netip.Prefix) {
	if !slices.Contains(r.live, s) {
		r.live = append(r.live, s)
	}
	for _, p := range prefixes {
		own := route{p, s}
		r.prefixes = slices.DeleteFunc(r.prefixes, func(x route) bool { return x == own })
		r.prefixes = slices.Insert(r.prefixes, 0, own) // the newest owner has it, until it is removed
	}
	slices.SortStableFunc(r.prefixes, func(a, b route) int { return cmp.Compare(b.prefix.Bits(), a.prefix.Bits()) })
}

// rest is told that no path of a session works: it is not the only one to ask any
// more, but what is known to be behind it stays.
func (r *routes) rest(s *Session) {
	r.live = slices.DeleteFunc(r.live, func(x *Session) bool { return x == s })
}

// learn remembers that a host is behind a session.
func (r *routes) learn(h hostAddr, s *Session) {
	if r.hosts == nil {
		r.hosts = make(map[hostAddr]*Session)
	}
	r.hosts[h] = s
}

// remove forgets a session.
func (r *routes) remove(s *Session) {
	r.rest(s)
	r.prefixes = slices.DeleteFunc(r.prefixes, func(x route) bool { return x.session == s })
	for h, x := range r.hosts {
		if x == s {
			delete(r.hosts, h)
		}
	}
}

// lookup appends to dst the sessions that a packet for host to goes to.
func (r *routes) lookup(to hostAddr, dst []*Session) []*Session {
	if r.ethernet {
		if s := r.hosts[to]; s != nil {
			return append(dst, s)
		}
		// As a bridge does with what it has not learnt, and with multicast.
		return append(dst, r.live...)
	}
	// Somebody's prefix counts for more than having been seen, but a default route for
	// less.
	i := slices.IndexFunc(r.prefixes, func(x route) bool { return x.prefix.Contains(to.ip) })
	if i >= 0 && r.prefixes[i].prefix.Bits() > 0 {
		return append(dst, r.prefixes[i].session)
	}
	if s := r.hosts[to]; s != nil {
		return append(dst, s)
	}
	switch {
	case i >= 0:
		return append(dst, r.prefixes[i].session)
	case len(r.live) == 1:
		return append(dst, r.live[0])
	}
	return dst
}
