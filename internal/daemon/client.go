package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// newClient makes a client whose links are opened, and opened again when they are
// dead, in the background.
func newClient(ctx context.Context, c *conf.Config, keys keyring, shared mlvpn.Config, opts Options, ev *events, background *sync.WaitGroup) (*mlvpn.Client, error) {
	cfg := mlvpn.ClientConfig{
		Config:    shared,
		Server:    keys.peer,
		Preshared: keys.preshared,
		Name:      clientName(opts.Name),
	}
	for _, p := range []netip.Prefix{c.IP4, c.IP6} {
		if p.IsValid() {
			cfg.Prefixes = append(cfg.Prefixes, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
		}
	}
	client, err := mlvpn.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	for i := range c.Links {
		k := &keeper{client: client, link: &c.Links[i], log: opts.Log, down: ev.watch(c.Links[i].Name)}
		background.Go(func() { k.run(ctx) })
	}
	return client, nil
}

// clientName returns what the server's operator sees.
func clientName(name string) string {
	if name == "" {
		name, _ = os.Hostname()
	}
	return name[:min(len(name), 64)]
}

// A keeper keeps one link of a client open: it looks the server's name up and opens
// the socket, as often as it takes, and does so anew when the link is dead, because
// the host's address or the server's may have changed, or a NAT may have forgotten the
// old socket.
type keeper struct {
	client *mlvpn.Client
	link   *conf.Link
	log    *slog.Logger
	down   <-chan bool // told when the link goes down (true) or up

	id mlvpn.LinkID // 0 while the client has no such link
}

const (
	// A link that cannot be opened is tried again at these intervals.
	firstReopen = 500 * time.Millisecond
	maxReopen   = 10 * time.Second
	// A link that is down gets a new socket after this time, and again at each
	// interval while it stays down.
	reopenDown = 5 * time.Second
)

func (k *keeper) run(ctx context.Context) {
	pause := firstReopen
	for {
		err := k.open(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			k.log.Warn("cannot open a link, trying again", "link", k.link.Name, "err", err, "after", pause)
			if !sleep(ctx, pause) {
				return
			}
			pause = min(2*pause, maxReopen)
			continue
		}
		pause = firstReopen
		if !k.waitDead(ctx) {
			return
		}
		k.log.Debug("opening a dead link anew", "link", k.link.Name)
	}
}

// waitDead returns when the link has not worked for reopenDown, and false when ctx is
// done. A link counts as down until it says otherwise.
func (k *keeper) waitDead(ctx context.Context) bool {
	dead := time.After(reopenDown)
	for {
		select {
		case down := <-k.down:
			dead = nil
			if down {
				dead = time.After(reopenDown)
			}
		case <-dead:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// open opens the link's socket and hands it to the client.
func (k *keeper) open(ctx context.Context) error {
	l, err := dial(ctx, k.link)
	if err != nil {
		return err
	}
	if k.id != 0 {
		return k.client.ReplaceLink(k.id, l)
	}
	k.id, err = k.client.AddLink(l, linkConfig(k.link))
	return err
}

// dial opens the socket of a client's link.
func dial(ctx context.Context, l *conf.Link) (*link.UDP, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	local, err := resolve(ctx, l.BindHost)
	if err != nil {
		return nil, fmt.Errorf("bindhost: %w", err)
	}
	remote, err := resolveRemote(ctx, l.RemoteHost, local)
	if err != nil {
		return nil, fmt.Errorf("remotehost: %w", err)
	}
	cfg := link.UDPConfig{Remote: netip.AddrPortFrom(remote, l.RemotePort), Interface: l.BindDev}
	if local.IsValid() || l.BindPort != 0 {
		cfg.Local = netip.AddrPortFrom(local, l.BindPort)
	}
	return link.DialUDP(cfg)
}

// resolveRemote looks a host up, in the address family of the local address if there
// is one.
func resolveRemote(ctx context.Context, host string, local netip.Addr) (netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap(), nil
	}
	family := "ip"
	switch {
	case local.Is4():
		family = "ip4"
	case local.Is6():
		family = "ip6"
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, family, host)
	if err != nil {
		return netip.Addr{}, err
	}
	return addrs[0].Unmap(), nil
}

// sleep waits for d, and returns false when ctx is done.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
