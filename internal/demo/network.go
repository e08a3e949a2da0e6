package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/link/linksim"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// A lineSpec describes one simulated internet line.
type lineSpec struct {
	name     string
	down, up float64 // Mbit/s, headers of IP and UDP included
	delay    time.Duration
	jitter   time.Duration
}

// lines are the demo's. Their rates are low so that the processor is not what limits
// the result, even on a small machine that has other work.
var lines = []lineSpec{
	{name: "ADSL", down: 6, up: 1, delay: 15 * time.Millisecond},
	{name: "LTE", down: 9, up: 3, delay: 25 * time.Millisecond, jitter: 3 * time.Millisecond},
	{name: "Starlink", down: 12, up: 3, delay: 20 * time.Millisecond, jitter: 4 * time.Millisecond},
}

const (
	// ipUDP is what IPv4 and UDP add to each datagram, in bytes.
	ipUDP = 28

	// configured is the part of a line's rate that the tunnel is told and paced to. The
	// rest is for the headers of IP and UDP and for probes, so that packets wait in the
	// tunnel and not in the line.
	configured = 0.95

	// timeout is the links'. It sets the pace of the probes, too: the tunnel avoids a
	// dead line after about half of it. Mobile lines would want more.
	timeout = 800 * time.Millisecond

	mtu = 1400
)

// bytesPerSecond converts a rate in Mbit/s.
func bytesPerSecond(mbit float64) uint64 { return uint64(mbit * 1e6 / 8) }

func (l lineSpec) profile(mbit float64) linksim.Profile {
	return linksim.Profile{
		Rate:     bytesPerSecond(mbit),
		Delay:    l.delay,
		Jitter:   l.jitter,
		Overhead: ipUDP,
	}
}

func (l lineSpec) config(mbit float64) mlvpn.LinkConfig {
	return mlvpn.LinkConfig{
		Name:      l.name,
		Bandwidth: bytesPerSecond(mbit * configured),
		Pace:      true,
		Timeout:   timeout,
	}
}

// sum returns the download rate of all lines, in Mbit/s.
func sum(specs []lineSpec) (mbit float64) {
	for _, l := range specs {
		mbit += l.down
	}
	return mbit
}

// fastest returns the position of the line with the highest download rate.
func fastest(specs []lineSpec) (best int) {
	for i, l := range specs {
		if l.down > specs[best].down {
			best = i
		}
	}
	return best
}

// inner addresses
var (
	serverHost = netip.MustParseAddr("10.0.0.1")
	clientHost = netip.MustParseAddr("10.0.0.2")
)

// A tunnel is a client and a server joined by simulated lines, each with a user-space
// network stack.
type tunnel struct {
	lines        []*linksim.Link
	server       *mlvpn.Server
	client       *mlvpn.Client
	serverStack  *stack
	clientStack  *stack
	serverEvents chan mlvpn.Event // what the sender of the download reports

	stop   context.CancelFunc
	ended  sync.WaitGroup
	failed chan error // has what ended Run early
}

// openTunnel starts a tunnel over the given lines. close ends it.
func openTunnel(specs []lineSpec, seed uint64) (_ *tunnel, err error) {
	t := &tunnel{
		serverEvents: make(chan mlvpn.Event, 64),
		failed:       make(chan error, 2),
	}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.serverStack, err = newStack(serverHost); err != nil {
		return nil, err
	}
	if t.clientStack, err = newStack(clientHost); err != nil {
		return nil, err
	}
	serverKey, clientKey := crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey()
	t.server, err = mlvpn.NewServer(mlvpn.ServerConfig{
		Config:  mlvpn.Config{Device: t.serverStack, Key: serverKey, OnEvent: t.onEvent},
		Clients: []mlvpn.Peer{{Name: "client", Key: clientKey.Public(), Prefixes: []netip.Prefix{host(clientHost)}}},
	})
	if err != nil {
		return nil, err
	}
	t.client, err = mlvpn.NewClient(mlvpn.ClientConfig{
		Config: mlvpn.Config{Device: t.clientStack, Key: clientKey},
		Server: serverKey.Public(),
	})
	if err != nil {
		return nil, err
	}
	network := linksim.NewNetwork(seed)
	for i, l := range specs {
		if err := t.addLine(network, i, l); err != nil {
			return nil, err
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	t.run(ctx, "server", t.server.Run)
	t.run(ctx, "client", t.client.Run)
	return t, nil
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// addLine joins client and server by a line, each line by a socket of its own.
func (t *tunnel) addLine(network *linksim.Network, i int, l lineSpec) error {
	remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}), 5080)
	local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}), 5080)
	socket, err := network.Listen(remote)
	if err != nil {
		return err
	}
	if err := t.server.AddSocket(socket, l.config(l.down)); err != nil {
		return err
	}
	line, err := network.Dial(local, remote, l.profile(l.up), l.profile(l.down))
	if err != nil {
		return err
	}
	if _, err := t.client.AddLink(line, l.config(l.up)); err != nil {
		return err
	}
	t.lines = append(t.lines, line)
	return nil
}

func (t *tunnel) run(ctx context.Context, who string, run func(context.Context) error) {
	t.ended.Go(func() {
		if err := run(ctx); !errors.Is(err, context.Canceled) {
			t.failed <- fmt.Errorf("the tunnel's %s stopped: %w", who, err)
		}
	})
}

// onEvent is called by the server's notifier, which must not be kept waiting.
func (t *tunnel) onEvent(ev mlvpn.Event) {
	select {
	case t.serverEvents <- ev:
	default:
	}
}

// connectFor bounds how long a tunnel may take until all of its lines work.
const connectFor = 10 * time.Second

// connect waits until both ends use all lines.
func (t *tunnel) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, connectFor,
		fmt.Errorf("the tunnel did not connect over all lines within %v: the machine may be overloaded", connectFor))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !t.up(t.client.Stats()) || !t.up(t.server.Stats()) {
		select {
		case <-tick.C:
		case err := <-t.failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (t *tunnel) up(st mlvpn.Stats) bool {
	if len(st.Sessions) != 1 || len(st.Sessions[0].Links) != len(t.lines) {
		return false
	}
	for _, l := range st.Sessions[0].Links {
		if l.State != mlvpn.LinkIsUp {
			return false
		}
	}
	return true
}

// close ends client, server and stacks, and waits for their goroutines. Connections
// must have ended before: see stack.close.
func (t *tunnel) close() {
	if t.stop != nil {
		t.stop()
	}
	t.ended.Wait()
	for _, s := range []*stack{t.clientStack, t.serverStack} {
		if s != nil {
			s.close()
		}
	}
}
