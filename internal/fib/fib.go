// Package fib leads the packets of chosen sockets to a routing table of their own, which
// is what MLVPN's bindfib asks for.
//
// On FreeBSD and OpenBSD a socket has a table. On Linux a rule leads packets with a mark
// to it: this package adds that rule, for IPv4 and IPv6, and takes away what it has
// added, also what an earlier run left behind. What is in the table is the
// administrator's.
package fib

import "sync"

// A Way is how a socket gets its packets to a table: by Mark on Linux, by Table
// elsewhere. The zero Way is the ordinary one.
type Way struct {
	Mark  uint32
	Table int
}

// Tables are the routing tables in use. The zero value needs an Owner. Its methods may
// be called concurrently.
type Tables struct {
	// Owner tells the rules of this program from those of another one of its kind on the
	// same host, so that each takes only its own away: the name of its interface.
	Owner string

	mu   sync.Mutex // guards the following
	used map[int]bool
}

// Use makes table fit to be used, and may be repeated. On Linux it needs CAP_NET_ADMIN,
// the first time for each table.
func (t *Tables) Use(table int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if table == 0 || t.used[table] {
		return nil
	}
	if t.used == nil {
		t.used = make(map[int]bool)
		if err := t.clean(); err != nil {
			return err
		}
	}
	if err := t.lead(table); err != nil {
		return err
	}
	t.used[table] = true
	return nil
}

// Close takes away what Use has added.
func (t *Tables) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.used) == 0 {
		return nil
	}
	t.used = nil
	return t.clean()
}
