package mlvpn

import (
	"crypto/sha256"
	"net/netip"
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/gate"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
)

// A server answers a handshake in these steps, cheap ones first. Nothing is remembered
// of a stranger, and nothing is sent to it but a RETRY that is shorter than its INIT,
// before the last.
//
//	receiver  mac1      the sender knows this server
//	receiver  token     it receives at its address: else RETRY
//	receiver  limiter   it does not come too often
//	sender    initLog   its INIT is not a copy of one that was answered
//	worker    Read      it is authentic
//	sender    answer    its key is let in
//
// doorkeeper is what the receiver needs for its part. A client has none.
type doorkeeper struct {
	tokens  *gate.Tokens
	limiter *gate.Limiter
}

// An HandshakeLimit bounds the INITs with a valid token that a server works on, each
// link's counted by itself: a client sends one on each of its links, and again when no
// answer comes.
type HandshakeLimit struct {
	// PerSource is how many a second may come from one IPv4 address or IPv6 /64. 0 means
	// 20.
	PerSource float64
	// SourceBurst is how many may come at once from one. 0 means 64.
	SourceBurst int
	// Total is how many a second may come from everywhere, and at once. 0 means 1000.
	Total float64
}

func newDoorkeeper(now time.Time, l HandshakeLimit) *doorkeeper {
	cfg := gate.LimiterConfig{Each: gate.Rate{PerSecond: 20, Burst: 64}, All: gate.Rate{PerSecond: 1000, Burst: 1000}}
	if l.PerSource > 0 {
		cfg.Each.PerSecond = l.PerSource
	}
	if l.SourceBurst > 0 {
		cfg.Each.Burst = l.SourceBurst
	}
	if l.Total > 0 {
		cfg.All = gate.Rate{PerSecond: l.Total, Burst: int(max(l.Total, 1))}
	}
	return &doorkeeper{tokens: gate.NewTokens(now), limiter: gate.NewLimiter(cfg)}
}

// A verdict is what the receiver does with an INIT.
type verdict uint8

const (
	admitted verdict = iota
	unproved         // its address is: RETRY
	tooMany
)

// judge decides about an INIT whose mac1 is right.
func (d *doorkeeper) judge(now time.Time, m *wire.Init, covered []byte, on *port, from link.Addr) verdict {
	if !d.tokens.Check(now, &m.Token, source(on, from), covered) {
		return unproved
	}
	var addr netip.Addr
	if on.sock != nil {
		addr = from.Remote.Addr()
	}
	if !d.limiter.Allow(now, addr) {
		return tooMany
	}
	return admitted
}

func source(on *port, from link.Addr) gate.Source {
	return gate.Source{Addr: from.Remote, Port: on.serial}
}

// maxRetries bounds the RETRYs that wait for the sender.
const maxRetries = 256

// retry asks the sender of an INIT to prove its address.
func (r *receiver) retry(now time.Time, m *wire.Init, covered []byte, on *port, from link.Addr) {
	if r.e.retries.Load() >= maxRetries {
		r.count.flooded++
		return
	}
	r.e.retries.Add(1)
	answer := wire.Retry{Mode: m.Mode, Attempt: m.Attempt, Token: r.door.tokens.Issue(now, source(on, from), covered)}
	r.tell = append(r.tell, senderMsg{kind: msgRetry, port: on, addr: from, data: answer.Append(make([]byte, 0, wire.RetrySize))})
}

// An initWork is an INIT that the worker deals with, and where copies of it came from
// meanwhile.
type initWork struct {
	init wire.Init
	hash initHash
	from []initFrom
}

type initFrom struct {
	port *port
	addr link.Addr
}

// handshake implements side: an INIT from somebody who receives at its address, and
// knows this server's key or the password, has arrived.
func (v *Server) handshake(now time.Time, m *senderMsg) {
	s := &v.e.sender
	init, _, err := wire.ParseInit(m.data)
	if err != nil {
		s.count.refused++
		return
	}
	hash := initHash(sha256.Sum256(init.Noise))
	r, w := v.inits.records[hash], v.working[hash]
	switch {
	case r != nil && (r.confirmed || r.copies >= maxAnswers), w != nil && len(w.from) >= maxAnswers:
		s.count.replays++ // no client sends an INIT again that was answered and used
		return
	case r != nil && r.epoch != nil:
		// The same INIT on another link, or again because our answer was lost.
		r.copies++
		s.sendHandshake(m.port, m.addr, r.answer)
		return
	case w != nil:
		w.from = append(w.from, initFrom{m.port, m.addr})
		return
	}
	w = &initWork{init: init, hash: hash, from: []initFrom{{m.port, m.addr}}}
	if v.working == nil {
		v.working = make(map[initHash]*initWork)
	}
	v.working[hash] = w
	cfg := v.responderConfig()
	begun := s.offload(func() func(time.Time) {
		responder, err := crypto.NewResponder(cfg)
		var payload []byte
		var key crypto.PublicKey
		if err == nil {
			payload, key, err = responder.Read(init.Noise)
		}
		return func(now time.Time) { v.respond(now, w, responder, payload, key, err) }
	})
	if !begun {
		delete(v.working, hash)
		s.count.flooded++
	}
}

func (v *Server) responderConfig() crypto.HandshakeConfig {
	return crypto.HandshakeConfig{
		Key:       v.cfg.Key,
		Preshared: v.cfg.PasswordKey,
		Password:  v.cfg.password(),
		Network:   v.cfg.Network,
	}
}

// rekeying implements side.
func (v *Server) rekeying(ses *Session) (crypto.HandshakeConfig, error) {
	cfg := v.responderConfig()
	if !cfg.Password {
		client := v.clients.byKey[ses.id.key]
		if client == nil {
			return cfg, errUnknownClient
		}
		cfg.Peer, cfg.Preshared = ses.id.key, client.peer.Preshared
	}
	return cfg, nil
}

// respond answers an INIT that the worker has read.
func (v *Server) respond(now time.Time, w *initWork, responder *crypto.Responder, payload []byte, key crypto.PublicKey, err error) {
	s := &v.e.sender
	delete(v.working, w.hash)
	s.count.computed++
	var ep *epoch
	var answer []byte
	if err == nil {
		ep, answer, err = v.answer(now, &w.init, responder, payload, key)
		responder.Wipe()
	}
	if err != nil {
		s.count.refused++
		if v.mayComplain(now) {
			first := w.from[0]
			v.e.log.Warn("refused a handshake", "link", first.port.cfg.Name, "from", first.addr, "err", err, "refused so far", s.count.refused)
		}
		return
	}
	r := v.inits.records[w.hash]
	if r == nil {
		r = new(initRecord)
		v.inits.add(w.hash, r)
	}
	ep.init, r.epoch, r.answer = r, ep, answer
	r.copies += len(w.from)
	s.propose(now, ep.session, ep)
	s.wake(ep.session)
	for _, from := range slices.Compact(w.from) {
		s.sendHandshake(from.port, from.addr, answer)
	}
}
