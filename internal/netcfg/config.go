package netcfg

import "net/netip"

// A Config says what the host's routing is for. Its slices are not modified.
type Config struct {
	// Instance is the name of the tunnel's interface, and names what is ours on the host:
	// the nftables table and the journal. Required.
	Instance string

	// Server is set at the tunnel's server: its lines are no way out for its clients.
	Server bool

	// Lines are the internet lines.
	Lines []LineConfig

	// Tunnel describes the tunnel. nil: there is none.
	Tunnel *Tunnel

	// Balance spreads what does not go into the tunnel over the lines.
	Balance bool

	// Direct are destinations that do not go into the tunnel.
	Direct []netip.Prefix

	// Reply has answers leave by the line that the request came in on.
	Reply bool

	// Forward4 and Forward6 make the host a router.
	Forward4, Forward6 bool

	// NAT is the interface on which forwarded packets get the host's address. Empty:
	// none. NATAuto chooses the tunnel, or on a server the interface of its default route.
	NAT     string
	NATAuto bool

	// ClampMSS reduces the segment size of TCP connections through the tunnel to what it
	// can carry.
	ClampMSS bool

	// UID is the user that the daemon runs as: its name lookups may always go by the
	// lines.
	UID uint32

	// NameTables gives the routing tables names that ip-route(8) shows.
	NameTables bool
}

// A LineConfig is one internet line. It is known by its interface, its address, or both;
// one with neither is the host's default route.
type LineConfig struct {
	Name   string // unique
	Device string
	Addr   netip.Addr

	// Gateway4 and Gateway6 are the next hops. The zero Addr: whatever the host's routes
	// say.
	Gateway4, Gateway6 netip.Addr

	// Weight is the line's share in balancing against the others'. 0: by Rate.
	Weight int

	// Rate is the line's rate in bytes per second, 0 if it is not known.
	Rate uint64
}

// Tunnel describes the tunnel's interface.
type Tunnel struct {
	Device string

	// Peer4 and Peer6 are the next hops in the tunnel, if the interface needs one.
	Peer4, Peer6 netip.Addr

	// Routes are what is reached through the tunnel.
	Routes []netip.Prefix

	// Block refuses what belongs into the tunnel while that is down, and IPv6 or IPv4
	// when the default route of only the other leads into it.
	Block bool
}

// State is what changes while the host is managed. The zero State is that of a start.
type State struct {
	// TunnelUp is set while the tunnel has a peer. A server's always counts as up.
	TunnelUp bool

	// Servers are the addresses of the tunnel's server.
	Servers []netip.Addr

	// Dead are the lines, by LineKey, that lead nowhere. If all are dead, none is: then
	// the probes' targets are more likely at fault.
	Dead map[LineKey]bool

	// Rates are the measured rates of lines by name, in bytes per second. They stand in
	// for those that are not configured.
	Rates map[string]uint64
}

// A LineKey names a line in one address family.
type LineKey struct {
	Name   string
	Family Family
}
