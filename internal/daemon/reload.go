package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// settings are all that a start and a reload read from files.
type settings struct {
	conf    *conf.Config
	keys    keyring
	clients []mlvpn.Peer // of a server that knows them by key
	rules   []mlvpn.Rule // of conf.Filters
}

// readSettings reads and checks everything, and logs the warnings. An error says what is
// wrong with which file and line. What it takes long to make of a password is taken over
// from was, if that is not nil.
func readSettings(opts Options, read func() (*conf.Files, error), was *settings) (*settings, error) {
	files, err := read()
	if err != nil {
		return nil, err
	}
	c, clients, warnings, err := files.Parse(conf.Options{GeneratePassword: crypto.GeneratePassword})
	for _, w := range warnings {
		opts.Log.Warn(w.String())
	}
	if err != nil {
		return nil, err
	}
	if c.Mode == conf.Balance {
		return &settings{conf: c}, nil // there is no tunnel
	}
	var keys keyring
	if was != nil && c.Password != "" && c.Password == was.conf.Password && c.Network == was.conf.Network {
		keys.password = was.keys.password
	} else if keys, err = parseKeys(c); err != nil {
		return nil, err
	}
	peers, err := parseClients(c, keys, clients)
	if err != nil {
		return nil, err
	}
	rules, err := compileFilters(c)
	if err != nil {
		return nil, err
	}
	return &settings{conf: c, keys: keys, clients: peers, rules: rules}, nil
}

// A part is something of a running daemon that follows the configuration: the clients
// of a server, the links of a client, the routes.
//
// A reload is applied as a whole or not at all. So it has two steps. First each part
// prepares: it looks at what of the new settings concerns it, and gets ready all that
// can fail, without a change to what runs. An error refuses the reload. Once all parts
// have agreed, their commits are called, in the same order.
type part interface {
	// prepare returns what puts the change from old to new into force, or nil if the part
	// has nothing to change. commit returns what it did, in words, for the log; empty is
	// nothing to speak of. When another part refuses, abort is called in its place, to give
	// back what prepare has opened; it may be nil.
	prepare(old, new *settings) (commit func() string, abort func(), err error)
}

// A reloader applies changed configurations to a running daemon. Its methods are called
// by one goroutine.
type reloader struct {
	opts  Options
	read  func() (*conf.Files, error)
	now   *settings // in force
	parts []part
}

// run reloads at each value from requests, until ctx is done.
func (r *reloader) run(ctx context.Context, requests <-chan struct{}) {
	for {
		select {
		case <-requests:
			r.reload()
		case <-ctx.Done():
			return
		}
	}
}

// reload reads the configuration again. If anything is wrong with it, or a part cannot
// follow, the old one stays in force and the log says why.
func (r *reloader) reload() error {
	log := r.opts.Log
	next, err := readSettings(r.opts, r.read, r.now)
	var done []string
	if err == nil {
		done, err = r.apply(next)
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			log.Error("the new configuration is refused", "why", strings.TrimSuffix(line, "\n"))
		}
		log.Error("the configuration was not reloaded: the old one stays in force", "config", r.opts.Config)
		return err
	}
	for _, what := range done {
		log.Info("reload: " + what)
	}
	log.Info("configuration reloaded", "config", r.opts.Config, "changes", len(done))
	return nil
}

// apply puts settings into force, all or none.
func (r *reloader) apply(next *settings) (done []string, err error) {
	var commits []func() string
	var aborts []func()
	for _, p := range r.parts {
		commit, abort, err := p.prepare(r.now, next)
		if err != nil {
			for _, undo := range aborts {
				undo()
			}
			return nil, err
		}
		if commit != nil {
			commits = append(commits, commit)
		}
		if abort != nil {
			aborts = append(aborts, abort)
		}
	}
	for _, commit := range commits {
		if what := commit(); what != "" {
			done = append(done, what)
		}
	}
	r.now = next
	return done, nil
}

// restartOnly is the part that stands for what only a restart can change: each reload
// says which of it differs from what the daemon started with.
type restartOnly struct {
	log     *slog.Logger
	started *settings
}

func (r restartOnly) prepare(_, new *settings) (func() string, func(), error) {
	a, b := r.started.conf, new.conf
	if a.Mode != b.Mode {
		return nil, nil, fmt.Errorf("%s: mode cannot change from %q to %q while the daemon runs: restart it", b.File, a.Mode, b.Mode)
	}
	var names []string
	for _, k := range []struct {
		name string
		same bool
	}{
		{"interface_name", a.Interface == b.Interface},
		{"tuntap", a.Device == b.Device},
		{"compat, its password or cleartext_data", a.Compat == b.Compat && a.ClearData == b.ClearData && (a.Compat == "" || a.Password == b.Password)},
		{"password or private_key", r.started.keys.password == new.keys.password && r.started.keys.private == new.keys.private},
		{"peer_key or preshared_key", b.Mode == conf.Server || r.started.keys == new.keys},
		{"network", a.Network == b.Network},
		{"control_unix_path, control_bind_host or control_bind_port", a.ControlUnixPath == b.ControlUnixPath && a.ControlBindHost == b.ControlBindHost && a.ControlBindPort == b.ControlBindPort},
		{"state_dir", a.StateDir == b.StateDir},
		{"mtu", a.MTU == b.MTU},
		{"statuscommand", a.StatusCommand == b.StatusCommand},
		{"scheduler", a.Scheduler == b.Scheduler},
		{"reorder_buffer_size", a.ReorderBuffer == b.ReorderBuffer},
		{"ip4 or ip6", a.IP4 == b.IP4 && a.IP6 == b.IP6 && a.IP4Gateway == b.IP4Gateway && a.IP6Gateway == b.IP6Gateway},
		{"ip4_local, ip6_local, ip4_remote or ip6_remote", fmt.Sprint(localNetworks(a), remoteNetworks(a)) == fmt.Sprint(localNetworks(b), remoteNetworks(b))},
		{"ip4_routes or ip6_routes", a.Routing.Manage && b.Routing.Manage || fmt.Sprint(a.IP4Routes, a.IP6Routes) == fmt.Sprint(b.IP4Routes, b.IP6Routes)},
	} {
		if !k.same {
			names = append(names, k.name)
		}
	}
	if len(names) == 0 {
		return nil, nil, nil
	}
	return func() string {
		r.log.Warn("a reload cannot change this: restart to apply it", "changed", strings.Join(names, ", "))
		return ""
	}, nil, nil
}
