package mlvpn

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/prefix"
	"github.com/multilink-vpn/multilink/internal/wire"
)

// An account is a client that a server lets in by its key. It stays the same while the
// client's prefixes change.
type account struct {
	// The following is owned by the sender.
	peer    Peer
	session *Session // nil while there is none

	open bool // owned by the receiver: the client may use every address that is nobody's
}

// A clientList is the accounts of a server, found by whatever must be unique of them.
type clientList struct {
	byKey  map[crypto.PublicKey]*account
	byName map[string]*account
	owners prefix.Table[*account] // by inner prefix
}

func newClientList() clientList {
	return clientList{byKey: make(map[crypto.PublicKey]*account), byName: make(map[string]*account)}
}

// conflict returns why p cannot be in the list, in the place of the account that it
// replaces, if it does; nil if it can.
//
// A prefix belongs to one client. It may lie within a larger one of another: then its
// addresses belong to the owner of the longer prefix, in both directions.
func (l *clientList) conflict(p *Peer, replaced *account) error {
	if x := l.byName[p.Name]; x != nil && x != replaced {
		return fmt.Errorf("mlvpn: there are two clients called %q: choose another name for one", p.Name)
	}
	if x := l.byKey[p.Key]; x != nil && x != replaced {
		return fmt.Errorf("mlvpn: clients %q and %q have the same public key: make a key for each, since a key is what tells them apart", x.peer.Name, p.Name)
	}
	for _, pr := range p.owned() {
		if x, ok := l.owners.Get(pr); ok && x != replaced {
			return fmt.Errorf("mlvpn: clients %q and %q both have %v: packets for it can go to one only", x.peer.Name, p.Name, pr)
		}
	}
	return nil
}

func (l *clientList) add(a *account) {
	l.byKey[a.peer.Key], l.byName[a.peer.Name] = a, a
	for _, pr := range a.peer.owned() {
		l.owners.Set(pr, a)
	}
}

func (l *clientList) remove(a *account) {
	delete(l.byKey, a.peer.Key)
	delete(l.byName, a.peer.Name)
	for _, pr := range a.peer.owned() {
		l.owners.Delete(pr)
	}
}

// listOf makes a list of clients, or says what is wrong with one of them.
func listOf(peers []Peer) (clientList, error) {
	l := newClientList()
	for _, p := range peers {
		if err := p.normalize(); err != nil {
			return l, err
		}
		if err := l.conflict(&p, nil); err != nil {
			return l, err
		}
		l.add(&account{peer: p})
	}
	return l, nil
}

// CheckPeers returns what SetClients would say against a list of clients, or nil.
func CheckPeers(list []Peer) error {
	_, err := listOf(list)
	return err
}

// owned returns all the prefixes whose addresses are the client's.
func (p *Peer) owned() []netip.Prefix {
	if len(p.Addresses) == 0 {
		return p.Prefixes
	}
	all := slices.Clone(p.Prefixes)
	for _, a := range p.Addresses {
		if host := netip.PrefixFrom(a.Addr(), a.Addr().BitLen()); !slices.Contains(all, host) {
			all = append(all, host)
		}
	}
	return all
}

// normalize checks what of p does not depend on others, and brings the prefixes into the
// form that the package uses.
func (p *Peer) normalize() error {
	hello := wire.Params{Name: p.Name}
	switch {
	case p.Name == "":
		return errors.New("mlvpn: client without a name: set Peer.Name")
	case hello.Validate() != nil:
		return fmt.Errorf("mlvpn: client name %.80q: use at most %d bytes of UTF-8 without control characters", p.Name, wire.MaxName)
	case p.Key == crypto.PublicKey{}:
		return fmt.Errorf("mlvpn: client %q has no public key: set Peer.Key", p.Name)
	case len(p.Addresses) > wire.MaxAddresses:
		return fmt.Errorf("mlvpn: client %q has %d addresses, the limit is %d", p.Name, len(p.Addresses), wire.MaxAddresses)
	}
	for _, x := range slices.Concat(p.Prefixes, p.Addresses) {
		if !x.IsValid() || x.Addr().Is4In6() {
			return fmt.Errorf("mlvpn: client %q: %v is no prefix of IPv4 or IPv6", p.Name, x)
		}
	}
	p.Prefixes, p.Addresses = masked(p.Prefixes), slices.Clone(p.Addresses)
	return nil
}

// same reports whether two peers, both normalized, differ in nothing.
func (p *Peer) same(q *Peer) bool {
	return p.sameLogin(q) && slices.Equal(p.Prefixes, q.Prefixes)
}

// sameLogin reports whether a session of the one can go on as one of the other.
func (p *Peer) sameLogin(q *Peer) bool {
	return p.Name == q.Name && p.Key == q.Key && p.Preshared == q.Preshared && slices.Equal(p.Addresses, q.Addresses)
}

// isOpen reports whether the client may use every address that is nobody's.
func (a *account) isOpen(v *Server) bool {
	return len(a.peer.owned()) == 0 && len(v.addressing.pools) == 0
}

// AddClient lets a client in. It may be called before and during Run. It is an error if
// another client has its name, its key or one of its prefixes.
func (v *Server) AddClient(p Peer) error {
	return v.putClient(p, func(a *account) error {
		if a != nil {
			return fmt.Errorf("mlvpn: client %q has the key of client %q: use ChangeClient", p.Name, a.peer.Name)
		}
		return nil
	})
}

// ChangeClient gives the client with p.Key another name, preshared key, addresses or
// prefixes. Other prefixes apply from the next packet on, without a break. With another
// name, preshared key or address the client must log in again, and so its session ends;
// other clients notice nothing in any case.
func (v *Server) ChangeClient(p Peer) error {
	return v.putClient(p, func(a *account) error {
		if a == nil {
			return errNoClient
		}
		return nil
	})
}

// putClient adds or changes a client, if check agrees to the account that is there.
func (v *Server) putClient(p Peer, check func(*account) error) error {
	if err := p.normalize(); err != nil {
		return err
	}
	return v.changeClients(func(now time.Time) error {
		a := v.clients.byKey[p.Key]
		err := check(a)
		if err == nil {
			err = v.clients.conflict(&p, a)
		}
		if err != nil {
			return err
		}
		if a == nil || !a.peer.same(&p) {
			v.applyClients(now, nil, []Peer{p})
		}
		return nil
	})
}

// RemoveClient shuts a client out and ends its session.
func (v *Server) RemoveClient(key crypto.PublicKey) error {
	return v.changeClients(func(now time.Time) error {
		a := v.clients.byKey[key]
		if a == nil {
			return errNoClient
		}
		v.applyClients(now, []*account{a}, nil)
		return nil
	})
}

var errNoClient = errors.New("mlvpn: no client with this key")

// ClientChanges says what SetClients did, by the clients' names in order.
type ClientChanges struct {
	Added, Removed []string
	Changed        []string // without a break
	Ended          []string // changed in what needs a new login
}

// IsZero reports whether nothing changed.
func (c ClientChanges) IsZero() bool {
	return len(c.Added)+len(c.Removed)+len(c.Changed)+len(c.Ended) == 0
}

// String says it in words.
func (c ClientChanges) String() string {
	var parts []string
	for _, x := range []struct {
		what  string
		names []string
	}{{"added", c.Added}, {"removed", c.Removed}, {"changed", c.Changed}, {"changed and logged out", c.Ended}} {
		if len(x.names) > 0 {
			parts = append(parts, x.what+" "+strings.Join(x.names, ", "))
		}
	}
	if len(parts) == 0 {
		return "no client changed"
	}
	return strings.Join(parts, "; ")
}

// SetClients makes the clients exactly those of a list: it adds, changes and removes
// what it takes, as AddClient, ChangeClient and RemoveClient do, and leaves the others
// alone. It does all of it or, with an error, nothing.
func (v *Server) SetClients(list []Peer) (done ClientChanges, err error) {
	next, err := listOf(list)
	if err != nil {
		return done, err
	}
	err = v.changeClients(func(now time.Time) error {
		var remove []*account
		var put []Peer
		for key, a := range v.clients.byKey {
			if next.byKey[key] == nil {
				remove = append(remove, a)
			}
		}
		for key, a := range next.byKey {
			if x := v.clients.byKey[key]; x == nil || !x.peer.same(&a.peer) {
				put = append(put, a.peer)
			}
		}
		done = v.applyClients(now, remove, put)
		return nil
	})
	return done, err
}

// Clients returns the clients that are let in, in the order of their names.
func (v *Server) Clients() []Peer {
	var list []Peer
	err := v.e.call(func(time.Time) {
		for _, a := range v.clients.byKey {
			list = append(list, a.peer)
		}
	})
	if err != nil {
		return nil
	}
	slices.SortFunc(list, func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// changeClients runs change on the sender goroutine.
func (v *Server) changeClients(change func(now time.Time) error) error {
	if v.cfg.password() {
		return errors.New("mlvpn: a server that authenticates by password has no list of clients")
	}
	var failed error
	if err := v.e.call(func(now time.Time) { failed = change(now) }); err != nil {
		return err
	}
	return failed
}

// applyClients removes accounts and adds or changes clients, between all of which there
// is no conflict in the end. In between there may be: two clients can have swapped their
// prefixes. So all that change are taken out before any is put in.
func (v *Server) applyClients(now time.Time, remove []*account, put []Peer) (done ClientChanges) {
	var moves []ownerChange
	out := func(a *account) {
		v.clients.remove(a)
		v.addressing.unreserve(&a.peer)
		moves = append(moves, ownerChange{account: a, lose: a.peer.owned()})
	}
	for _, a := range remove {
		done.Removed = append(done.Removed, a.peer.Name)
		v.logOut(now, a, wire.ReasonRefused)
		out(a)
	}
	accounts := make([]*account, len(put))
	for i := range put {
		p, a := &put[i], v.clients.byKey[put[i].Key]
		if a == nil {
			done.Added = append(done.Added, p.Name)
			accounts[i] = new(account)
			continue
		}
		if a.peer.sameLogin(p) {
			done.Changed = append(done.Changed, p.Name)
		} else {
			done.Ended = append(done.Ended, p.Name)
			v.logOut(now, a, wire.ReasonUnspecified)
		}
		accounts[i] = a
		out(a)
	}
	for i, a := range accounts {
		a.peer = put[i]
		v.evict(now, &a.peer)
		v.clients.add(a)
		v.addressing.reserve(&a.peer)
		if a.session != nil {
			v.routes.forgetHosts(a.session)
		}
		moves = append(moves, ownerChange{account: a, gain: a.peer.owned(), open: a.isOpen(v), session: a.session})
	}
	if len(moves) > 0 {
		r := &v.e.receiver
		r.box.put(func(time.Time) { r.changeOwners(moves) })
	}
	for _, names := range [][]string{done.Added, done.Removed, done.Changed, done.Ended} {
		slices.Sort(names)
	}
	return done
}

// logOut ends a client's session, if it has one, and tells it.
func (v *Server) logOut(now time.Time, a *account, why wire.Reason) {
	if ses := a.session; ses != nil {
		s := &v.e.sender
		s.sendClose(now, ses, why, 0)
		s.closed(now, ses, wire.Close{Reason: why})
	}
}

// compare logs when a client has inner addresses that the server does not let it use:
// nothing would tell why its packets do not arrive.
func (v *Server) compare(now time.Time, a *account, hello *wire.Params) {
	if a == nil || v.cfg.Ethernet || a.isOpen(v) {
		return
	}
	for _, p := range hello.Prefixes {
		owner, size, _ := v.clients.owners.Lookup(p.Addr())
		if (owner != a || size > p.Bits()) && v.mayComplain(now) {
			v.e.log.Warn("a client has inner addresses that it may not use: its packets are dropped; change them there, or add them to the client here",
				"peer", a.peer.Name, "addresses", p, "may use", a.peer.owned())
		}
	}
}
