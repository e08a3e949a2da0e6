package mlvpn

import (
	"net/netip"
	"slices"

	"github.com/multilink-vpn/multilink/internal/prefix"
)

// routes says to which session a packet from a server's device goes: by the longest
// prefix that a client has announced, else to where the inner host was seen, else to
// the only session there is. It is owned by the sender.
type routes struct {
	hosts    map[netip.Addr]*Session
	prefixes prefix.Table[[]*Session]    // newest owner first
	owned    map[*Session][]netip.Prefix // what of prefixes is whose
	live     []*Session                  // those with a path that works
}

// add lets a session have the packets for its prefixes.
func (r *routes) add(s *Session, prefixes []netip.Prefix) {
	if !slices.Contains(r.live, s) {
		r.live = append(r.live, s)
	}
	if len(prefixes) > 0 && r.owned == nil {
		r.owned = make(map[*Session][]netip.Prefix)
	}
	for _, p := range prefixes {
		others, _ := r.prefixes.Get(p)
		others = slices.DeleteFunc(others, func(x *Session) bool { return x == s })
		r.prefixes.Set(p, slices.Insert(others, 0, s)) // the newest owner has it, until it is removed
		if !slices.Contains(r.owned[s], p) {
			r.owned[s] = append(r.owned[s], p)
		}
	}
}

// rest is told that no path of a session works: it is not the only one to ask any
// more, but what is known to be behind it stays.
func (r *routes) rest(s *Session) {
	r.live = slices.DeleteFunc(r.live, func(x *Session) bool { return x == s })
}

// learn remembers that a host is behind a session.
func (r *routes) learn(h netip.Addr, s *Session) {
	if r.hosts == nil {
		r.hosts = make(map[netip.Addr]*Session)
	}
	r.hosts[h] = s
}

// remove forgets a session.
func (r *routes) remove(s *Session) {
	r.rest(s)
	for _, p := range r.owned[s] {
		owners, _ := r.prefixes.Get(p)
		if owners = slices.DeleteFunc(owners, func(x *Session) bool { return x == s }); len(owners) > 0 {
			r.prefixes.Set(p, owners)
		} else {
			r.prefixes.Delete(p)
		}
	}
	delete(r.owned, s)
	r.forgetHosts(s)
}

// forgetHosts forgets which hosts were seen behind a session.
func (r *routes) forgetHosts(s *Session) {
	for h, x := range r.hosts {
		if x == s {
			delete(r.hosts, h)
		}
	}
}

// lookup appends to dst the sessions that a packet for an inner host goes to.
func (r *routes) lookup(to netip.Addr, dst []*Session) []*Session {
	// Somebody's prefix counts for more than having been seen, but a default route for
	// less.
	owners, size, ok := r.prefixes.Lookup(to)
	if ok && size > 0 {
		return append(dst, owners[0])
	}
	if s := r.hosts[to]; s != nil {
		return append(dst, s)
	}
	switch {
	case ok:
		return append(dst, owners[0])
	case len(r.live) == 1:
		return append(dst, r.live[0])
	}
	return dst
}
