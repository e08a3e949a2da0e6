package mlvpn

import (
	"crypto/sha256"
	"net/netip"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
)

// minLinks is how many links a handshake provides for at least, so that links can be
// added later without another one.
const minLinks = 16

// allocate draws n receiver indices that nobody uses.
func (s *sender) allocate(n int) []uint32 {
	indices := make([]uint32, 0, n)
	for len(indices) < n {
		index := randomUint32(s.rng)
		if _, taken := s.indices[index]; taken || index == 0 {
			continue
		}
		s.indices[index] = struct{}{}
		indices = append(indices, index)
	}
	return indices
}

func (s *sender) release(indices []uint32) {
	for _, index := range indices {
		delete(s.indices, index)
	}
}

// newEpoch makes an epoch from what a handshake has agreed on.
func (s *sender) newEpoch(now time.Time, ses *Session, secrets *crypto.Secrets, aead crypto.AEAD, own, peer []uint32) *epoch {
	ep := &epoch{session: ses}
	ep.tx.keys = &keys{secrets: secrets, aead: aead, own: own, peer: peer}
	s.date(now, ep.tx.keys)
	s.schedule(now, ep)
	ep.tx.sched = s.e.cfg.newScheduler()
	ep.tx.overhead = Overhead
	ep.tx.seed = secrets.SendFlowSeed()
	ep.rx.seed = secrets.RecvFlowSeed()
	ep.tx.paths, ep.rx.paths = make([]*pathState, len(own)), make([]*pathState, len(own))
	return ep
}

func (c *Config) mode() wire.Mode {
	if c.password() {
		return wire.ModePassword
	}
	return wire.ModeKeys
}

// identity is what tells one peer from another.
type identity struct {
	key      crypto.PublicKey // zero in password mode
	password string           // empty in keys mode
}

// initLog remembers the INITs that a server has answered, so that a copy that arrives
// on another link gets the same answer, and a replay gets none. Only authentic INITs
// get into it.
type initLog struct {
	records map[initHash]*initRecord
	order   []initHash // oldest first, a ring of initLogSize
	next    int
}

type initHash [sha256.Size]byte

type initRecord struct {
	epoch     *epoch // nil when it has ended
	answer    []byte
	copies    int
	confirmed bool // the client has used the answer
}

const (
	initLogSize = 8192
	// maxAnswers bounds the answers to one INIT: one for each link, and some more.
	maxAnswers = 2 * wire.MaxLinks
)

func (l *initLog) add(h initHash, r *initRecord) {
	if l.records == nil {
		l.records = make(map[initHash]*initRecord)
	}
	if len(l.order) < initLogSize {
		l.order = append(l.order, h)
	} else {
		delete(l.records, l.order[l.next])
		l.order[l.next] = h
		l.next = (l.next + 1) % initLogSize
	}
	l.records[h] = r
}

// An attempt is a client's handshake in progress.
type attempt struct {
	id        uint64
	initiator *crypto.Initiator
	init      []byte // the datagram, sent again as it is
	own       []uint32
	links     []*port // by position in own
	tokens    map[*port]retryToken
	started   time.Time
	next      time.Time // when to send again
	tries     int
}

// A retryToken is what the server has asked for on one link.
type retryToken struct {
	token [wire.TokenSize]byte
	at    time.Time
	count int // how many there have been
}

const (
	// tokenFor is how long a token is sent along. The server's may last longer.
	tokenFor = 8 * time.Second
	// maxTokens bounds the RETRYs of one attempt that are followed at once, by link:
	// anybody on the way can send some.
	maxTokens = 8
	// attemptFor is how long one INIT is repeated before a fresh one takes its place.
	attemptFor = 10 * time.Second
	// INITs are repeated after firstRetry, then at doubling intervals up to maxRetry.
	firstRetry = 250 * time.Millisecond
	maxRetry   = 4 * time.Second
	// silenceLog is how long nothing answers before the operator is told why that may
	// be, and how often.
	silenceLog   = 5 * time.Second
	silenceAgain = time.Minute
)

// sendHandshake hands one handshake datagram to a port.
func (s *sender) sendHandshake(p *port, to link.Addr, datagram []byte) error {
	_, err := p.send([][]byte{datagram}, to)
	return err
}

// masked returns prefixes in the form that the wire wants, without duplicates.
func masked(prefixes []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	seen := make(map[netip.Prefix]bool)
	for _, p := range prefixes {
		p = p.Masked()
		if p.IsValid() && !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}
