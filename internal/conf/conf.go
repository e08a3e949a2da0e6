// Package conf reads mlvpn.conf, the configuration file of MLVPN and of this
// module's daemon.
//
// The format is MLVPN's: [section] lines, key = "value" lines, # comments. A file has
// one [general] section, one section per link, and at most one [filters] section, in
// any order. [Reference] lists every key; the parser works from that list.
//
// All problems of a file are reported together, each with its line and with what to
// write instead. A file with an error yields no Config at all. Passwords and keys
// never appear in a message.
package conf

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"
)

// A Mode says which end of the tunnel a configuration is for.
type Mode string

const (
	Client Mode = "client" // dials the links' remote hosts
	Server Mode = "server" // listens on the links' ports
)

// A DeviceType is the kind of virtual interface the tunnel ends in.
type DeviceType string

const (
	TUN DeviceType = "tun" // carries IP packets
	TAP DeviceType = "tap" // carries Ethernet frames
)

// A Scheduler is a way to share packets among links.
type Scheduler string

const (
	Adaptive Scheduler = "adaptive"
	Weighted Scheduler = "weighted"

	// Sticky keeps each flow on one link, Redundant sends every packet on all.
	Sticky    Scheduler = "sticky"
	Redundant Scheduler = "redundant"
)

// A Transport is a way to carry a link's packets.
type Transport string

const (
	UDP       Transport = "udp"
	TCP       Transport = "tcp"
	TLS       Transport = "tls"
	WebSocket Transport = "websocket"
)

// A Config is a valid configuration. Nothing in it refers to the file any more.
type Config struct {
	// File is the name given to Load or Parse.
	File string

	// Mode is the end of the tunnel that this is.
	Mode Mode

	// StatusCommand is the absolute path of the script to run when the tunnel or a
	// link goes up or down. Empty: none.
	StatusCommand string

	// Timeout is the silence after which a link is considered dead, at least 2 s.
	// It is the default of Link.Timeout.
	Timeout time.Duration

	// Interface is the name of the virtual interface, "mlvpn0" by default.
	Interface string

	// Device is the type of the virtual interface, TUN by default.
	Device DeviceType

	// Password is the secret shared by both ends, at least 16 characters. It is
	// empty in key mode.
	Password string

	// Compat is CompatMLVPN1 if the other end is the C MLVPN, else empty. Then Password
	// may be short, and ClearData says that data is not encrypted.
	Compat    string
	ClearData bool

	// PrivateKey, when not empty, selects key mode. PeerKey is the other end's
	// public key, PresharedKey an optional further secret. All three are passed
	// through as written.
	PrivateKey   string
	PeerKey      string
	PresharedKey string

	// PublicHost is the address or name by which clients reach a server, or empty.
	PublicHost string

	// ClientsDir is the directory with the files of a server's clients. Empty: that of
	// ClientsPath.
	ClientsDir string

	// Network is the name of the network that this tunnel belongs to, or empty.
	Network string

	// ControlUnixPath, ControlBindHost and ControlBindPort say where the daemon can be
	// asked for its state. Without a path, or without a port: nowhere. The host is then
	// never empty.
	ControlUnixPath string
	ControlBindHost string
	ControlBindPort uint16

	// StateDir is the directory for what must survive a restart, or empty for the
	// default.
	StateDir string

	// Scheduler is Adaptive by default.
	Scheduler Scheduler

	// ReorderBuffer is the size of the reorder buffer in packets. 0: automatic.
	ReorderBuffer int

	// LossTolerance is the loss, in per cent, above which a link is left out while
	// another is better. 100, the default, switches this off. It is the default of
	// Link.LossTolerance.
	LossTolerance int

	// LatencyTolerance is the delay above which a link is left out while another is
	// better. 0, the default, switches this off. It is the default of
	// Link.LatencyTolerance.
	LatencyTolerance time.Duration

	// IP4 and IP6 are this end's addresses inside the tunnel with the length of
	// their network's prefix. Host bits are kept. The zero Prefix: none.
	IP4, IP6 netip.Prefix

	// IP4Gateway and IP6Gateway are the other end's addresses inside the tunnel. The
	// zero Addr: none.
	IP4Gateway, IP6Gateway netip.Addr

	// IP4Routes and IP6Routes are the networks to reach through the tunnel, masked.
	IP4Routes, IP6Routes []netip.Prefix

	// IP4Local and IP6Local are the networks at this end, IP4Remote and IP6Remote those at
	// a client's server: packets from and for others do not pass. Empty: any. Masked.
	IP4Local, IP6Local   []netip.Prefix
	IP4Remote, IP6Remote []netip.Prefix

	// MTU is the largest packet, in bytes, inside the tunnel. 0: automatic.
	MTU int

	// Routing is what the daemon does to the host's network.
	Routing Routing

	// Links are the links in the order of the file. There is at least one.
	Links []Link

	// Filters are the lines of [filters] in the order of the file.
	Filters []Filter
}

// ClientsPath returns the directory with the files of a server's clients: "clients.d"
// beside the configuration file, unless ClientsDir is set.
func (c *Config) ClientsPath() string {
	if c.ClientsDir != "" {
		return c.ClientsDir
	}
	return filepath.Join(filepath.Dir(c.File), "clients.d")
}

// String returns a summary without secrets. With GoString and LogValue it keeps them
// out of logs, however a Config gets there.
func (c Config) String() string {
	return fmt.Sprintf("%s (%s, %d links)", c.File, c.Mode, len(c.Links))
}

// GoString is String.
func (c Config) GoString() string { return c.String() }

// LogValue is String for package slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// A Link is one section of the file other than [general] and [filters].
type Link struct {
	Name string // the section's name, unique in the file
	Line int    // the line of the section's header

	// BindHost is the local address or host name to send from and listen on.
	// Empty: any.
	BindHost string

	// BindPort is the local UDP port. 0: any, on a client only.
	BindPort uint16

	// BindFIB is the routing table to use. 0: the default table.
	BindFIB int

	// BindDev is the network interface to bind to. Empty: none.
	BindDev string

	// RemoteHost and RemotePort are the other end's address or host name and UDP
	// port. A client link has both.
	RemoteHost string
	RemotePort uint16

	// BandwidthUpload and BandwidthDownload are the line's rates in bytes per
	// second. 0: unknown.
	BandwidthUpload   uint64
	BandwidthDownload uint64

	// Gateway4 and Gateway6 are the line's gateways. The zero Addr: unknown.
	Gateway4, Gateway6 netip.Addr

	// Weight is the line's share in balancing. 0: by its rate.
	Weight int

	// Transport is what carries the link's packets, UDP by default.
	Transport Transport

	// TLSCertificate and TLSKey are the paths of the PEM files that a server's link
	// over TLS uses. Both or none are set.
	TLSCertificate, TLSKey string

	// TLSName is the name that a client asks a server over TLS for. Empty: RemoteHost.
	TLSName string

	// WebSocketPath is the path in the URL of a link over WebSocket, "/" by default,
	// and WebSocketPlain has it go without TLS.
	WebSocketPath  string
	WebSocketPlain bool

	// Cost orders links, lowest first, 0 to 62: one is idle while a cheaper one works.
	// Overflow lets it take what the cheaper ones have no room for.
	Cost     int
	Overflow bool

	// QuotaDay and QuotaMonth are the bytes that the link may carry a day and a month.
	// 0: no limit. QuotaResetDay, 1 to 31, is when a month begins.
	QuotaDay, QuotaMonth uint64
	QuotaResetDay        int

	// FallbackOnly keeps the link idle until no other link is usable.
	FallbackOnly bool

	// Timeout, LossTolerance and LatencyTolerance are as in Config, which gives
	// their defaults.
	Timeout          time.Duration
	LossTolerance    int
	LatencyTolerance time.Duration
}

// CompatMLVPN1 is the protocol, version 1, of the C MLVPN.
const CompatMLVPN1 = "mlvpn1"

// A Filter says what becomes of the packets that match an expression.
type Filter struct {
	Expression string // in pcap-filter(7) syntax, not compiled or checked
	Link       string // the name of a link in Config.Links to send them over, or empty
	Action     FilterAction
	Line       int
}

// A FilterAction is what a filter does other than to choose a link.
type FilterAction string

const (
	LowestLatency FilterAction = "@lowest_latency" // send by the quickest link, before others
	Duplicate     FilterAction = "@duplicate"      // send by two links
	Unordered     FilterAction = "@unordered"      // deliver as they arrive
	Drop          FilterAction = "@drop"           // discard
)

// filterActions returns all of them.
func filterActions() []string {
	return []string{string(LowestLatency), string(Duplicate), string(Unordered), string(Drop)}
}
