package manage

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/multilink-vpn/multilink/internal/netcfg"
	"github.com/multilink-vpn/multilink/internal/netcfg/kernel"
	"github.com/multilink-vpn/multilink/internal/netcfg/probe"
)

// Settings are what a configuration file says of the host's network.
type Settings struct {
	// Network is what is wanted. nil: nothing, and what is left of an earlier start is
	// undone.
	Network *netcfg.Config

	// Instance names the journal.
	Instance string

	// Servers are the host names and addresses of the tunnel's server.
	Servers []string

	Probe probe.Config
}

// Load reads the configuration of a daemon that runs as user uid. The process that
// changes the host reads the file itself: a daemon that was taken over can have it read
// again, but not say what is in it.
type Load func(uid uint32) (*Settings, error)

// request is a line from the daemon.
type request struct {
	Do    string            // prepare, commit, abort, alive, tunnel, rates or stop
	UID   uint32            `json:",omitempty"`
	Up    bool              `json:",omitempty"`
	Rates map[string]uint64 `json:",omitempty"`
}

// reply is the answer to prepare, commit, alive and stop.
type reply struct {
	Err string `json:",omitempty"`
}

const (
	// settle is how long changes of the host are collected before it is looked at.
	settle = 50 * time.Millisecond
	// look is how often it is looked at without news: settings change without any.
	look = 5 * time.Second
	// lookup is how often the server's name is looked up.
	lookup = time.Minute
	// lookupTimeout is how long that may take.
	lookupTimeout = 4 * time.Second
)

// server is Serve at work.
type server struct {
	load    Load
	log     *slog.Logger
	keeper  *Keeper
	now     *Settings // in force
	next    *Settings // prepared
	unlock  func()
	events  chan func() // what the other goroutines have found out
	probes  map[netcfg.Probe]context.CancelFunc
	running sync.WaitGroup
}

// Serve changes the host as the daemon at the other end of in and out asks, until in
// ends. If it ends without a word the daemon has crashed: then everything stays as it
// is, so that nothing leaks beside the tunnel, for the next start to take over or undo.
func Serve(in io.Reader, out io.Writer, load Load, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{load: load, log: log, events: make(chan func()), probes: make(map[netcfg.Probe]context.CancelFunc)}
	defer s.running.Wait()
	defer cancel()
	requests := make(chan request)
	go func() {
		defer close(requests)
		for lines := json.NewDecoder(in); ; {
			var r request
			if lines.Decode(&r) != nil {
				return
			}
			requests <- r
		}
	}()
	changed, err := kernel.Watch(ctx)
	if err != nil {
		return err
	}
	replies := json.NewEncoder(out)
	var due <-chan time.Time
	looking, resolving := time.NewTicker(look), time.NewTicker(lookup)
	defer looking.Stop()
	defer resolving.Stop()
	for {
		select {
		case r, ok := <-requests:
			if !ok {
				if s.keeper != nil && s.keeper.cfg != nil {
					log.Warn("the daemon has died: its routes and rules stay, so that nothing goes beside the tunnel, until it is started again; `mlvpn network undo` removes them")
				}
				return nil
			}
			stop, err := s.handle(ctx, r, replies)
			if stop || err != nil {
				return err
			}
		case f := <-s.events:
			f()
			s.reconcile(ctx)
		case <-changed:
			if due == nil {
				due = time.After(settle)
			}
		case <-due:
			due = nil
			s.reconcile(ctx)
		case <-looking.C:
			s.reconcile(ctx)
			if s.keeper != nil && len(s.keeper.state.Servers) == 0 {
				s.resolve(ctx) // which has failed before, if there is a name at all
			}
		case <-resolving.C:
			s.resolve(ctx)
		}
	}
}

// handle does what the daemon asks.
func (s *server) handle(ctx context.Context, r request, replies *json.Encoder) (stop bool, err error) {
	answer := func(err error) error {
		var a reply
		if err != nil {
			a.Err = err.Error()
		}
		return replies.Encode(a)
	}
	switch r.Do {
	case "prepare":
		return false, answer(s.prepare(r.UID))
	case "commit":
		return false, answer(s.commit(ctx))
	case "alive":
		return false, answer(nil)
	case "abort":
		s.next = nil
	case "tunnel":
		if s.keeper != nil {
			s.keeper.Update(func(st *netcfg.State) { st.TunnelUp = r.Up })
			s.reconcile(ctx)
		}
	case "rates":
		if s.keeper != nil {
			s.keeper.Update(func(st *netcfg.State) { st.Rates = r.Rates })
			s.reconcile(ctx)
		}
	case "stop":
		if s.keeper == nil {
			return true, answer(nil)
		}
		s.setProbes(ctx, nil)
		err := s.keeper.Undo()
		s.unlock()
		return true, answer(err)
	}
	return false, nil
}

// prepare reads the configuration and makes sure that it is possible.
func (s *server) prepare(uid uint32) error {
	next, err := s.load(uid)
	if err != nil {
		return err
	}
	if s.keeper == nil {
		path := JournalPath(next.Instance)
		unlock, err := lock(path)
		if err != nil {
			return err
		}
		if s.keeper, err = NewKeeper(Kernel{}, path, s.log); err != nil {
			unlock()
			return err
		}
		s.unlock = unlock
	}
	if next.Network != nil {
		if err := s.keeper.Try(next.Network); err != nil {
			return err
		}
	}
	s.next = next
	return nil
}

// commit puts the prepared configuration into force.
func (s *server) commit(ctx context.Context) error {
	if s.next == nil {
		return errors.New("nothing is prepared")
	}
	if s.now != nil && !sameProbe(s.now.Probe, s.next.Probe) {
		s.setProbes(ctx, nil)
	}
	s.now, s.next = s.next, nil
	s.keeper.Set(s.now.Network)
	addrs := literal(s.now.Servers)
	s.keeper.Update(func(st *netcfg.State) { st.Servers = addrs })
	if s.now.Network != nil && len(addrs) < len(s.now.Servers) {
		s.resolve(ctx)
	}
	return s.reconcile(ctx)
}

func sameProbe(a, b probe.Config) bool {
	if len(a.Targets) != len(b.Targets) || a.Interval != b.Interval || a.Timeout != b.Timeout {
		return false
	}
	for i := range a.Targets {
		if a.Targets[i] != b.Targets[i] {
			return false
		}
	}
	return true
}

// reconcile makes the host as planned, and probes the lines that it has.
func (s *server) reconcile(ctx context.Context) error {
	if s.keeper == nil || s.now == nil {
		return nil
	}
	err := s.keeper.Reconcile()
	if p := s.keeper.Plan(); p != nil {
		s.setProbes(ctx, p.Probes)
	}
	return err
}

// setProbes starts and stops probing, so that these lines are probed.
func (s *server) setProbes(ctx context.Context, wanted []netcfg.Probe) {
	if s.now == nil || len(s.now.Probe.Targets) == 0 {
		wanted = nil
	}
	keep := make(map[netcfg.Probe]bool)
	for _, p := range wanted {
		keep[p] = true
		if s.probes[p] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		s.probes[p] = cancel
		cfg := s.now.Probe
		s.running.Go(func() {
			probe.Run(ctx, cfg, probe.Line{Addr: p.Addr, Mark: p.Mark}, func(dead bool) {
				s.post(ctx, func() { s.lineIs(p, dead) })
			})
		})
	}
	for p, cancel := range s.probes {
		if !keep[p] {
			cancel()
			delete(s.probes, p)
			s.keeper.Update(func(st *netcfg.State) { delete(st.Dead, p.Key) })
		}
	}
}

// post has the main goroutine call f.
func (s *server) post(ctx context.Context, f func()) {
	select {
	case s.events <- f:
	case <-ctx.Done():
	}
}

// lineIs takes a line out of balancing, or in.
func (s *server) lineIs(p netcfg.Probe, dead bool) {
	if s.probes[p] == nil {
		return
	}
	s.keeper.Update(func(st *netcfg.State) {
		if st.Dead == nil {
			st.Dead = make(map[netcfg.LineKey]bool)
		}
		st.Dead[p.Key] = dead
	})
	if !dead {
		s.log.Info("the line answers probes", "link", p.Key.Name, "family", int(p.Key.Family))
		return
	}
	s.log.Warn("the line answers no probes: new connections avoid it", "link", p.Key.Name, "family", int(p.Key.Family))
	if err := (Kernel{}).Forget(p.Mark, netcfg.ConnMask); err != nil {
		s.log.Warn("UDP flows of a dead line may stay on it", "link", p.Key.Name, "err", err)
	}
}

// literal returns the addresses among hosts.
func literal(hosts []string) (addrs []netip.Addr) {
	for _, h := range hosts {
		if a, err := netip.ParseAddr(h); err == nil {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs
}

// resolve looks the server's names up in the background.
func (s *server) resolve(ctx context.Context) {
	if s.now == nil || s.now.Network == nil {
		return
	}
	hosts := s.now.Servers
	addrs := literal(hosts)
	if len(addrs) == len(hosts) {
		return
	}
	marks := []uint32{0}
	if p := s.keeper.Plan(); p != nil {
		for _, line := range p.Probes {
			marks = append(marks, line.Mark)
		}
	}
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		for _, h := range hosts {
			if _, err := netip.ParseAddr(h); err == nil {
				continue
			}
			found, err := lookUp(ctx, h, marks)
			if err != nil {
				// What was found before stays.
				s.log.Debug("cannot look the server's name up", "host", h, "err", err)
				return
			}
			addrs = append(addrs, found...)
		}
		s.post(ctx, func() { s.keeper.Update(func(st *netcfg.State) { st.Servers = addrs }) })
	})
}

// lookUp looks a name up, by the host's routes and, where these lead into a tunnel that
// is not up yet, by one line after the other.
func lookUp(ctx context.Context, host string, marks []uint32) (addrs []netip.Addr, err error) {
	for _, mark := range marks {
		d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { return setMark(c, mark) }}
		r := net.Resolver{PreferGo: true, Dial: d.DialContext}
		if addrs, err = r.LookupNetIP(ctx, "ip", host); err == nil {
			break
		}
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}
