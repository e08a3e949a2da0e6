package daemon

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/fib"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// newClient makes a client without links.
func newClient(c *conf.Config, keys keyring, shared mlvpn.Config, name string) (clientTunnel, error) {
	if c.Compat != "" {
		return mlvpn.NewLegacy(legacyConfig(c, shared))
	}
	cfg := mlvpn.ClientConfig{
		Config:    shared,
		Server:    keys.peer,
		Preshared: keys.preshared,
		Name:      clientName(name),
		Allowed:   remoteNetworks(c),
	}
	for _, p := range []netip.Prefix{c.IP4, c.IP6} {
		if p.IsValid() {
			cfg.Prefixes = append(cfg.Prefixes, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
		}
	}
	cfg.Prefixes = append(append(cfg.Prefixes, c.Routing.IP4Lan...), c.Routing.IP6Lan...)
	return mlvpn.NewClient(cfg)
}

// clientName returns what the server's operator sees.
func clientName(name string) string {
	if name == "" {
		name, _ = os.Hostname()
	}
	return name[:min(len(name), 64)]
}

// clientLinks are the links of a client: a keeper for each.
type clientLinks struct {
	ctx    context.Context // ends the keepers
	client clientTunnel
	events *events
	tables *fib.Tables
	log    *slog.Logger

	running sync.WaitGroup // keepers, also those whose links are being taken away

	mu      sync.Mutex // guards the following
	conf    *conf.Config
	keepers map[string]*keeper
	over    map[string]bool // links that have used up their quota
	closed  bool
}

// startClientLinks starts a keeper for each link of c.
func startClientLinks(ctx context.Context, client clientTunnel, c *conf.Config, ev *events, tables *fib.Tables, log *slog.Logger) *clientLinks {
	s := &clientLinks{
		ctx: ctx, client: client, events: ev, tables: tables, log: log,
		conf: c, keepers: make(map[string]*keeper), over: make(map[string]bool),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followLocked()
	return s
}

// prepare implements part. That a link cannot be opened refuses nothing: its keeper
// tries as long as it takes, as it does at the start.
func (s *clientLinks) prepare(old, new *settings) (commit func() string, abort func(), err error) {
	changes := compareLinks(old.conf, new.conf)
	if err := useTables(s.tables, new.conf); err != nil {
		return nil, nil, err
	}
	return func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conf = new.conf
		s.followLocked()
		return changes.String()
	}, nil, nil
}

// followLocked starts, stops and changes keepers as s.conf says.
func (s *clientLinks) followLocked() {
	if s.closed {
		return
	}
	for name, k := range s.keepers {
		if findLink(s.conf, name) == nil {
			k.stop()
			s.events.unwatch(name)
			delete(s.keepers, name)
		}
	}
	for i := range s.conf.Links {
		l := &s.conf.Links[i]
		want := goal{link: *l, cfg: linkConfig(s.conf, l, s.over[l.Name]), way: s.tables.Way(l.BindFIB)}
		if k := s.keepers[l.Name]; k != nil {
			k.follow(want)
			continue
		}
		k := newKeeper(s.client, want, s.events.watch(l.Name), s.log)
		s.keepers[l.Name] = k
		k.start(s.ctx, &s.running)
	}
}

func (s *clientLinks) spent(name string, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over[name] = is
	s.followLocked()
}

// close waits for the keepers, whose context has ended.
func (s *clientLinks) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
}
