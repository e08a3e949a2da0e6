package mlvpn

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/internal/path"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
)

// UpdateLink changes the configuration of a link in use. The link keeps its transport,
// its keys and what is under way, and the server is told what concerns it. The name
// cannot change.
func (c *Client) UpdateLink(id LinkID, cfg LinkConfig) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	failed := fmt.Errorf("mlvpn: no link with ID %d", id)
	err := c.e.call(func(now time.Time) {
		if i := slices.IndexFunc(c.links, func(p *port) bool { return p.id == id }); i >= 0 {
			failed = c.e.sender.update(now, c.links[i], cfg)
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// UpdateSocket changes the configuration of the links that arrive at a socket. The
// name cannot change.
func (v *Server) UpdateSocket(s link.Socket, cfg LinkConfig) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	p := v.e.portOf(s)
	if p == nil {
		return errNoSocket
	}
	var failed error
	if err := v.e.call(func(now time.Time) { failed = v.e.sender.update(now, p, cfg) }); err != nil {
		return err
	}
	return failed
}

// RemoveSocket takes a socket out of use, and closes it a little later, when what is
// under way has arrived. Clients are told to use their other links instead; one that
// opens its link anew, to another socket, gets it back.
func (v *Server) RemoveSocket(s link.Socket) error {
	p := v.e.portOf(s)
	if p == nil {
		return errNoSocket
	}
	if err := v.e.call(func(now time.Time) { v.e.sender.dismiss(now, p) }); err != nil {
		return err
	}
	v.e.retirePort(p)
	return nil
}

// UpdateListener is UpdateSocket for the links that a listener has accepted and will.
func (v *Server) UpdateListener(l link.Listener, cfg LinkConfig) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	a, ports := v.e.acceptorOf(l)
	if a == nil {
		return errNoSocket
	}
	if a.cfg.Name != cfg.Name {
		return errRenamed
	}
	v.e.life.mu.Lock()
	a.cfg.set(&cfg)
	v.e.life.mu.Unlock()
	return v.e.call(func(now time.Time) {
		for _, p := range ports {
			v.e.sender.update(now, p, cfg)
		}
	})
}

// RemoveListener is RemoveSocket for a listener and the links that it has accepted.
func (v *Server) RemoveListener(l link.Listener) error {
	a, ports := v.e.acceptorOf(l)
	if a == nil {
		return errNoSocket
	}
	v.e.life.mu.Lock()
	delete(v.e.life.accept, a)
	delete(v.e.life.carried, a.traffic)
	v.e.life.mu.Unlock()
	a.l.Close()
	for _, p := range ports {
		if err := v.e.call(func(now time.Time) { v.e.sender.dismiss(now, p) }); err != nil {
			return err
		}
		v.e.retirePort(p)
	}
	return nil
}

// retireAfter is how long a port still receives once the peers have been told that it
// will not be used any more.
const retireAfter = time.Second

// retirePort closes a port when what is under way has arrived.
func (e *engine) retirePort(p *port) {
	e.life.mu.Lock()
	running := p.gone != nil
	if running && !e.life.ended {
		e.life.readers.Go(func() {
			timer := time.NewTimer(retireAfter)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-p.gone:
			case <-e.sender.done:
			}
			e.removePort(p)
		})
	}
	e.life.mu.Unlock()
	if !running {
		e.removePort(p)
	}
}

var (
	errNoSocket = errors.New("mlvpn: no such socket or listener: it was never added, or has been removed")
	errRenamed  = errors.New("mlvpn: the name of a link cannot change: remove it and add another")
)

// portOf returns the port of a server's socket, or nil.
func (e *engine) portOf(s link.Socket) *port {
	e.life.mu.Lock()
	defer e.life.mu.Unlock()
	for p := range e.life.ports {
		if p.sock != nil && p.sock == s {
			return p
		}
	}
	return nil
}

// acceptorOf returns the acceptor of a listener, or nil, and the ports that it has
// accepted.
func (e *engine) acceptorOf(l link.Listener) (a *acceptor, ports []*port) {
	e.life.mu.Lock()
	defer e.life.mu.Unlock()
	for x := range e.life.accept {
		if x.l == l {
			a = x
		}
	}
	for p := range e.life.ports {
		if a != nil && p.from == a {
			ports = append(ports, p)
		}
	}
	return a, ports
}

// update puts another configuration of a port into force.
func (s *sender) update(now time.Time, on *port, cfg LinkConfig) error {
	if on.cfg.Name != cfg.Name {
		return errRenamed
	}
	on.cfg.set(&cfg)
	s.pathsOf(on, func(p *pathState) {
		s.configure(p)
		p.tx.monitor.Configure(now, path.Config{Timeout: cfg.Timeout})
		p.tx.peer.knows = false
		p.tx.monitor.ProbeNow(now)
		s.judge(p)
		s.noteState(now, p, "")
		s.timers.set(p.epoch.session, now)
	})
	return nil
}

// configure works out what a path's configuration is: this end's, and what the peer has
// told of it.
func (s *sender) configure(p *pathState) {
	t := &p.tx
	paced := t.cfg.Pace
	t.cfg = t.port.cfg.with(&t.peer)
	switch {
	case t.cfg.Pace:
		t.pacer.SetRate(t.cfg.Bandwidth)
	case paced:
		t.pacer.SetRate(0)
	}
	p.updateView()
}

// with returns c with what the peer has told of the link.
func (c LinkConfig) with(peer *peerSide) LinkConfig {
	if c.Bandwidth == 0 {
		c.Bandwidth = peer.weight
	}
	if peer.tier != wire.TierNone {
		c.Cost = max(c.Cost, peer.tier&tierCost)
		c.Overflow = c.Overflow || peer.tier&tierOverflow != 0
		c.Fallback = c.Fallback || peer.tier&tierFallback != 0
	}
	return c
}

// set copies all of from but the name, which other goroutines read.
func (c *LinkConfig) set(from *LinkConfig) {
	c.Bandwidth, c.PeerBandwidth, c.Pace = from.Bandwidth, from.PeerBandwidth, from.Pace
	c.Fallback, c.Cost, c.Overflow = from.Fallback, from.Cost, from.Overflow
	c.Timeout, c.LossTolerance, c.LatencyTolerance = from.Timeout, from.LossTolerance, from.LatencyTolerance
}
