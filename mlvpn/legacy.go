package mlvpn

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/legacy"
	"github.com/multilink-vpn/multilink/internal/path"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/scheduler"
)

// A Legacy is one end of a tunnel to a C daemon of MLVPN, whose protocol, version 1, it
// speaks. Nothing else ever falls back to that protocol, and this end speaks no other.
//
// The protocol is not secure by today's standards. Packets that were recorded earlier can
// be played back to a C daemon at any time, and to this end after it has been restarted.
// Whoever learns the password can read everything that was ever recorded. A C daemon
// believes the address of any packet, and so can be cut off. It is for the time until the
// other end can be replaced.
//
// A Legacy carries a device's packets like a Client or a Server, over the same links, by
// the same scheduler, rules and reorder buffer. Duplicate has no effect, as the C daemon
// does not expect copies. Its methods may be called from any goroutine.
type Legacy struct {
	e       *engine
	cfg     LegacyConfig
	codec   *legacy.Codec
	session *Session

	// The following is owned by the sender.
	epoch  *epoch
	links  []*port
	slots  int // paths that links have been given
	lastID LinkID
	data   legacy.DataSeq
	warned time.Time

	rx legacyReceiver // owned by the receiver
}

// LegacyOverhead is what Overhead is for a Legacy.
const LegacyOverhead = legacy.Overhead

// LegacyConfig configures a Legacy. Of Config, Key, PasswordKey and Network must be zero.
// NewScheduler nil means the zero scheduler.Weighted: the C daemon tells nothing that
// another scheduler could learn from.
type LegacyConfig struct {
	Config

	// Password is what both ends share. It is used as it is: the protocol does not slow
	// down who tries out passwords. Required.
	Password string

	// Server says that this end waits to be called.
	Server bool

	// ClearData leaves packets unencrypted and unauthenticated, which the other end must
	// do, too. Such a packet is only taken from the address that the peer was heard from
	// by others.
	ClearData bool

	// AcceptRisk says that it is known what Legacy's documentation says. Required.
	AcceptRisk bool
}

func (c *LegacyConfig) validate() error {
	switch {
	case c.Device == nil:
		return errors.New("mlvpn: no device: set Config.Device")
	case c.Password == "":
		return errors.New("mlvpn: no password: set LegacyConfig.Password")
	case !c.AcceptRisk:
		return errors.New("mlvpn: MLVPN's own protocol is not secure: set LegacyConfig.AcceptRisk if that is accepted")
	case c.PasswordKey != crypto.PresharedKey{} || c.Key != crypto.PrivateKey{} || c.Network != "":
		return errors.New("mlvpn: MLVPN's own protocol has neither keys nor networks: leave Config.Key, PasswordKey and Network alone")
	}
	return validateRules(c.Rules)
}

// NewLegacy checks cfg and returns a Legacy without links. It starts nothing: Run does.
func NewLegacy(cfg LegacyConfig) (*Legacy, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.NewScheduler == nil {
		// The C daemon reports nothing that a scheduler could learn from.
		cfg.NewScheduler = func() scheduler.Scheduler { return new(scheduler.Weighted) }
	}
	l := &Legacy{cfg: cfg, codec: &legacy.Codec{Key: legacy.PasswordKey(cfg.Password), ClearData: cfg.ClearData}}
	l.cfg.Password = ""
	l.e = newEngine(cfg.Config, l)
	l.session = &Session{e: l.e, peer: "mlvpn", legacy: l}
	l.epoch = l.newEpoch()
	l.session.tx.current = l.epoch
	l.e.sender.sessions[l.session] = struct{}{}
	l.rx.init(l)
	l.e.receiver.legacy = &l.rx
	return l, nil
}

// newEpoch makes the only epoch there is: it has no keys that change.
func (l *Legacy) newEpoch() *epoch {
	ep := &epoch{session: l.session}
	ep.tx.sched = l.e.cfg.newScheduler()
	ep.tx.overhead = l.codec.Overhead()
	ep.tx.paths = make([]*pathState, wire.MaxLinks)
	ep.rx.paths = make([]*pathState, wire.MaxLinks)
	ep.rx.oneOrder = true
	return ep
}

// Run carries packets until ctx is done or the device fails. It may be called once. When
// it returns, the device, all links and sockets are closed and every goroutine has ended.
func (l *Legacy) Run(ctx context.Context) error { return l.e.run(ctx) }

// Stats returns a snapshot. After Run has ended it is empty.
func (l *Legacy) Stats() Stats { return l.e.stats() }

// SetRules replaces the rules of the configuration. Packets that wait already are sent
// by the old ones. The Legacy makes a copy of rules.
func (l *Legacy) SetRules(rules []Rule) error { return l.e.setRules(rules) }

// AddLink adds a link to the server. The Legacy, which must not be a server itself, takes
// ln over and closes it. It may be called before and during Run.
func (l *Legacy) AddLink(ln link.Link, cfg LinkConfig) (LinkID, error) {
	if l.cfg.Server {
		ln.Close()
		return 0, errors.New("mlvpn: a server has sockets: call AddSocket")
	}
	p := &port{cfg: cfg, link: ln, traffic: newTraffic()}
	err := l.add(p)
	return p.id, err
}

// AddSocket lets the client reach this end, which must be a server, on one link. The C
// daemon needs a socket for each. The Legacy takes s over and closes it. It may be called
// before and during Run.
func (l *Legacy) AddSocket(s link.Socket, cfg LinkConfig) error {
	if !l.cfg.Server {
		s.Close()
		return errors.New("mlvpn: a client has links: call AddLink")
	}
	return l.add(&port{cfg: cfg, sock: s, traffic: newTraffic()})
}

// add gives a port a path of its own.
func (l *Legacy) add(p *port) error {
	err := p.cfg.validate()
	if err == nil {
		var failed error
		err = l.e.call(func(now time.Time) { failed = l.place(now, p) })
		if err == nil {
			err = failed
		}
	}
	if err != nil {
		p.close()
		return err
	}
	return l.e.addPort(p)
}

func (l *Legacy) place(now time.Time, p *port) error {
	switch {
	case slices.ContainsFunc(l.links, func(x *port) bool { return x.cfg.Name == p.cfg.Name }):
		return fmt.Errorf("mlvpn: there is a link %q already: choose another name", p.cfg.Name)
	case l.slots == wire.MaxLinks:
		return fmt.Errorf("link %s: %w: there have been %d since the start", p.cfg.Name, ErrTooManyLinks, wire.MaxLinks)
	}
	s := &l.e.sender
	x := &pathState{epoch: l.epoch, link: l.slots}
	x.tx.seal = &legacySealer{
		sender: s,
		codec:  l.codec,
		out:    legacy.NewOutgoing(now, randomUint32(s.rng), &l.data),
	}
	l.slots++
	l.epoch.tx.paths[x.link] = x
	l.links = append(l.links, p)
	flowID := x.legacy().out.FlowID()
	s.e.receiver.box.put(func(time.Time) { l.rx.add(p, x, flowID) })
	if l.cfg.Server {
		return nil // the path is used once the client has called
	}
	l.lastID++
	p.id = l.lastID
	return s.join(now, x, p, link.Addr{})
}

// arrived is told where the newest packet of a server's path came from. There is no way
// to have the client prove that it receives there.
func (l *Legacy) arrived(now time.Time, p *pathState, m *senderMsg) {
	t := &p.tx
	t.move.proved = true
	switch {
	case !m.newest:
	case t.monitor == nil:
		if err := l.e.sender.join(now, p, m.port, m.addr); err != nil {
			l.e.log.Error("cannot use a path", "link", m.port.cfg.Name, "err", err)
		}
	case t.port != m.port || t.addr.Remote != m.addr.Remote:
		l.e.sender.relocate(now, p, origin{m.port, m.addr})
	default:
		t.addr = m.addr // which may be reached from another address of this host now
	}
}

// received is told of a packet that the receiver has believed.
func (l *Legacy) received(now time.Time, p *pathState, m *senderMsg) {
	t := &p.tx
	if t.monitor == nil {
		return
	}
	s, seal, h := &l.e.sender, p.legacy(), &m.legacy
	seal.out.Heard(m.at, h.Timestamp)
	if rtt, ok := h.RTT(m.at); ok {
		t.rtt.Update(m.at, max(rtt, leastRTT))
	}
	// What is known of loss is that of the other direction, as in the C daemon.
	t.loss.Update(m.at, m.highest, m.received)
	if reply, ok := seal.link.Received(now, h.Type); ok {
		seal.reply = reply
		s.control(now, p, &control{has: hasPong})
	}
	s.judge(p)
	s.noteState(now, p, "the peer has disconnected")
	p.updateView()
	s.wake(p.epoch.session)
}

// leastRTT stands for a round trip of less than the protocol's millisecond.
const leastRTT = 500 * time.Microsecond

// handshake implements side: a client that has not called, or called before this server
// was started anew, says that it is there. It would go on until its timeout; told that
// the link is down, it calls at once.
func (l *Legacy) handshake(now time.Time, m *senderMsg) {
	p := m.path
	if !slices.Contains(l.links, m.port) || p.tx.monitor != nil && p.usable() {
		return // removed since, or called
	}
	s := &l.e.sender
	s.scratch.control = p.legacy().out.Control(s.scratch.control[:0], now, l.codec, legacy.Disconnect)
	if err := s.sendHandshake(m.port, m.addr, s.scratch.control); err != nil {
		l.e.log.Debug("cannot tell a client to call", "link", m.port.cfg.Name, "err", err)
	}
}

// route implements side: everything goes to the peer.
func (l *Legacy) route(p *packet, dst []*Session) []*Session {
	if !l.cfg.Ethernet && !l.e.guard.leaves(&p.info) {
		return dst
	}
	return append(dst, l.session)
}

// advance implements side: it reminds the operator.
func (l *Legacy) advance(now time.Time) time.Time {
	const again = time.Hour
	if l.warned.IsZero() || now.Sub(l.warned) >= again {
		l.warned = now
		what := "this tunnel speaks MLVPN's own protocol, which is not secure: replace the other end, and remove compat from both configurations"
		if l.cfg.ClearData {
			what = "this tunnel carries data unencrypted and unauthenticated, by MLVPN's own protocol: replace the other end, and remove compat from both configurations"
		}
		l.e.log.Warn(what)
	}
	return l.warned.Add(again)
}

func (l *Legacy) learned(*Session, netip.Addr) {}
func (l *Legacy) changed(*Session, bool)       {}
func (l *Legacy) failed(time.Time, *Session)   {}
func (l *Legacy) ended(*Session)               {}

// rekeying implements side: keys never change.
func (l *Legacy) rekeying(*Session) (crypto.HandshakeConfig, error) {
	return crypto.HandshakeConfig{}, errors.ErrUnsupported
}

// A monitor follows the state of a path: path.Monitor, and legacy.Link for a protocol
// whose probes nobody answers.
type monitor interface {
	State() path.State
	Next(rto time.Duration) time.Time
	Advance(now time.Time, rto time.Duration) (probe bool)
	Configure(now time.Time, cfg path.Config)
	Probed(now time.Time)
	ProbeNow(now time.Time)
	Answered(sent time.Time)
	Fail(now time.Time)
}

// newMonitor returns a monitor for a path that joins.
func (p *pathState) newMonitor(now time.Time, timeout time.Duration) monitor {
	if l := p.epoch.session.legacy; l != nil {
		p.legacy().link = legacy.NewLink(now, !l.cfg.Server, timeout)
		return p.legacy().link
	}
	return path.New(now, path.Config{Timeout: timeout})
}

// legacy returns the path's sealer, of a Legacy's path.
func (p *pathState) legacy() *legacySealer { return p.tx.seal.(*legacySealer) }

// cipher names what protects the data of an epoch.
func (ep *epoch) cipher() string {
	switch l := ep.session.legacy; {
	case l == nil:
		return ep.tx.keys.aead.String()
	case l.cfg.ClearData:
		return "none"
	}
	return "XSalsa20-Poly1305"
}
