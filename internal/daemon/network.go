package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/hook"
	"github.com/multilink-vpn/multilink/internal/netcfg"
	"github.com/multilink-vpn/multilink/internal/netcfg/manage"
	"github.com/multilink-vpn/multilink/internal/netcfg/probe"
	"github.com/multilink-vpn/multilink/internal/privdrop"
	"github.com/multilink-vpn/multilink/internal/sdnotify"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// NetworkCommand is the argument that makes the program manage the host's network for a
// daemon, with the path of the configuration: it calls ServeNetwork.
const NetworkCommand = "manage-network"

// network is the host's network, which another process manages: it stays root when the
// daemon does not, and it is what is left to undo things when the daemon is not.
type network struct {
	remote   *manage.Remote // nil: nothing is managed, nor was when this started
	sessions int            // that are up; only accessed by event
}

// startNetwork has the host's network set up as the configuration says, or what a crash
// has left undone. The returned network is never nil.
func startNetwork(c *conf.Config, opts Options) (*network, error) {
	path := manage.JournalPath(c.Interface)
	if _, err := os.Stat(path); !c.Routing.Manage && err != nil {
		return &network{}, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("manage_network: %w", err)
	}
	cmd := exec.Command(self, NetworkCommand, opts.Config)
	if opts.Log.Enabled(context.Background(), slog.LevelDebug) {
		cmd.Args = append(cmd.Args, "--debug")
	}
	cmd.Env, cmd.Stderr = []string{}, os.Stderr
	hook.Detach(cmd)
	uid := uint32(os.Geteuid())
	if opts.User != "" {
		u, err := privdrop.Lookup(opts.User)
		if err != nil {
			return nil, err
		}
		uid = uint32(u.UID)
	}
	remote, err := manage.Start(cmd, uid, opts.Log)
	if err != nil {
		return nil, err
	}
	n := &network{remote: remote}
	err = remote.Prepare()
	if err == nil {
		err = remote.Commit()
	}
	if err != nil {
		n.stop(opts.Log)
		return nil, fmt.Errorf("manage_network: %w", err)
	}
	return n, nil
}

// event tells of the tunnel's state. It is called by one goroutine.
func (n *network) event(ev mlvpn.Event) {
	if n.remote == nil {
		return
	}
	switch ev.Kind {
	case mlvpn.SessionUp:
		if n.sessions++; n.sessions == 1 {
			n.remote.Tunnel(true)
		}
	case mlvpn.SessionDown:
		if n.sessions--; n.sessions == 0 {
			n.remote.Tunnel(false)
		}
	}
}

// stop has everything undone.
func (n *network) stop(log *slog.Logger) {
	if n.remote == nil {
		return
	}
	if err := n.remote.Stop(); err != nil {
		log.Error("the host's network is not as it was: `mlvpn network undo` tries again", "err", err)
	}
}

// prepare implements part: the other process reads the same file again.
func (n *network) prepare(old, new *settings) (commit func() string, abort func(), err error) {
	if n.remote == nil {
		if !new.conf.Routing.Manage {
			return nil, nil, nil
		}
		return nil, nil, fmt.Errorf("%s: manage_network cannot be switched on while the daemon runs: restart it", new.conf.File)
	}
	if err := n.remote.Prepare(); err != nil {
		return nil, nil, err
	}
	return func() string {
		if err := n.remote.Commit(); err != nil {
			return "the host's network is not as planned: " + err.Error()
		}
		return ""
	}, n.remote.Abort, nil
}

// ServeNetwork is the other process: it manages the host's network as the configuration
// file says, at the request of the daemon at the other end of in and out.
func ServeNetwork(path string, in io.Reader, out io.Writer, log *slog.Logger) error {
	return manage.Serve(in, out, func(uid uint32) (*manage.Settings, error) {
		c, err := parseFile(path)
		if err != nil {
			return nil, err
		}
		return networkSettings(c, uid)
	}, log)
}

// networkSettings returns what a configuration says of the host's network.
func networkSettings(c *conf.Config, uid uint32) (*manage.Settings, error) {
	s := &manage.Settings{Instance: c.Interface}
	if !c.Routing.Manage {
		return s, nil
	}
	r := &c.Routing
	n := &netcfg.Config{
		Instance:   c.Interface,
		Server:     c.Mode == conf.Server,
		Balance:    r.Balance,
		Direct:     slices.Concat(r.IP4Direct, r.IP6Direct),
		Reply:      r.Reply,
		ClampMSS:   r.ClampMSS,
		UID:        uid,
		NameTables: r.NameTables,
		NATAuto:    r.NAT == "auto",
	}
	if r.NAT != "auto" && r.NAT != "none" {
		n.NAT = r.NAT
	}
	n.Forward4, n.Forward6 = c.Forwards()
	if c.Mode != conf.Balance {
		n.Tunnel = &netcfg.Tunnel{
			Device: c.Interface, Peer4: c.IP4Gateway, Peer6: c.IP6Gateway,
			Routes: slices.Concat(c.IP4Routes, c.IP6Routes), Block: !r.Direct,
		}
		if c.Device == conf.TUN {
			// A tun interface has one other end, which needs no address.
			n.Tunnel.Peer4, n.Tunnel.Peer6 = netip.Addr{}, netip.Addr{}
		}
	}
	var errs []error
	for i := range c.Links {
		l := &c.Links[i]
		line, err := lineConfig(c, l)
		errs = append(errs, err)
		if line != nil {
			n.Lines = append(n.Lines, *line)
		}
		if c.Mode == conf.Client && l.BindFIB == 0 {
			s.Servers = append(s.Servers, l.RemoteHost)
		}
	}
	slices.Sort(s.Servers)
	s.Servers = slices.Compact(s.Servers)
	for _, text := range r.ProbeTargets {
		t, err := probe.ParseTarget(text)
		errs = append(errs, err)
		s.Probe.Targets = append(s.Probe.Targets, t)
	}
	s.Probe.Interval, s.Probe.Timeout = r.ProbeInterval, r.ProbeTimeout
	s.Network = n
	return s, errors.Join(errs...)
}

// lineConfig returns the line of a link, or nil if that is none of ours: one with
// bindfib has a table that somebody else fills, and a server's port that is bound to
// nothing is not a line.
func lineConfig(c *conf.Config, l *conf.Link) (*netcfg.LineConfig, error) {
	if l.BindFIB != 0 || c.Mode == conf.Server && l.BindHost == "" && l.BindDev == "" {
		return nil, nil
	}
	line := &netcfg.LineConfig{Name: l.Name, Device: l.BindDev, Gateway4: l.Gateway4, Gateway6: l.Gateway6, Weight: l.Weight, Rate: l.BandwidthDownload}
	if l.BindHost != "" {
		a, err := netip.ParseAddr(l.BindHost)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: manage_network needs an address as bindhost of [%s], not the name %s", c.File, l.Line, l.Name, strconv.Quote(l.BindHost))
		}
		if !a.IsUnspecified() {
			line.Addr = a.Unmap().WithZone("")
		}
	}
	return line, nil
}

// measureEvery is how often the links' rates are looked at, in which time a peak loses
// peakDecay of itself.
const (
	measureEvery = 10 * time.Second
	peakDecay    = 0.01
)

// measure tells the other process what the links have been seen to carry, until ctx is
// done: the weights of lines whose rate is not configured.
func (n *network) measure(ctx context.Context, t measured) {
	if n.remote == nil {
		return
	}
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	peaks, told := make(map[string]float64), make(map[string]uint64)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, s := range t.Stats().Sessions {
			for _, l := range s.Links {
				peaks[l.Name] = max(peaks[l.Name]*(1-peakDecay), l.ReceiveRate)
			}
		}
		if rates := tellRates(peaks, told); rates != nil {
			told = rates
			n.remote.Rates(rates)
		}
	}
}

// tellRates returns the peaks if one of them differs by a quarter from what was told.
func tellRates(peaks map[string]float64, told map[string]uint64) map[string]uint64 {
	rates, news := make(map[string]uint64), false
	for name, peak := range peaks {
		rates[name] = uint64(peak)
		was := float64(told[name])
		news = news || math.Abs(peak-was) > max(was, peak)/4
	}
	if !news {
		return nil
	}
	return rates
}

// balancer is the network of the mode without a tunnel, for a watchdog: it has no figures,
// but answers while the other process does.
type balancer struct{ *network }

func (b balancer) Stats() mlvpn.Stats {
	if err := b.remote.Alive(); err != nil {
		<-b.remote.Ended() // which ends the daemon
	}
	return mlvpn.Stats{}
}

func (b balancer) Traffic() []mlvpn.PortTraffic { return nil }

// runBalance does all there is to do in the mode without a tunnel.
func runBalance(ctx context.Context, now *settings, opts Options) error {
	c := now.conf
	n, err := startNetwork(c, opts)
	if err != nil {
		return err
	}
	defer n.stop(opts.Log)
	root, err := becomeUser(c, opts)
	if err != nil {
		return err
	}
	defer root.close()
	ctx, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer stop() // before waiting
	background.Go(func() {
		select {
		case <-n.remote.Ended():
			stop()
		case <-ctx.Done():
		}
	})
	manager := sdnotify.FromEnv()
	background.Go(func() { feedWatchdog(ctx, manager, balancer{n}, opts.Log) })
	if err := manager.Notify(sdnotify.Ready); err != nil {
		opts.Log.Warn("the service manager does not know that the daemon is ready", "err", err)
	}
	opts.Log.Info("started", "mode", c.Mode, "links", len(c.Links), "config", c.File)
	reload := reloader{opts: opts, read: root.read, now: now, parts: []part{restartOnly{opts.Log, now}, n}}
	reload.run(ctx, opts.Reload)
	select {
	case <-n.remote.Ended():
		return errors.New("the process that manages the network has ended: restart the daemon")
	default:
	}
	opts.Log.Info("stopped")
	return nil
}
