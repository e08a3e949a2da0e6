package mlvpn

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/reorder"
	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/tun"
)

// Overhead is the number of bytes that the tunnel adds to a packet, beyond the
// transport's own headers. A device whose MTU is a link's MTU less Overhead fits that
// link.
const Overhead = 32

// Config is what a Client and a Server have in common. It must not be modified once
// it has been passed on; the package does not modify it.
type Config struct {
	// Device carries the inner packets. Client and Server take it over: Run closes it
	// before it returns. Required.
	Device tun.Device

	// Ethernet says that Device is a TAP device, which carries Ethernet frames. A server is
	// then a learning bridge whose ports are the device and the clients, also from client to
	// client.
	Ethernet bool

	// Key is this end's private key. Required unless PasswordKey is set.
	Key crypto.PrivateKey

	// PasswordKey, if not zero, authenticates both ends by a shared password instead
	// of keys: see crypto.PasswordKey. Everyone who holds it can pose as the server.
	PasswordKey crypto.PresharedKey

	// Network is an optional name that both ends must share. A handshake for another
	// network fails.
	Network string

	// Local are the inner addresses at this end: packets from other addresses are not
	// sent, and packets to others not delivered, except to multicast groups. Empty means
	// any. It does not apply to Ethernet.
	Local []netip.Prefix

	// NewScheduler makes the scheduler of a session. nil means the zero
	// scheduler.Adaptive.
	NewScheduler func() scheduler.Scheduler

	// Rules say how certain packets are sent, in order of precedence: by one link only,
	// for example. Client.SetRules and Server.SetRules replace them.
	Rules []Rule

	// Reorder sets the limits of each session's reorder buffer.
	Reorder reorder.Config

	// RekeyAfter is how old a client lets the keys of a session get, within a tenth. 0 means
	// 2 minutes, and more means that as well; less than a second means a second.
	RekeyAfter time.Duration

	// Logger receives what an operator should know; nil discards it. Secrets are
	// never logged. Its handler must not call methods of the Client or Server.
	Logger *slog.Logger

	// OnEvent, if not nil, is told of links and sessions that come and go. It is
	// called by one goroutine, in order, and may call any method; while it runs,
	// later events wait.
	OnEvent func(Event)
}

// ClientConfig configures a Client.
type ClientConfig struct {
	Config

	// Server is the server's public key. Required unless PasswordKey is set.
	Server crypto.PublicKey

	// Preshared is an optional extra secret shared with the server.
	Preshared crypto.PresharedKey

	// Name tells the server's operator who this is. At most 64 bytes.
	Name string

	// Prefixes are the inner addresses of this client: its own, and the networks
	// behind it. A server that authenticates by password sends packets for them here;
	// a server that knows its clients by key has its own list.
	Prefixes []netip.Prefix

	// Allowed are the inner addresses at the server's end: packets from others are not
	// delivered, and packets to others not sent, except to multicast groups. Empty means
	// any.
	Allowed []netip.Prefix
}

// ServerConfig configures a Server.
type ServerConfig struct {
	Config

	// Clients are the clients known from the start. A server that authenticates by
	// password has none and serves whoever knows it.
	Clients []Peer

	// Handshakes bounds the handshakes that are worked on, whoever asks for them.
	Handshakes HandshakeLimit

	// Pools are the tunnel's networks, each as this end's own address with the length of
	// the prefix, such as 10.9.0.1/24: a client that announces no address, and has none in
	// its Peer, gets one of each. It is the same each time, as long as nobody else has
	// taken it meanwhile. At most 4.
	Pools []netip.Prefix

	// MaxClients bounds the clients that a server by password serves at once. 0 means
	// 1024.
	MaxClients int
}

// A Peer is a client that a server lets in.
type Peer struct {
	// Name is for logs, events and statistics. Required, unique.
	Name string

	// Key is the client's public key. Required, unique.
	Key crypto.PublicKey

	// Preshared is an optional extra secret shared with the client.
	Preshared crypto.PresharedKey

	// Prefixes are the inner addresses that the client may use, its own and the networks
	// behind it: packets from other addresses are dropped, and packets for these are sent
	// to it and nobody else. No other client can have one of these prefixes; where that
	// of one client lies within that of another, the longer one counts. Empty, without
	// Addresses and without ServerConfig.Pools, means any address that is no other
	// client's. Of Ethernet frames only those that carry IP are checked.
	Prefixes []netip.Prefix

	// Addresses are the inner addresses that the client is given if it asks for none, each
	// with the length of the tunnel's network, such as 10.9.0.2/24. It may use them as if
	// they were among Prefixes. At most 4.
	Addresses []netip.Prefix
}

// LinkConfig configures one link, or all the links that arrive at one socket or
// listener.
type LinkConfig struct {
	// Name is for logs, events and statistics. Required; unique within a client.
	Name string

	// Bandwidth is the link's capacity in the direction that this end sends, in bytes
	// per second: a first guess, which measurements replace, and what
	// scheduler.Weighted shares bytes by. 0 is unknown.
	Bandwidth uint64

	// Pace, if set, limits what this end sends on the link to Bandwidth, so that
	// packets wait in the tunnel's queue and not in a modem's.
	Pace bool

	// PeerBandwidth is the capacity in the other direction, in bytes per second. A
	// client tells it to the server, which uses it where its own configuration has no
	// Bandwidth. 0 is unknown.
	PeerBandwidth uint64

	// Fallback keeps data off the link as long as a link without Fallback works.
	Fallback bool

	// Cost orders links: data is kept off one as long as one of a lower cost works. At
	// most MaxCost. Any cost is less than Fallback. Of what both ends say of a link, the
	// dearer counts.
	Cost uint8

	// Overflow lets the link carry what links that are preferred to it have no room for,
	// if either end says so.
	Overflow bool

	// Timeout is how long the link may be silent before it is declared dead. 0 means
	// 3 s; less than 500 ms means 500 ms. While the session sends nothing for 10 s or more
	// it is watched less closely, and may be silent for twice as long.
	Timeout time.Duration

	// LossTolerance is the fraction of packets, 0 to 1, whose loss is tolerated:
	// above it, the link is used only while no other link is better. 0 means any
	// loss.
	LossTolerance float64

	// LatencyTolerance does the same for the round-trip time. 0 means any.
	LatencyTolerance time.Duration
}

func (c *LinkConfig) validate() error {
	switch {
	case c.Name == "":
		return errors.New("mlvpn: link without a name: set LinkConfig.Name")
	case len(c.Name) > maxLinkName:
		return fmt.Errorf("mlvpn: link name %.20q... is longer than %d bytes: shorten it", c.Name, maxLinkName)
	case c.Pace && c.Bandwidth == 0:
		return fmt.Errorf("mlvpn: link %q is to be paced but has no bandwidth: set LinkConfig.Bandwidth", c.Name)
	case c.Cost > MaxCost:
		return fmt.Errorf("mlvpn: link %q: cost %d is more than %d", c.Name, c.Cost, MaxCost)
	case c.LossTolerance < 0 || c.LossTolerance > 1:
		return fmt.Errorf("mlvpn: link %q: loss tolerance %v is not a fraction between 0 and 1", c.Name, c.LossTolerance)
	case c.Timeout < 0 || c.LatencyTolerance < 0:
		return fmt.Errorf("mlvpn: link %q: negative timeout or latency tolerance", c.Name)
	}
	return nil
}

const maxLinkName = 32

// MaxCost is the highest LinkConfig.Cost.
const MaxCost = 62

// The bits of a tier on the wire (SPEC.md, section 4.6).
const (
	tierCost     = 0x3f
	tierOverflow = 0x40
	tierFallback = 0x80
)

// tier returns what a PATH frame says of the link.
func (c *LinkConfig) tier() uint8 {
	t := c.Cost
	if c.Overflow {
		t |= tierOverflow
	}
	if c.Fallback {
		t |= tierFallback
	}
	return t
}

func (c *Config) validate() error {
	switch {
	case c.Device == nil:
		return errors.New("mlvpn: no device: set Config.Device")
	case c.PasswordKey == crypto.PresharedKey{} && c.Key == crypto.PrivateKey{}:
		return errors.New("mlvpn: neither a private key nor a password: set Config.Key or Config.PasswordKey")
	case c.PasswordKey != crypto.PresharedKey{} && c.Key != crypto.PrivateKey{}:
		return errors.New("mlvpn: both a private key and a password: set one of Config.Key and Config.PasswordKey")
	}
	return validateRules(c.Rules)
}

func (c *Config) password() bool { return c.PasswordKey != crypto.PresharedKey{} }

func (c *Config) newScheduler() scheduler.Scheduler {
	if c.NewScheduler != nil {
		return c.NewScheduler()
	}
	return new(scheduler.Adaptive)
}

func (c *Config) rekeyAfter() time.Duration {
	if c.RekeyAfter == 0 {
		return rekeyAfter
	}
	return min(max(c.RekeyAfter, time.Second), rekeyAfter)
}

func (c *Config) logger() *slog.Logger {
	if c.Logger != nil {
		return c.Logger
	}
	return slog.New(slog.DiscardHandler)
}
