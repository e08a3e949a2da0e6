package mlvpn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
)

// A Server carries a device's packets to many clients. Its methods may be called from
// any goroutine.
type Server struct {
	e   *engine
	cfg ServerConfig

	// The following is owned by the sender.
	clients    clientList
	addressing addressing
	sessions   map[identity]*Session
	routes     routes
	inits      initLog
	working    map[initHash]*initWork // INITs that the worker deals with
	refusedAt  time.Time              // when a refused handshake was last logged
}

// NewServer checks cfg and returns a Server without sockets. It starts nothing: Run
// does.
func NewServer(cfg ServerConfig) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.password() && len(cfg.Clients) > 0 {
		return nil, errors.New("mlvpn: a server that authenticates by password has no list of clients")
	}
	addressing, err := newAddressing(cfg.Pools)
	if err != nil {
		return nil, err
	}
	v := &Server{
		cfg:        cfg,
		clients:    newClientList(),
		addressing: addressing,
		sessions:   make(map[identity]*Session),
	}
	v.e = newEngine(cfg.Config, v)
	v.e.learn, v.e.expects = true, wire.KindInit
	if cfg.Ethernet {
		v.e.bridge = newBridging()
	}
	v.e.receiver.door = newDoorkeeper(v.e.born, cfg.Handshakes)
	if cfg.password() {
		v.e.receiver.macKey = crypto.MAC1PasswordKey(cfg.PasswordKey)
	} else {
		v.e.receiver.macKey = crypto.MAC1Key(cfg.Key.Public())
	}
	if len(cfg.Clients) > 0 {
		if _, err := v.SetClients(cfg.Clients); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// Run serves clients until ctx is done or the device fails. It may be called once.
// When it returns, the device, the sockets and the listeners are closed and every
// goroutine has ended.
func (v *Server) Run(ctx context.Context) error { return v.e.run(ctx) }

// AddSocket lets clients reach the server through a socket, which the Server takes
// over and closes. cfg goes for every link that arrives there. It may be called before
// and during Run.
func (v *Server) AddSocket(s link.Socket, cfg LinkConfig) error {
	if err := cfg.validate(); err != nil {
		s.Close()
		return err
	}
	return v.e.addPort(&port{cfg: cfg, sock: s, traffic: newTraffic()})
}

// AddListener does the same for a transport that has connections.
func (v *Server) AddListener(l link.Listener, cfg LinkConfig) error {
	if err := cfg.validate(); err != nil {
		l.Close()
		return err
	}
	return v.e.addAcceptor(&acceptor{cfg: cfg, l: l, traffic: newTraffic()})
}

// mayComplain reports whether it is time for another log line about handshakes that
// fail: anybody can cause them.
func (v *Server) mayComplain(now time.Time) bool {
	if !v.refusedAt.IsZero() && now.Sub(v.refusedAt) < time.Minute {
		return false
	}
	v.refusedAt = now
	return true
}

// failed implements side.
func (v *Server) failed(now time.Time, s *Session) {
	if s.tx.current == nil && v.mayComplain(now) {
		v.e.log.Warn("a client began a handshake and did not finish it: its preshared key may be another, or our answers do not reach it", "peer", s.peer)
	}
}

var errUnknownClient = errors.New("no client with this public key is let in: add it with AddClient or in the configuration")

// answer decides about an authentic INIT and makes what follows from it.
func (v *Server) answer(now time.Time, init *wire.Init, r *crypto.Responder, payload []byte, key crypto.PublicKey) (*epoch, []byte, error) {
	var client *account
	if !v.cfg.password() {
		if client = v.clients.byKey[key]; client == nil {
			return nil, nil, fmt.Errorf("public key %v: %w", key, errUnknownClient)
		}
		r.SetPreshared(client.peer.Preshared)
	}
	hello, err := wire.ParseParams(payload)
	if err != nil {
		return nil, nil, err
	}
	if len(hello.Indices) == 0 {
		return nil, nil, errors.New("the client offers no link")
	}
	if hello.Ethernet != v.cfg.Ethernet {
		return nil, nil, errors.New("one end has a TAP device and the other a TUN device: make them the same")
	}
	aead, err := crypto.Choose(hello.AEADs, crypto.Supported())
	if err != nil {
		return nil, nil, err
	}
	if err := v.roomFor(client, &hello); err != nil {
		return nil, nil, err
	}
	v.compare(now, client, &hello)
	s := &v.e.sender
	own := s.allocate(len(hello.Indices))
	reply := wire.Params{AEADs: aead.Bit(), Indices: own, Ethernet: v.cfg.Ethernet}
	reply.Addresses = fit(v.offer(key, client, &hello), init.Size, len(reply.Append(nil)))
	noise, secrets, err := r.Finish(nil, reply.Append(nil))
	if err != nil {
		s.release(own)
		return nil, nil, err
	}
	resp := wire.Response{Mode: v.cfg.mode(), Attempt: init.Attempt, Noise: noise}
	answer := resp.Append(nil)
	if len(answer) > init.Size {
		// Never so with an INIT of ours. Nobody's must make an amplifier of this end.
		s.release(own)
		secrets.Wipe()
		return nil, nil, errors.New("the client's INIT is shorter than the answer to it")
	}
	ses := v.session(key, client, &hello)
	v.grant(ses, reply.Addresses)
	return s.newEpoch(now, ses, secrets, aead, own, hello.Indices), answer, nil
}

// roomFor returns why a client by password cannot be served besides the others, or nil.
func (v *Server) roomFor(client *account, hello *wire.Params) error {
	limit := cmp.Or(v.cfg.MaxClients, defaultMaxClients)
	if client != nil || len(v.sessions) < limit || v.sessions[identity{password: passwordIdentity(hello)}] != nil {
		return nil
	}
	return fmt.Errorf("there are %d clients, which is the limit: raise ServerConfig.MaxClients", limit)
}

// defaultMaxClients is what ServerConfig.MaxClients says 0 means.
const defaultMaxClients = 1024

// session returns the session of a client, a new one if it has none.
func (v *Server) session(key crypto.PublicKey, client *account, hello *wire.Params) *Session {
	ses := &Session{e: v.e, owner: client}
	if client != nil {
		ses.id.key = key
		ses.peer = client.peer.Name
	} else {
		ses.id.password = passwordIdentity(hello)
		ses.prefixes = hello.Prefixes
		ses.peer = cmp.Or(hello.Name, "client")
	}
	if known := v.sessions[ses.id]; known != nil {
		return known
	}
	v.sessions[ses.id] = ses
	if client != nil {
		client.session = ses
	}
	return ses
}

// passwordIdentity tells clients with the same password apart: by their inner
// addresses, else by the number that each has drawn (SPEC.md, section 6.4).
func passwordIdentity(hello *wire.Params) string {
	if len(hello.Prefixes) == 0 {
		return strconv.FormatUint(hello.Client, 16)
	}
	names := make([]string, len(hello.Prefixes))
	for i, p := range hello.Prefixes {
		names[i] = p.String()
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// route implements side: an address that belongs to a client known by key is nobody
// else's, whether or not that client is there.
func (v *Server) route(p *packet, dst []*Session) []*Session {
	if v.cfg.Ethernet {
		return v.switched(p, dst)
	}
	if !v.e.guard.leaves(&p.info) {
		return dst
	}
	if len(v.addressing.leases) > 0 {
		if s := v.addressing.leases[p.info.Dst]; s != nil {
			return append(dst, s)
		}
	}
	a, size, ok := v.clients.owners.Lookup(p.info.Dst)
	if ok && size > 0 {
		return a.sessions(dst)
	}
	to := v.routes.lookup(p.info.Dst, dst)
	if ok && len(to) == len(dst) {
		return a.sessions(dst) // it has the default route
	}
	return to
}

// switched appends the clients that a frame goes to, from the device or from another
// client.
func (v *Server) switched(p *packet, dst []*Session) []*Session {
	b, from := v.e.bridge, v.e.sender.scratch.from
	now := time.Now() // the sender reads its clock after the device's packets
	var at *Session
	if from == nil {
		at = b.fromDevice(now, p.info.SrcMAC, p.info.DstMAC)
	} else {
		at, _ = b.lookup(now, p.info.DstMAC)
	}
	if at != nil {
		return append(dst, at)
	}
	for _, s := range v.routes.live {
		if s != from {
			dst = append(dst, s)
		}
	}
	return dst
}

// sessions appends the client's session to dst, if it has one.
func (a *account) sessions(dst []*Session) []*Session {
	if a.session == nil {
		return dst
	}
	return append(dst, a.session)
}

// learned implements side.
func (v *Server) learned(s *Session, from netip.Addr) { v.routes.learn(from, s) }

// changed implements side.
func (v *Server) changed(s *Session, up bool) {
	if up {
		v.routes.add(s, s.prefixes)
		v.claim(s)
	} else {
		v.routes.rest(s)
	}
}

// ended implements side.
func (v *Server) ended(s *Session) {
	v.routes.remove(s)
	v.revoke(s)
	if v.sessions[s.id] == s {
		delete(v.sessions, s.id)
	}
	if s.owner != nil && s.owner.session == s {
		s.owner.session = nil
	}
}

// advance implements side: a server only answers.
func (v *Server) advance(time.Time) time.Time { return time.Time{} }
