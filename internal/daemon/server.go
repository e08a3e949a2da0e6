package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"syscall"
	"time"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/fib"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// serverLinks are the links of a server: where those of the clients arrive.
type serverLinks struct {
	server serverTunnel // set by begin
	tables *fib.Tables
	log    *slog.Logger

	mu   sync.Mutex // guards the following
	conf *conf.Config
	open map[string]listening // by section
	over map[string]bool      // links that have used up their quota
	gone map[uint16]retired   // by port: removed, and perhaps not closed yet
}

// retired is a port that was removed at some time.
type retired struct {
	listening
	at time.Time
}

// forgetRetired is when a port that was removed is closed for sure.
const forgetRetired = 10 * time.Second

// openServerLinks opens the ports of all sections. begin puts them to use.
func openServerLinks(c *conf.Config, tables *fib.Tables, log *slog.Logger) (*serverLinks, error) {
	s := &serverLinks{tables: tables, log: log, conf: c, open: make(map[string]listening), over: make(map[string]bool), gone: make(map[uint16]retired)}
	for i := range c.Links {
		l := &c.Links[i]
		opened, err := listen(l, tables.Way(l.BindFIB))
		if err != nil {
			s.abandon()
			return nil, err
		}
		s.open[l.Name] = opened
	}
	return s, nil
}

// abandon closes what openServerLinks has opened, when begin was not called.
func (s *serverLinks) abandon() {
	for _, opened := range s.open {
		opened.close()
	}
}

// begin hands the ports to the server.
func (s *serverLinks) begin(server serverTunnel) error {
	s.server = server
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.conf.Links {
		l := &s.conf.Links[i]
		if err := s.addLocked(l, s.open[l.Name]); err != nil {
			return err
		}
	}
	return nil
}

func (s *serverLinks) addLocked(l *conf.Link, opened listening) error {
	s.open[l.Name] = opened
	cfg := linkConfig(s.conf, l, s.over[l.Name])
	if opened.socket != nil {
		return s.server.AddSocket(opened.socket, cfg)
	}
	return s.server.AddListener(opened.listener, cfg)
}

func (s *serverLinks) updateLocked(l *conf.Link) error {
	opened, cfg := s.open[l.Name], linkConfig(s.conf, l, s.over[l.Name])
	switch {
	case opened.socket != nil:
		return s.server.UpdateSocket(opened.socket, cfg)
	case opened.listener != nil:
		return s.server.UpdateListener(opened.listener, cfg)
	}
	return nil // it could not be opened, which was logged
}

func (s *serverLinks) spent(name string, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over[name] = is
	if l := findLink(s.conf, name); l != nil {
		s.complain(name, s.updateLocked(l))
	}
}

func (s *serverLinks) close() {}

// complain logs what a running server could not do to a link.
func (s *serverLinks) complain(name string, err error) {
	if err != nil && !errors.Is(err, mlvpn.ErrClosed) {
		s.log.Error("cannot change a link", "link", name, "err", err)
	}
}

// prepare implements part: it opens the ports that are new.
func (s *serverLinks) prepare(old, new *settings) (commit func() string, abort func(), err error) {
	changes := compareLinks(old.conf, new.conf)
	opened := make(map[string]listening)
	abort = func() {
		for _, o := range opened {
			o.close()
		}
	}
	if err := useTables(s.tables, new.conf); err != nil {
		return nil, nil, err
	}
	for _, names := range [][]string{changes.added, changes.moved} {
		for _, name := range names {
			l := findLink(new.conf, name)
			o, err := s.listen(l)
			if errors.Is(err, syscall.EADDRINUSE) && portLeaves(old.conf, new.conf, l) {
				continue // commit opens it, once the old one is closed
			}
			if err != nil {
				abort()
				return nil, nil, fmt.Errorf("%s:%d: %w", new.conf.File, l.Line, err)
			}
			opened[name] = o
		}
	}
	return func() string { return s.commit(new.conf, &changes, opened) }, abort, nil
}

// listen opens what a section describes, also if the port is that of one which was
// removed a moment ago and still receives what was under way.
func (s *serverLinks) listen(l *conf.Link) (listening, error) {
	o, err := listen(l, s.tables.Way(l.BindFIB))
	if !errors.Is(err, syscall.EADDRINUSE) {
		return o, err
	}
	s.mu.Lock()
	old, ok := s.gone[l.BindPort]
	delete(s.gone, l.BindPort)
	s.mu.Unlock()
	if !ok {
		return o, err
	}
	old.close()
	return listen(l, s.tables.Way(l.BindFIB))
}

// portLeaves reports whether l has the port of a link that the reload takes away or
// moves.
func portLeaves(old, new *conf.Config, l *conf.Link) bool {
	for i := range old.Links {
		was := &old.Links[i]
		is := findLink(new, was.Name)
		if was.BindPort == l.BindPort && (is == nil || !sameWay(was, is)) {
			return true
		}
	}
	return false
}

// commit applies a changed configuration. New ports come before old ones go, so that a
// client always has one.
func (s *serverLinks) commit(c *conf.Config, changes *linkChanges, opened map[string]listening) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conf = c
	old := make(map[string]listening)
	for _, names := range [][]string{changes.removed, changes.moved} {
		for _, name := range names {
			old[name] = s.open[name]
			delete(s.open, name)
		}
	}
	for name, o := range opened {
		s.complain(name, s.addLocked(findLink(c, name), o))
	}
	now := time.Now()
	maps.DeleteFunc(s.gone, func(_ uint16, r retired) bool { return now.Sub(r.at) > forgetRetired })
	late := len(opened) < len(changes.added)+len(changes.moved) // some wait for a port
	for name, o := range old {
		if o == (listening{}) {
			continue
		}
		s.complain(name, s.retireLocked(o))
		if late {
			o.close()
		} else {
			s.gone[o.port()] = retired{o, now}
		}
	}
	for i := range c.Links {
		l := &c.Links[i]
		if _, ok := s.open[l.Name]; ok {
			s.complain(l.Name, s.updateLocked(l))
			continue
		}
		o, err := listen(l, s.tables.Way(l.BindFIB))
		if err == nil {
			err = s.addLocked(l, o)
		}
		s.complain(l.Name, err)
	}
	return changes.String()
}

func (s *serverLinks) retireLocked(o listening) error {
	if o.socket != nil {
		return s.server.RemoveSocket(o.socket)
	}
	return s.server.RemoveListener(o.listener)
}
