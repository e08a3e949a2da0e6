// Package daemon runs a tunnel as an mlvpn.conf describes it: it is what the command
// mlvpn does, apart from its command line.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/fib"
	"github.com/multilink-vpn/multilink/internal/netif"
	"github.com/multilink-vpn/multilink/internal/privdrop"
	"github.com/multilink-vpn/multilink/internal/proctitle"
	"github.com/multilink-vpn/multilink/internal/sdnotify"
	"github.com/multilink-vpn/multilink/mlvpn"
	"github.com/multilink-vpn/multilink/reorder"
	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/tun"
)

// Options are what the command line adds to the configuration file.
type Options struct {
	// Config is the path of the configuration file.
	Config string

	// Name tells this instance from others in logs, and a client from others with the
	// same password. Empty is the host's name.
	Name string

	// User is the account to run as once everything that needs root is done. Empty
	// keeps the account that the process was started by.
	User string

	// Version is what the status shows.
	Version string

	// AllowRoot lets the process go on as root.
	AllowRoot bool

	// Log receives what the operator should know. Required.
	Log *slog.Logger

	// Reload has the daemon read its configuration again at each value: the program's
	// SIGHUP. What cannot be applied is refused and logged, and the daemon goes on with
	// what it has. nil means never.
	Reload <-chan struct{}
}

// defaultMTU makes the plaintext of a full packet, frame header included, a multiple
// of 128 bytes, which AES-GCM seals fastest; it fits any path of 1500 bytes.
const defaultMTU = 1400

// hookGrace is how long the status command may still run when the daemon stops.
const hookGrace = 10 * time.Second

// Run reads the configuration and carries packets until ctx is done, or something
// fails for good. Everything that can be checked is checked before anything is
// started; what was started is undone.
func Run(ctx context.Context, opts Options) error {
	now, err := readSettings(opts, func() (*conf.Files, error) { return conf.Read(opts.Config) }, nil)
	if err != nil {
		return err
	}
	if err := checkUser(opts); err != nil {
		return err
	}
	c, keys := now.conf, now.keys
	if c.Mode == conf.Balance {
		return runBalance(ctx, now, opts)
	}
	events, err := newEvents(c, opts.Log)
	if err != nil {
		return err
	}

	// From here on, what fails must undo what came before.
	var background sync.WaitGroup
	defer background.Wait()
	var undo cleanup
	defer undo.run()
	tables := &fib.Tables{Owner: c.Interface}
	defer func() {
		if err := tables.Close(); err != nil {
			opts.Log.Warn("a routing rule stays behind", "err", err)
		}
	}()
	if err := useTables(tables, c); err != nil {
		return err
	}
	var listening *serverLinks
	if c.Mode == conf.Server {
		if listening, err = openServerLinks(c, tables, opts.Log); err != nil {
			return err
		}
		undo.add(listening.abandon)
	}
	mtu := tunnelMTU(c)
	if c.MTU > mtu {
		opts.Log.Warn("the mtu is too large for the protocol of MLVPN over lines of 1500 bytes: a smaller one is used", "mtu", c.MTU, "used", mtu)
	}
	dev, err := tun.Open(tun.Config{Name: c.Interface, MTU: mtu, TAP: c.Device == conf.TAP})
	if err != nil {
		return err
	}
	undo.add(func() { dev.Close() })
	if name, err := dev.Name(); err == nil {
		opts.Log.Info("tunnel device opened", "interface", name, "mtu", mtu)
	}
	if c.StatusCommand == "" {
		n := interfaceConfig(c, mtu)
		// A device that was there before keeps what it is given.
		defer func() {
			err := netif.Deconfigure(n)
			if err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, os.ErrPermission) {
				opts.Log.Warn("the interface keeps its addresses", "err", err)
			}
		}()
		if err := netif.Configure(n); err != nil {
			return err
		}
	}
	network, err := startNetwork(c, opts)
	if err != nil {
		return err
	}
	defer network.stop(opts.Log)
	if err := events.begin(opts.User, &background); err != nil {
		return err
	}
	undo.add(func() { events.end(0) })
	control, err := openControl(c, opts.User)
	if err != nil {
		return err
	}
	undo.add(control.close)
	quotas, err := openQuotas(c, opts.User, opts.Log)
	if err != nil {
		return err
	}
	root, err := becomeUser(c, opts)
	if err != nil {
		return err
	}
	defer root.close()

	shared := mlvpn.Config{
		Device:      dev,
		Ethernet:    c.Device == conf.TAP,
		Key:         keys.private,
		PasswordKey: keys.password,
		Network:     c.Network,
		Local:       localNetworks(c),
		Reorder:     reorder.Config{Window: c.ReorderBuffer},
		Rules:       now.rules,
		Logger:      opts.Log,
	}
	shared.NewScheduler = newScheduler(c.Scheduler)
	manager := sdnotify.FromEnv()
	monitor := newMonitor(c, opts, func(title string) {
		proctitle.Set(strings.TrimSpace("mlvpn: " + strings.TrimSpace(opts.Name+" "+title)))
		manager.Notify(sdnotify.Status(title))
	})
	assigned := &assigner{conf: c, root: root, log: opts.Log}
	shared.OnEvent = func(ev mlvpn.Event) {
		if ev.Kind == mlvpn.Addressed {
			assigned.set(ev.Addresses)
			return
		}
		monitor.handle(ev)
		network.event(ev)
		events.handle(ev)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	var t tunnel
	parts := []part{restartOnly{opts.Log, now}}
	var links links
	if c.Mode == conf.Server {
		server, err := newServer(now, shared)
		if err != nil {
			return err
		}
		undo.forget() // the tunnel owns the device and the sockets now
		if err := listening.begin(server); err != nil {
			return err
		}
		t, links = server, listening
		if s, ok := server.(*mlvpn.Server); ok && (len(now.clients) > 0 || c.PrivateKey != "") {
			parts = append(parts, clientList{s, opts.Log})
		}
	} else {
		client, err := newClient(c, keys, shared, opts.Name)
		if err != nil {
			return err
		}
		undo.forget()
		t, links = client, startClientLinks(ctx, client, c, events, tables, opts.Log)
	}
	defer links.close()
	monitor.tunnel, monitor.quotas, quotas.tunnel, quotas.links = t, quotas, t, links
	control.serve(ctx, monitor.statusServer(opts.Log), &background)
	background.Go(func() { quotas.run(ctx) })
	background.Go(func() { network.measure(ctx, t) })
	background.Go(func() { feedWatchdog(ctx, manager, t, opts.Log) })
	reload := reloader{opts: opts, read: root.read, now: now, parts: append(parts, network, links, filterPart{t}, monitor, quotas)}
	background.Go(func() { reload.run(ctx, opts.Reload) })
	if err := manager.Notify(sdnotify.Ready); err != nil {
		opts.Log.Warn("the service manager does not know that the daemon is ready", "err", err)
	}
	opts.Log.Info("started", "mode", c.Mode, "links", len(c.Links), "config", c.File)
	err = t.Run(ctx)
	stop(err)
	quotas.close()
	events.end(hookGrace)
	if errors.Is(err, context.Canceled) {
		opts.Log.Info("stopped")
		return nil
	}
	return err
}

// checkUser refuses to run as root by accident.
func checkUser(opts Options) error {
	if opts.User != "" {
		_, err := privdrop.Lookup(opts.User)
		return err
	}
	if os.Geteuid() == 0 && !opts.AllowRoot {
		return errors.New("refusing to run as root: name an account to run as with --user, or insist with --yes-run-as-root")
	}
	return nil
}

// interfaceConfig returns how the interface is to be, for a daemon that has no status
// command to set it up.
func interfaceConfig(c *conf.Config, mtu int) netif.Config {
	n := netif.Config{Name: c.Interface, MTU: mtu, Peer4: c.IP4Gateway, Peer6: c.IP6Gateway}
	for _, p := range []netip.Prefix{c.IP4, c.IP6} {
		if p.IsValid() {
			n.Addrs = append(n.Addrs, p)
		}
	}
	if !c.Routing.Manage {
		n.Routes = append(append(n.Routes, c.IP4Routes...), c.IP6Routes...)
	}
	return n
}

// keyring holds the parsed secrets of a configuration.
type keyring struct {
	private   crypto.PrivateKey
	peer      crypto.PublicKey
	preshared crypto.PresharedKey
	password  crypto.PresharedKey
}

func parseKeys(c *conf.Config) (k keyring, err error) {
	fail := func(key string, err error) (keyring, error) {
		return keyring{}, fmt.Errorf("%s: %s in [general]: %w", c.File, key, err)
	}
	if c.Compat != "" {
		return keyring{}, nil
	}
	if c.PrivateKey == "" {
		if k.password, err = crypto.PasswordKey(c.Password, c.Network); err != nil {
			return fail("password", err)
		}
		return k, nil
	}
	if k.private, err = crypto.ParsePrivateKey(c.PrivateKey); err != nil {
		return fail("private_key", err)
	}
	if c.PeerKey != "" {
		if k.peer, err = crypto.ParsePublicKey(c.PeerKey); err != nil {
			return fail("peer_key", err)
		}
	}
	if c.PresharedKey != "" {
		if k.preshared, err = crypto.ParsePresharedKey(c.PresharedKey); err != nil {
			return fail("preshared_key", err)
		}
	}
	return k, nil
}

// tolerance turns per cent into a fraction. 100 % is no limit, which the library
// spells 0; its smallest fraction stands for 0 %.
func tolerance(percent int) float64 {
	switch percent {
	case 100:
		return 0
	case 0:
		return 1e-9
	}
	return float64(percent) / 100
}

// cleanup undoes what was done, last first.
type cleanup []func()

func (c *cleanup) add(f func()) { *c = append(*c, f) }
func (c *cleanup) forget()      { *c = nil }
func (c *cleanup) run() {
	for i := len(*c) - 1; i >= 0; i-- {
		(*c)[i]()
	}
}

// newScheduler returns what makes a session's scheduler, nil for the usual one.
func newScheduler(kind conf.Scheduler) func() scheduler.Scheduler {
	switch kind {
	case conf.Weighted:
		return func() scheduler.Scheduler { return new(scheduler.Weighted) }
	case conf.Sticky:
		return func() scheduler.Scheduler { return new(scheduler.Sticky) }
	case conf.Redundant:
		return func() scheduler.Scheduler { return new(scheduler.Redundant) }
	}
	return nil
}
