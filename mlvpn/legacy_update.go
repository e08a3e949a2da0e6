package mlvpn

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// UpdateLink changes the configuration of a client's link in use. The name cannot change.
func (l *Legacy) UpdateLink(id LinkID, cfg LinkConfig) error {
	return l.update(cfg, func() *port {
		if i := l.index(id); i >= 0 {
			return l.links[i]
		}
		return nil
	}, fmt.Errorf("mlvpn: no link with ID %d", id))
}

// UpdateSocket changes the configuration of a server's link in use. The name cannot
// change.
func (l *Legacy) UpdateSocket(s link.Socket, cfg LinkConfig) error {
	return l.update(cfg, func() *port { return l.socket(s) }, errNoSocket)
}

func (l *Legacy) update(cfg LinkConfig, find func() *port, none error) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	failed := none
	err := l.e.call(func(now time.Time) {
		if p := find(); p != nil {
			failed = l.e.sender.update(now, p, cfg)
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// socket returns the port of a server's socket, or nil.
func (l *Legacy) socket(s link.Socket) *port {
	if i := slices.IndexFunc(l.links, func(p *port) bool { return p.sock == s }); i >= 0 {
		return l.links[i]
	}
	return nil
}

// RemoveLink takes a client's link out of use, tells the server, and closes it.
func (l *Legacy) RemoveLink(id LinkID) error {
	return l.remove(func(p *port) bool { return p.id == id && id != 0 }, fmt.Errorf("mlvpn: no link with ID %d", id))
}

// RemoveSocket takes a server's link out of use, tells the client, and closes it.
func (l *Legacy) RemoveSocket(s link.Socket) error {
	return l.remove(func(p *port) bool { return p.sock != nil && p.sock == s }, errNoSocket)
}

func (l *Legacy) remove(is func(*port) bool, none error) error {
	var gone *port
	err := l.e.call(func(now time.Time) {
		if i := slices.IndexFunc(l.links, is); i >= 0 {
			gone = l.links[i]
			l.links = slices.Delete(l.links, i, i+1)
			l.e.sender.dismiss(now, gone)
			l.e.receiver.box.put(func(time.Time) { delete(l.rx.ports, gone) })
		}
	})
	if gone != nil {
		l.e.removePort(gone)
	} else if err == nil {
		err = none
	}
	return err
}

// ReplaceLink puts another transport in the place of a client's link's present one, which
// it closes. The Legacy takes ln over.
func (l *Legacy) ReplaceLink(id LinkID, ln link.Link) error {
	var was, is *port
	err := l.e.call(func(now time.Time) {
		if i := l.index(id); i >= 0 {
			was = l.links[i]
			is = &port{cfg: was.cfg, id: id, link: ln, traffic: was.traffic}
			l.links[i] = is
			l.e.sender.substitute(now, was, is)
			l.e.receiver.box.put(func(time.Time) { l.rx.ports[is] = l.rx.ports[was]; delete(l.rx.ports, was) })
		}
	})
	if err == nil && was == nil {
		err = fmt.Errorf("mlvpn: no link with ID %d", id)
	}
	if err != nil {
		ln.Close()
		return err
	}
	l.e.removePort(was)
	return l.e.addPort(is)
}

// index returns the position of a client's link, or -1.
func (l *Legacy) index(id LinkID) int {
	return slices.IndexFunc(l.links, func(p *port) bool { return p.id == id && id != 0 })
}

var errNoListener = errors.New("mlvpn: the C daemon of MLVPN has no transport but UDP")

// AddListener closes ln and returns an error, as do UpdateListener and RemoveListener:
// the C daemon knows UDP only.
func (l *Legacy) AddListener(ln link.Listener, _ LinkConfig) error {
	ln.Close()
	return errNoListener
}

// UpdateListener returns an error: see AddListener.
func (l *Legacy) UpdateListener(link.Listener, LinkConfig) error { return errNoListener }

// RemoveListener returns an error: see AddListener.
func (l *Legacy) RemoveListener(link.Listener) error { return errNoListener }
