// Package bridge remembers behind which port of a bridge each Ethernet address is (IEEE
// 802.1Q, section 8.7), within limits that no port can make the others feel.
package bridge

import "time"

// An Addr is an Ethernet address.
type Addr [6]byte

// Group reports whether a frame for a is for several stations: multicast or broadcast.
func (a Addr) Group() bool { return a[0]&1 != 0 }

// Reserved reports whether a frame for a concerns the link that it came by and no other
// (IEEE 802.1Q, table 8-1): spanning tree, flow control, LLDP.
func (a Addr) Reserved() bool {
	return a[0] == 0x01 && a[1] == 0x80 && a[2] == 0xc2 && a[3] == 0 && a[4] == 0 && a[5] < 0x10
}

// Config sets the limits of a Table. The zero value of a field is its default.
type Config struct {
	// Age is how long a station may be silent before it is forgotten. 0 means 300 s, as
	// IEEE 802.1Q has it.
	Age time.Duration

	// PerPort bounds the stations behind a port, and Total those of the table. 0 means
	// 1024 and 16384. Stations beyond are not remembered: what is for them goes to all
	// ports.
	PerPort, Total int

	// Hold is how long after its last frame a station behind the home port, the zero P,
	// cannot be taken over by another port: clients cannot pose as the server's hosts as
	// long as these speak. 0 means 60 s.
	Hold time.Duration
}

const (
	defaultAge     = 300 * time.Second
	defaultPerPort = 1024
	defaultTotal   = 16384
	defaultHold    = 60 * time.Second
)

// A Table maps stations to ports. It is not safe for concurrent use.
type Table[P comparable] struct {
	cfg   Config
	at    map[Addr]place[P]
	count map[P]int // stations by port
	swept time.Time
}

type place[P comparable] struct {
	port P
	seen time.Time
}

// New returns an empty table.
func New[P comparable](cfg Config) *Table[P] {
	if cfg.Age == 0 {
		cfg.Age = defaultAge
	}
	if cfg.PerPort == 0 {
		cfg.PerPort = defaultPerPort
	}
	if cfg.Total == 0 {
		cfg.Total = defaultTotal
	}
	if cfg.Hold == 0 {
		cfg.Hold = defaultHold
	}
	return &Table[P]{cfg: cfg, at: make(map[Addr]place[P]), count: make(map[P]int)}
}

// Learn is told that a frame from a came in by a port.
func (t *Table[P]) Learn(now time.Time, a Addr, port P) {
	if a.Group() {
		return // nobody answers for a group
	}
	var home P
	was, known := t.at[a]
	switch {
	case known && was.port == port:
	case known && was.port == home && now.Sub(was.seen) < t.cfg.Hold:
		return
	case t.count[port] >= t.cfg.PerPort, !known && len(t.at) >= t.cfg.Total:
		if t.sweep(now); t.count[port] >= t.cfg.PerPort || len(t.at) >= t.cfg.Total {
			return
		}
		was, known = t.at[a]
		fallthrough
	default:
		if known {
			t.leave(was.port)
		}
		t.count[port]++
	}
	t.at[a] = place[P]{port, now}
}

// Lookup returns the port behind which a is.
func (t *Table[P]) Lookup(now time.Time, a Addr) (port P, ok bool) {
	p, ok := t.at[a]
	if !ok || now.Sub(p.seen) >= t.cfg.Age {
		return port, false
	}
	return p.port, true
}

// Forget forgets what is behind a port that is gone.
func (t *Table[P]) Forget(port P) {
	if t.count[port] == 0 {
		return
	}
	for a, p := range t.at {
		if p.port == port {
			delete(t.at, a)
		}
	}
	delete(t.count, port)
}

// Len returns the number of stations, those included whose time is over and that have
// not been swept yet.
func (t *Table[P]) Len() int { return len(t.at) }

// sweepPause bounds how often a full table is searched for what can go: a port with many
// stations must not make each of its frames a search.
const sweepPause = time.Second

func (t *Table[P]) sweep(now time.Time) {
	if !t.swept.IsZero() && now.Sub(t.swept) < sweepPause {
		return
	}
	t.swept = now
	for a, p := range t.at {
		if now.Sub(p.seen) >= t.cfg.Age {
			delete(t.at, a)
			t.leave(p.port)
		}
	}
}

func (t *Table[P]) leave(port P) {
	if t.count[port]--; t.count[port] == 0 {
		delete(t.count, port)
	}
}
