package mlvpn

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/path"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
)

// A Client carries a device's packets to one server over many links. Its methods may
// be called from any goroutine.
type Client struct {
	e       *engine
	cfg     ClientConfig
	session *Session
	number  uint64 // constant: tells this client from others with the same password

	// The following is owned by the sender.
	addresses []netip.Prefix // given by the server
	links     []*port
	lastID    LinkID
	attempt   *attempt
	renew     bool // a link found no position: only a new handshake can add it
	silent    time.Time
	complain  time.Time
}

// NewClient checks cfg and returns a Client without links. It starts nothing: Run does.
func NewClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if !cfg.password() && cfg.Server == (crypto.PublicKey{}) {
		return nil, fmt.Errorf("mlvpn: no server key: set ClientConfig.Server")
	}
	cfg.Prefixes = masked(cfg.Prefixes)
	hello := wire.Params{Name: cfg.Name, Prefixes: cfg.Prefixes}
	if err := hello.Validate(); err != nil {
		return nil, fmt.Errorf("mlvpn: client name or prefixes: %w", err)
	}
	c := &Client{cfg: cfg}
	c.e = newEngine(cfg.Config, c)
	c.e.expects = wire.KindResponse
	c.number = c.e.sender.rng.Uint64() | 1
	c.session = &Session{e: c.e, peer: "server"}
	c.e.guard = newGuard(cfg.Local, cfg.Allowed)
	return c, nil
}

// Run connects to the server and carries packets until ctx is done or the device
// fails. It may be called once. When it returns, the device and all links are closed
// and every goroutine has ended.
func (c *Client) Run(ctx context.Context) error { return c.e.run(ctx) }

// Session returns the session with the server. It is the same for as long as the
// Client lives.
func (c *Client) Session() *Session { return c.session }

// AddLink adds a link to the server. The Client takes l over and closes it. It may be
// called before and during Run.
func (c *Client) AddLink(l link.Link, cfg LinkConfig) (LinkID, error) {
	if err := cfg.validate(); err != nil {
		l.Close()
		return 0, err
	}
	p := &port{cfg: cfg, link: l, traffic: newTraffic()}
	var failed error
	err := c.e.call(func(now time.Time) {
		switch {
		case slices.ContainsFunc(c.links, func(x *port) bool { return x.cfg.Name == cfg.Name }):
			failed = fmt.Errorf("mlvpn: there is a link %q already: choose another name", cfg.Name)
		case len(c.links) == wire.MaxLinks:
			failed = fmt.Errorf("link %s: %w: a session has at most %d", cfg.Name, ErrTooManyLinks, wire.MaxLinks)
		default:
			c.lastID++
			p.id = c.lastID
			c.links = append(c.links, p)
			c.place(now, p)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		l.Close()
		return 0, err
	}
	return p.id, c.e.addPort(p)
}

// RemoveLink takes a link out of use, tells the server, and closes it. What the server
// has sent on it and is still under way is lost.
func (c *Client) RemoveLink(id LinkID) error {
	var gone *port
	err := c.e.call(func(now time.Time) {
		i := slices.IndexFunc(c.links, func(p *port) bool { return p.id == id })
		if i < 0 {
			return
		}
		gone = c.links[i]
		c.links = slices.Delete(c.links, i, i+1)
		c.e.sender.dismiss(now, gone)
	})
	if err == nil && gone == nil {
		err = fmt.Errorf("mlvpn: no link with ID %d", id)
	}
	if gone != nil {
		c.e.removePort(gone)
	}
	return err
}

// ReplaceLink puts another transport in the place of a link's present one, which it
// closes: a new socket after the host's addresses have changed, or when a NAT has
// forgotten the old one. The link keeps its ID, its keys and its place in the session;
// the server follows to the new address. The Client takes l over.
func (c *Client) ReplaceLink(id LinkID, l link.Link) error {
	var was, is *port
	err := c.e.call(func(now time.Time) {
		i := slices.IndexFunc(c.links, func(p *port) bool { return p.id == id })
		if i < 0 {
			return
		}
		was = c.links[i]
		is = &port{cfg: was.cfg, id: id, link: l, traffic: was.traffic}
		c.links[i] = is
		if a := c.attempt; a != nil {
			for j := range a.links {
				if a.links[j] == was {
					a.links[j] = is
				}
			}
		}
		if c.e.sender.substitute(now, was, is) < len(c.session.tx.epochs()) {
			c.renew = true // the server had removed its end: only a handshake brings it back
		}
	})
	if err == nil && was == nil {
		err = fmt.Errorf("mlvpn: no link with ID %d", id)
	}
	if err != nil {
		l.Close()
		return err
	}
	c.e.closePort(was)
	return c.e.addPort(is)
}

// place gives a new link a position in the session as it is, and in the one that is to
// take its place, or asks for a new one.
func (c *Client) place(now time.Time, p *port) {
	epochs := c.session.tx.epochs()
	if len(epochs) == 0 {
		c.restart() // so that the next INIT goes out on this link, too
	}
	for _, ep := range epochs {
		if ep.tx.slots == len(ep.tx.paths) {
			c.renew = true
			continue
		}
		c.join(now, ep, p)
	}
}

// join gives a link the next position in an epoch.
func (c *Client) join(now time.Time, ep *epoch, p *port) {
	if err := c.e.sender.join(now, c.e.sender.path(ep, ep.tx.slots), p, link.Addr{}); err != nil {
		c.e.log.Error("cannot use a link", "link", p.cfg.Name, "err", err)
	}
	ep.tx.slots++
}

// advance implements side: it keeps a handshake going while no path works.
func (c *Client) advance(now time.Time) time.Time {
	t := &c.session.tx
	healthy := c.healthy()
	if healthy {
		c.silent = time.Time{}
	}
	if len(c.links) == 0 || len(t.pending) > 0 || healthy && !c.renew {
		c.restart()
		return time.Time{}
	}
	if now.Before(t.retry) {
		return t.retry
	}
	if c.silent.IsZero() {
		c.silent, c.complain = now, now.Add(silenceLog)
	}
	if !now.Before(c.complain) {
		c.complain = now.Add(silenceAgain)
		c.e.log.Warn("the server does not answer on any link: check the password or keys on both ends, the server's address and port, and firewalls",
			"for", now.Sub(c.silent).Round(time.Second), "links", len(c.links))
	}
	if c.attempt != nil && now.Sub(c.attempt.started) >= attemptFor {
		c.restart()
	}
	if c.attempt == nil {
		if err := c.begin(now); err != nil {
			c.e.log.Error("cannot start a handshake", "err", err)
			return now.Add(maxRetry)
		}
	}
	a := c.attempt
	if !now.Before(a.next) {
		for _, p := range a.links {
			c.sendInit(now, p)
		}
		pause := min(firstRetry<<min(a.tries, 10), maxRetry)
		a.tries++
		// Up to a fifth more or less, so that clients of a restarted server spread out.
		spread := pause / 5
		a.next = now.Add(pause - spread + time.Duration(c.e.sender.rng.Uint64()%uint64(2*spread+1)))
	}
	next := a.next
	for _, at := range []time.Time{c.complain, a.started.Add(attemptFor)} {
		if at.Before(next) {
			next = at
		}
	}
	return next
}

// healthy reports whether a path works whose probes are answered, and no key is worn.
func (c *Client) healthy() bool {
	ep := c.session.tx.current
	if ep == nil {
		return false
	}
	works := false
	for _, p := range ep.tx.active {
		if p.tx.peer.worn || p.tx.seal.worn(ep.tx.keys.aead.PacketLimit()) {
			return false
		}
		works = works || p.tx.monitor.State() == path.Up
	}
	return works
}

// begin makes a fresh INIT.
func (c *Client) begin(now time.Time) error {
	initiator, err := crypto.NewInitiator(c.handshakeConfig())
	if err != nil {
		return err
	}
	s := &c.e.sender
	a := &attempt{
		initiator: initiator,
		own:       s.allocate(max(minLinks, len(c.links))),
		links:     slices.Clone(c.links),
		tokens:    make(map[*port]retryToken),
		started:   now,
		next:      now,
	}
	hello := wire.Params{AEADs: crypto.Supported(), Indices: a.own, Name: c.cfg.Name, Prefixes: c.cfg.Prefixes, Ethernet: c.cfg.Ethernet}
	if c.cfg.password() {
		hello.Client = c.number
	}
	noise, err := initiator.Init(nil, hello.Append(nil))
	if err != nil {
		s.release(a.own)
		return err
	}
	var id [8]byte
	s.rng.Read(id[:])
	a.id = binary.BigEndian.Uint64(id[:])
	m := wire.Init{Mode: c.cfg.mode(), Attempt: a.id, Noise: noise}
	a.init = m.Append(nil, func(covered []byte) [wire.MACSize]byte { return crypto.MAC1(c.macKey(), covered) })
	c.attempt = a
	return nil
}

func (c *Client) handshakeConfig() crypto.HandshakeConfig {
	return crypto.HandshakeConfig{
		Key:       c.cfg.Key,
		Peer:      c.cfg.Server,
		Preshared: c.preshared(),
		Password:  c.cfg.password(),
		Network:   c.cfg.Network,
	}
}

// rekeying implements side.
func (c *Client) rekeying(*Session) (crypto.HandshakeConfig, error) { return c.handshakeConfig(), nil }

func (c *Client) preshared() crypto.PresharedKey {
	if c.cfg.password() {
		return c.cfg.PasswordKey
	}
	return c.cfg.Preshared
}

func (c *Client) macKey() [32]byte {
	if c.cfg.password() {
		return crypto.MAC1PasswordKey(c.cfg.PasswordKey)
	}
	return crypto.MAC1Key(c.cfg.Server)
}

// restart gives up the handshake in progress, if there is one.
func (c *Client) restart() {
	if c.attempt != nil {
		c.attempt.initiator.Wipe()
		c.e.sender.release(c.attempt.own)
		c.attempt = nil
	}
}

// sendInit sends the attempt's INIT on a link, with the token that the server has asked
// for there.
func (c *Client) sendInit(now time.Time, p *port) {
	a := c.attempt
	t := a.tokens[p]
	if now.Sub(t.at) > tokenFor {
		t.token = [wire.TokenSize]byte{}
	}
	wire.SetToken(a.init, t.token)
	if err := c.e.sender.sendHandshake(p, link.Addr{}, a.init); err != nil {
		c.e.log.Debug("sending a handshake failed", "link", p.cfg.Name, "err", err)
	}
}

// retry is told that a RETRY may have arrived.
func (c *Client) retry(now time.Time, m *senderMsg) {
	a := c.attempt
	r, err := wire.ParseRetry(m.data)
	if err != nil || a == nil || r.Attempt != a.id || a.tokens[m.port].count == maxTokens || !slices.Contains(a.links, m.port) {
		c.e.sender.count.refused++
		return
	}
	a.tokens[m.port] = retryToken{token: r.Token, at: now, count: a.tokens[m.port].count + 1}
	c.sendInit(now, m.port)
}

// handshake implements side: a RETRY or a RESP may have arrived.
func (c *Client) handshake(now time.Time, m *senderMsg) {
	if kind, _, _ := wire.HandshakeType(m.data); kind == wire.KindRetry {
		c.retry(now, m)
		return
	}
	s, a := &c.e.sender, c.attempt
	r, err := wire.ParseResponse(m.data)
	if err != nil || a == nil || r.Attempt != a.id {
		s.count.refused++
		return
	}
	payload, secrets, err := a.initiator.Finish(r.Noise)
	if err != nil {
		s.count.refused++
		return
	}
	p, err := wire.ParseParams(payload)
	if err == nil && len(p.Indices) != len(a.own) {
		err = fmt.Errorf("%d indices for %d links", len(p.Indices), len(a.own))
	}
	var aead crypto.AEAD
	if err == nil {
		aead, err = crypto.Chosen(p.AEADs, crypto.Supported())
	}
	if err != nil {
		// The server is authentic, so this is its fault, and trying again soon is no use.
		c.e.log.Error("the server's answer makes no sense", "err", err)
		secrets.Wipe()
		c.session.tx.retry = now.Add(maxRetry)
		c.restart()
		return
	}
	ep := s.newEpoch(now, c.session, secrets, aead, a.own, p.Indices)
	c.attempt, c.renew = nil, false
	s.propose(now, c.session, ep)
	c.addressed(now, p.Addresses)
	for _, l := range a.links {
		if !slices.Contains(c.links, l) {
			continue // removed since
		}
		c.join(now, ep, l)
	}
	for _, l := range c.links {
		if !slices.Contains(a.links, l) {
			c.renew = true // added since
		}
	}
}

// route implements side: everything goes to the server, unless it would refuse it.
func (c *Client) route(p *packet, dst []*Session) []*Session {
	if !c.cfg.Ethernet && !c.e.guard.leaves(&p.info) {
		return dst
	}
	return append(dst, c.session)
}

func (c *Client) learned(*Session, netip.Addr) {}
func (c *Client) changed(*Session, bool)       {}
func (c *Client) ended(*Session)               {}
func (c *Client) failed(time.Time, *Session)   {}
