package mlvpn

import (
	"errors"
	"net"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// An acceptor takes in the links of a listener.
type acceptor struct {
	cfg     LinkConfig // the name is constant, the rest guarded by life.mu
	l       link.Listener
	traffic *traffic
}

// Anybody can open a connection, and it costs more than a datagram does. So only so many
// of a listener's may exist at once on which nothing authentic has come yet, and each
// only for a while.
const (
	maxUnproven = 64
	unprovenFor = 10 * time.Second
)

// addAcceptor starts accepting, now or when Run begins.
func (e *engine) addAcceptor(a *acceptor) error {
	l := &e.life
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.started && l.ctx.Err() != nil {
		a.l.Close()
		return ErrClosed
	}
	l.accept[a] = struct{}{}
	l.carried[a.traffic] = a.cfg.Name
	if l.started {
		e.startAcceptor(a)
	}
	return nil
}

// startAcceptor starts the goroutine that accepts. life.mu is held.
func (e *engine) startAcceptor(a *acceptor) {
	e.life.readers.Go(func() {
		for {
			l, err := a.l.Accept()
			if err == nil {
				e.accepted(a, l)
				continue
			}
			if errors.Is(err, net.ErrClosed) {
				return
			}
			e.log.Warn("accepting a link failed, trying again", "link", a.cfg.Name, "err", err)
			select {
			case <-time.After(readRetry):
			case <-e.sender.done:
				return
			}
		}
	})
}

// accepted takes a link in that a listener has accepted, and watches it until it has
// proven itself.
func (e *engine) accepted(a *acceptor, l link.Link) {
	e.life.mu.Lock()
	unproven := 0
	for p := range e.life.ports {
		if p.from == a && !p.proven.Load() {
			unproven++
		}
	}
	_, listening := e.life.accept[a]
	p := &port{cfg: a.cfg, link: l, from: a, traffic: a.traffic}
	e.life.mu.Unlock()
	if !listening || unproven >= maxUnproven {
		l.Close()
		return
	}
	if e.addPort(p) != nil {
		return
	}
	e.life.readers.Go(func() {
		timer := time.NewTimer(unprovenFor)
		defer timer.Stop()
		select {
		case <-timer.C:
			if !p.proven.Load() {
				p.close() // which ends its reader, and that forgets it
			}
		case <-p.gone:
		case <-e.sender.done:
		}
	})
}
