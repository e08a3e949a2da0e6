package conf

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A Type is the kind of value that a key takes.
type Type string

const (
	String   Type = "string"   // text
	Number   Type = "number"   // a whole number in decimal
	Flag     Type = "flag"     // 0 or 1
	Port     Type = "port"     // 1 to 65535
	Choice   Type = "choice"   // one of Key.Choices
	Host     Type = "host"     // an IP address or a host name
	Path     Type = "path"     // an absolute path
	Device   Type = "device"   // the name of a network interface
	Address  Type = "address"  // an IP address
	Prefix   Type = "prefix"   // an IP address with a prefix length
	Prefixes Type = "prefixes" // networks separated by blanks
)

// A Section is a kind of section.
type Section string

const (
	General Section = "general" // the section [general]
	Links   Section = "link"    // every section but [general] and [filters]
)

// A Status says what this implementation does with a key.
type Status string

const (
	InUse    Status = ""         // works
	NotYet   Status = "not yet"  // is checked and kept, and has no effect yet
	Historic Status = "historic" // is ignored, as later versions of MLVPN do
)

// A Key describes one key of the file.
type Key struct {
	Name    string
	Alias   string // another accepted spelling, or empty
	Section Section
	Type    Type
	Unit    string   // of a Number, e.g. "bytes/s"
	Choices []string // of a Choice
	Min     uint64   // least value of a Number
	Max     uint64   // greatest value of a Number
	Zero    bool     // 0 is possible, too, whatever Min is
	Family  int      // 4 or 6 for the types of addresses
	Default string   // in words or as written in a file
	Needed  string   // when the key is mandatory, in words; empty: never
	Secret  bool     // the value must not be shown
	Status  Status
	Doc     string // one or more sentences
	Example string // a valid value as written in a file

	// set stores a value of this type, which was checked, in c or, for a key of a
	// link, in l.
	set func(c *Config, l *Link, v value)
	// amend, when not nil, may change the value before it is stored and return a
	// warning.
	amend func(v *value) string
}

// neverAbove is the limit of numbers whose size does not matter.
const neverAbove = 1 << 62

// Reference returns every key that the parser knows, in the order in which a manual
// lists them. The caller owns the slice.
func Reference() []Key {
	keys := slices.Concat(generalKeys(), routingKeys(), linkKeys(), lineKeys(), historicKeys())
	for i := range keys {
		if keys[i].Type == Number && keys[i].Max == 0 {
			keys[i].Max = neverAbove
		}
	}
	return keys
}

func generalKeys() []Key {
	keys := []Key{
		{Name: "mode", Type: Choice, Choices: []string{"client", "server", "balance"}, Needed: "always", Example: `"client"`,
			Doc: "A client connects to the remote host of each link, a server listens on the port of each link. balance has no tunnel: its links are lines of this host, over which it spreads connections.",
			set: func(c *Config, _ *Link, v value) { c.Mode = Mode(v.text) }},
		{Name: "password", Type: String, Secret: true, Needed: "unless private_key is set", Example: `"26 random letters and digits"`,
			Doc: "The secret shared by both ends, at least 16 characters. Blanks at its ends do not count.",
			set: func(c *Config, _ *Link, v value) { c.Password = v.text }},
		{Name: "compat", Type: Choice, Choices: []string{CompatMLVPN1}, Example: `"mlvpn1"`,
			Doc: "`\"mlvpn1\"` speaks the protocol of the C MLVPN, for as long as the other end is one. That protocol is not secure: it needs `compat_accept_risk = 1` as well, and the log keeps warning. Passwords may be short then. A link needs a port of its own and UDP.",
			set: func(c *Config, _ *Link, v value) { c.Compat = v.text }},
		{Name: "compat_accept_risk", Type: Flag, Default: "0", Example: "1",
			Doc: "1 says that it is known what `compat` means: recorded packets can be played back, and whoever learns the password can read all that was ever sent.",
			set: func(*Config, *Link, value) {}},
		{Name: "private_key", Type: String, Secret: true, Example: `"ml1..."`,
			Doc: "This end's private key, instead of a password.",
			set: func(c *Config, _ *Link, v value) { c.PrivateKey = v.text }},
		{Name: "peer_key", Type: String, Needed: "on a client with private_key", Example: `"ml1..."`,
			Doc: "The other end's public key.",
			set: func(c *Config, _ *Link, v value) { c.PeerKey = v.text }},
		{Name: "preshared_key", Type: String, Secret: true, Example: `"ml1..."`,
			Doc: "A further secret shared by both ends, mixed into the handshake of the keys.",
			set: func(c *Config, _ *Link, v value) { c.PresharedKey = v.text }},
		{Name: "public_host", Type: Host, Example: `"server.example.net"`,
			Doc: "The address or name by which clients reach a server. Only `mlvpn add-client` uses it.",
			set: func(c *Config, _ *Link, v value) { c.PublicHost = v.text }},
		{Name: "clients_dir", Type: Path, Default: "`clients.d` beside this file", Example: `"/etc/mlvpn/clients.d"`,
			Doc: "The directory with a file for each client of a server with private_key, see below.",
			set: func(c *Config, _ *Link, v value) { c.ClientsDir = v.text }},
		{Name: "network", Type: String, Example: `"home"`,
			Doc: "The name of the network that this tunnel belongs to.",
			set: func(c *Config, _ *Link, v value) { c.Network = v.text }},
		{Name: "interface_name", Type: Device, Default: `"mlvpn0"`, Example: `"mlvpn0"`,
			Doc: "The name of the virtual interface, 15 characters at most.",
			set: func(c *Config, _ *Link, v value) { c.Interface = v.text }},
		{Name: "tuntap", Type: Choice, Choices: []string{"tun", "tap"}, Default: `"tun"`, Example: `"tun"`,
			Doc: "tun carries IP packets, tap Ethernet frames. Both ends must agree.",
			set: func(c *Config, _ *Link, v value) { c.Device = DeviceType(v.text) }},
		{Name: "ip4", Type: Prefix, Family: 4, Example: `"10.42.42.2/30"`,
			Doc: "This end's IPv4 address inside the tunnel, with the length of its prefix.",
			set: func(c *Config, _ *Link, v value) { c.IP4 = v.prefix }},
		{Name: "ip6", Type: Prefix, Family: 6, Example: `"fd00:42::2/64"`,
			Doc: "This end's IPv6 address inside the tunnel, with the length of its prefix.",
			set: func(c *Config, _ *Link, v value) { c.IP6 = v.prefix }},
		{Name: "ip4_gateway", Type: Address, Family: 4, Example: `"10.42.42.1"`,
			Doc: "The other end's IPv4 address inside the tunnel, without a prefix length.",
			set: func(c *Config, _ *Link, v value) { c.IP4Gateway = v.addr }},
		{Name: "ip6_gateway", Type: Address, Family: 6, Example: `"fd00:42::1"`,
			Doc: "The other end's IPv6 address inside the tunnel, without a prefix length.",
			set: func(c *Config, _ *Link, v value) { c.IP6Gateway = v.addr }},
		{Name: "ip4_routes", Type: Prefixes, Family: 4, Example: `"192.168.0.0/24 192.168.1.0/24"`,
			Doc: "IPv4 networks to reach through the tunnel, separated by blanks. They go by ip4_gateway if that is set.",
			set: func(c *Config, _ *Link, v value) { c.IP4Routes = v.prefixes }},
		{Name: "ip6_routes", Type: Prefixes, Family: 6, Example: `"2001:db8:1::/48"`,
			Doc: "IPv6 networks to reach through the tunnel, separated by blanks. They go by ip6_gateway if that is set.",
			set: func(c *Config, _ *Link, v value) { c.IP6Routes = v.prefixes }},
		{Name: "ip4_local", Type: Prefixes, Family: 4, Default: "any", Example: `"10.42.42.0/24 192.168.7.0/24"`,
			Doc: "IPv4 networks at this end, the tunnel's own included: packets from elsewhere are not sent, and packets for elsewhere not let out of the tunnel. Once any network is set, here or in ip6_local, no other passes.",
			set: func(c *Config, _ *Link, v value) { c.IP4Local = v.prefixes }},
		{Name: "ip6_local", Type: Prefixes, Family: 6, Default: "any", Example: `"fd00:42::/64"`,
			Doc: "The same for IPv6.",
			set: func(c *Config, _ *Link, v value) { c.IP6Local = v.prefixes }},
		{Name: "ip4_remote", Type: Prefixes, Family: 4, Default: "any", Example: `"10.42.42.0/24"`,
			Doc: "IPv4 networks at the server's end, on a client: packets from elsewhere are not let out of the tunnel, and packets for elsewhere not sent. A server has that in the files of its clients.",
			set: func(c *Config, _ *Link, v value) { c.IP4Remote = v.prefixes }},
		{Name: "ip6_remote", Type: Prefixes, Family: 6, Default: "any", Example: `"fd00:42::/64"`,
			Doc: "The same for IPv6.",
			set: func(c *Config, _ *Link, v value) { c.IP6Remote = v.prefixes }},
		{Name: "mtu", Type: Number, Unit: "bytes", Min: 576, Max: 9000, Zero: true, Default: "0", Example: "1400",
			Doc: "The largest packet inside the tunnel, 576 to 9000. 0 is 1400, which fits any path of 1500 bytes.",
			set: func(c *Config, _ *Link, v value) { c.MTU = int(v.num) }},
		{Name: "statuscommand", Type: Path, Example: `"/etc/mlvpn/mlvpn0_updown.sh"`,
			Doc: "A script to run when the tunnel or a link goes up or down.",
			set: func(c *Config, _ *Link, v value) { c.StatusCommand = v.text }},
		{Name: "timeout", Type: Number, Unit: "s", Max: maxTimeout, Default: "60", Example: "30", amend: amendTimeout,
			Doc: "The silence after which a link is considered dead, at least 2.",
			set: func(c *Config, _ *Link, v value) { c.Timeout = seconds(v) }},
		{Name: "scheduler", Type: Choice, Choices: []string{"adaptive", "weighted", "sticky", "redundant"}, Default: `"adaptive"`, Example: `"weighted"`,
			Doc: "How packets are shared among links. adaptive goes by what it measures of them, and takes bandwidth_upload for a first guess. " +
				"weighted sends in proportion to bandwidth_upload, as MLVPN does, whatever the links carry. " +
				"sticky keeps each connection on one link. redundant sends everything on all links.",
			set: func(c *Config, _ *Link, v value) { c.Scheduler = Scheduler(v.text) }},
		{Name: "reorder_buffer_size", Type: Number, Unit: "packets", Max: 1 << 20, Default: "0", Example: "64",
			Doc: "The size of the buffer that puts packets back in order. 0 chooses it automatically.",
			set: func(c *Config, _ *Link, v value) { c.ReorderBuffer = int(v.num) }},
		{Name: "loss_tolerence", Alias: "loss_tolerance", Type: Number, Unit: "%", Default: "100", Example: "50", amend: amendLoss,
			Doc: "The loss above which a link is left out while another is better. 100 switches this off.",
			set: func(c *Config, _ *Link, v value) { c.LossTolerance = int(v.num) }},
		{Name: "latency_tolerence", Alias: "latency_tolerance", Type: Number, Unit: "ms", Default: "1000", Example: "200", amend: amendLatency,
			Doc: "The delay above which a link is left out while another is better. 1000 or more switches this off.",
			set: func(c *Config, _ *Link, v value) { c.LatencyTolerance = milliseconds(v) }},
		{Name: "cleartext_data", Type: Flag, Default: "0", Example: "0",
			Doc: "With `compat`, 1 leaves data unencrypted and open to forgery, which both ends must do. Otherwise it is ignored: data is always encrypted.",
			set: func(c *Config, _ *Link, v value) { c.ClearData = v.num == 1 }},
		{Name: "control_unix_path", Type: Path, Example: `"/run/mlvpn/mlvpn0.sock"`,
			Doc: "A Unix socket that `mlvpn status` and programs can ask for the daemon's state. Only the daemon's user and root can use it.",
			set: func(c *Config, _ *Link, v value) { c.ControlUnixPath = v.text }},
		{Name: "control_bind_host", Type: Host, Default: "127.0.0.1", Example: `"127.0.0.1"`,
			Doc: "The address that answers HTTP requests for /status and /metrics, without a password: keep it on the loopback.",
			set: func(c *Config, _ *Link, v value) { c.ControlBindHost = v.text }},
		{Name: "control_bind_port", Type: Port, Example: "1040",
			Doc: "The TCP port that answers HTTP requests for /status and /metrics. Without it there is none.",
			set: func(c *Config, _ *Link, v value) { c.ControlBindPort = uint16(v.num) }},
		{Name: "state_dir", Type: Path, Default: "/var/lib/mlvpn", Example: `"/var/lib/mlvpn"`,
			Doc: "The directory that remembers what links with a quota have carried. The daemon's user must be able to write there.",
			set: func(c *Config, _ *Link, v value) { c.StateDir = v.text }},
	}
	for i := range keys {
		keys[i].Section = General
	}
	return keys
}

func linkKeys() []Key {
	keys := []Key{
		{Name: "bindhost", Type: Host, Default: "any", Example: `"192.168.1.2"`,
			Doc: "The local address to send from and to listen on.",
			set: func(_ *Config, l *Link, v value) { l.BindHost = v.text }},
		{Name: "bindport", Type: Port, Needed: "on a server", Example: "5080",
			Doc: "The local UDP port. A client may leave it out.",
			set: func(_ *Config, l *Link, v value) { l.BindPort = uint16(v.num) }},
		{Name: "binddev", Type: Device, Example: `"eth1"`,
			Doc: "The network interface to send and receive by. MLVPN does not know this key.",
			set: func(_ *Config, l *Link, v value) { l.BindDev = v.text }},
		{Name: "bindfib", Type: Number, Max: 65535, Default: "0", Example: "1",
			Doc: "The routing table that the link's packets go by. FreeBSD: fib, OpenBSD: rtable, Linux: table, to which the daemon leads them by a mark and a rule that it removes again. 0 is the ordinary one.",
			set: func(_ *Config, l *Link, v value) { l.BindFIB = int(v.num) }},
		{Name: "remotehost", Type: Host, Needed: "on a client", Example: `"198.51.100.7"`,
			Doc: "The server's address or host name.",
			set: func(_ *Config, l *Link, v value) { l.RemoteHost = v.text }},
		{Name: "remoteport", Type: Port, Needed: "on a client", Example: "5080",
			Doc: "The server's UDP port.",
			set: func(_ *Config, l *Link, v value) { l.RemotePort = uint16(v.num) }},
		{Name: "bandwidth_upload", Type: Number, Unit: "bytes/s", Default: "0", Example: "131072",
			Doc: "The rate at which this end can send on the line: a first guess, or with scheduler = weighted what decides the link's share. 0 is unknown.",
			set: func(_ *Config, l *Link, v value) { l.BandwidthUpload = v.num }},
		{Name: "bandwidth_download", Type: Number, Unit: "bytes/s", Default: "0", Example: "1310720",
			Doc: "The rate at which this end can receive on the line. A client tells it to the server, which goes by it where its own section has no `bandwidth_upload`. 0 is unknown.",
			set: func(_ *Config, l *Link, v value) { l.BandwidthDownload = v.num }},
		{Name: "fallback_only", Type: Flag, Default: "0", Example: "1",
			Doc: "1 keeps the link connected and idle until no other link is usable.",
			set: func(_ *Config, l *Link, v value) { l.FallbackOnly = v.num == 1 }},
		{Name: "timeout", Type: Number, Unit: "s", Max: maxTimeout, Default: "that of [general]", Example: "25", amend: amendTimeout,
			Doc: "The silence after which this link is considered dead, at least 2.",
			set: func(_ *Config, l *Link, v value) { l.Timeout = seconds(v) }},
		{Name: "loss_tolerence", Alias: "loss_tolerance", Type: Number, Unit: "%", Default: "that of [general]", Example: "30", amend: amendLoss,
			Doc: "The loss above which this link is left out while another is better. 100 switches this off.",
			set: func(_ *Config, l *Link, v value) { l.LossTolerance = int(v.num) }},
		{Name: "latency_tolerence", Alias: "latency_tolerance", Type: Number, Unit: "ms", Default: "that of [general]", Example: "200", amend: amendLatency,
			Doc: "The delay above which this link is left out while another is better. 1000 or more switches this off.",
			set: func(_ *Config, l *Link, v value) { l.LatencyTolerance = milliseconds(v) }},
		{Name: "transport", Type: Choice, Choices: []string{"udp", "tcp", "tls", "websocket"}, Default: `"udp"`, Example: `"tls"`,
			Doc: "What carries the link's packets. udp is the quickest; the others are for networks that block it. Both ends must agree.",
			set: func(_ *Config, l *Link, v value) { l.Transport = Transport(v.text) }},
		{Name: "tls_certificate", Type: Path, Needed: "with tls_key", Example: `"/etc/mlvpn/cert.pem"`,
			Doc: "On a server, the certificate chain in PEM that a tls or websocket link shows. Without it, one is made up at each start.",
			set: func(_ *Config, l *Link, v value) { l.TLSCertificate = v.text }},
		{Name: "tls_key", Type: Path, Needed: "with tls_certificate", Example: `"/etc/mlvpn/key.pem"`,
			Doc: "On a server, the private key of tls_certificate, in PEM.",
			set: func(_ *Config, l *Link, v value) { l.TLSKey = v.text }},
		{Name: "tls_name", Type: Host, Default: "remotehost", Example: `"www.example.org"`,
			Doc: "On a client, the name asked for by tls and websocket links. The server's certificate is not checked: what the link carries is encrypted and authenticated by itself.",
			set: func(_ *Config, l *Link, v value) { l.TLSName = v.text }},
		{Name: "websocket_path", Type: Path, Default: `"/"`, Example: `"/tunnel"`,
			Doc: "The path in the URL of a websocket link.",
			set: func(_ *Config, l *Link, v value) { l.WebSocketPath = v.text }},
		{Name: "websocket_tls", Type: Flag, Default: "1", Example: "0",
			Doc: "0 has a websocket link speak plain HTTP, for a server behind a reverse proxy.",
			set: func(_ *Config, l *Link, v value) { l.WebSocketPlain = v.num == 0 }},
		{Name: "cost", Type: Number, Max: maxCost, Default: "0", Example: "1",
			Doc: "Links of a lower cost are preferred: this one is idle while a cheaper one works, unless it may overflow. A client tells the server.",
			set: func(_ *Config, l *Link, v value) { l.Cost = int(v.num) }},
		{Name: "overflow", Type: Flag, Default: "0", Example: "1",
			Doc: "1 lets a link that is idle because of its cost or fallback_only take what the better links have no room for, until its quota is used up.",
			set: func(_ *Config, l *Link, v value) { l.Overflow = v.num == 1 }},
		{Name: "quota_day", Type: Number, Unit: "bytes", Default: "0", Example: "2000000000",
			Doc: "The bytes that the link may carry a day, both directions and headers included. Once they are used up it is idle until no other link is usable. 0 sets no limit.",
			set: func(_ *Config, l *Link, v value) { l.QuotaDay = v.num }},
		{Name: "quota_month", Type: Number, Unit: "bytes", Default: "0", Example: "50000000000",
			Doc: "The same for a month.",
			set: func(_ *Config, l *Link, v value) { l.QuotaMonth = v.num }},
		{Name: "quota_reset_day", Type: Number, Min: 1, Max: 31, Default: "1", Example: "15",
			Doc: "The day on which a month of quota_month begins, in local time; in a shorter month its last day.",
			set: func(_ *Config, l *Link, v value) { l.QuotaResetDay = int(v.num) }},
	}
	for i := range keys {
		keys[i].Section = Links
	}
	return keys
}

func historicKeys() []Key {
	return []Key{
		{Name: "protocol", Type: String, Section: General, Status: Historic,
			Doc: "Early versions of MLVPN could use TCP. See transport, which each link has."},
		{Name: "loglevel", Type: String, Section: General, Status: Historic,
			Doc: "What is logged is chosen on the command line."},
		{Name: "protocol", Type: String, Section: Links, Status: Historic,
			Doc: "See transport."},
		{Name: "quota", Type: String, Section: Links, Status: Historic,
			Doc: "Descendants of MLVPN limit a link's rate by it. See quota_day and quota_month."},
	}
}

func (k *Key) names() []string {
	if k.Alias == "" {
		return []string{k.Name}
	}
	return []string{k.Name, k.Alias}
}

// own reports whether the key is an addition of this module: no version of MLVPN
// knows it.
func (k *Key) own() bool {
	const general = "mode password interface_name tuntap ip4 ip6 ip4_gateway ip6_gateway ip4_routes ip6_routes mtu " +
		"statuscommand timeout reorder_buffer_size loss_tolerence latency_tolerence cleartext_data " +
		"control_unix_path control_bind_host control_bind_port protocol loglevel"
	const link = "bindhost bindport bindfib remotehost remoteport bandwidth_upload bandwidth_download fallback_only " +
		"timeout loss_tolerence latency_tolerence protocol quota"
	names := general
	if k.Section == Links {
		names = link
	}
	return !slices.Contains(strings.Fields(names), k.Name)
}

// line returns a valid line for the key, for messages.
func (k *Key) line() string { return k.Name + " = " + k.Example }

const (
	minTimeout     = 2     // s, MLVPN's floor
	maxTimeout     = 86400 // s
	defaultTimeout = 60    // s
	maxCost        = 62    // what fits the wire beside two flags
	latencyOff     = 1000  // ms, from which on MLVPN's manual has no limit
	lossOff        = 100   // per cent
)

func seconds(v value) time.Duration { return time.Duration(v.num) * time.Second }

func milliseconds(v value) time.Duration { return time.Duration(v.num) * time.Millisecond }

func amendTimeout(v *value) string {
	if v.num >= minTimeout {
		return ""
	}
	v.num = minTimeout
	return fmt.Sprintf("raised to %d, the least possible timeout in seconds", minTimeout)
}

func amendLoss(v *value) string {
	switch {
	case v.num == 0:
		return "0 leaves a link out at its first lost packet; write 100 to switch this off"
	case v.num > lossOff:
		v.num = lossOff
		return "lowered to 100 %, which switches this off"
	}
	return ""
}

func amendLatency(v *value) string {
	switch {
	case v.num == 0:
		return "no link has a delay of 0 ms: this is switched off; write the limit in ms"
	case v.num >= latencyOff:
		v.num = 0
	}
	return ""
}

// Markdown writes the reference of all keys to w.
func Markdown(w io.Writer) error {
	var b strings.Builder
	for _, s := range []struct {
		section Section
		title   string
	}{
		{General, "## [general]"},
		{Links, "## Links: every other section"},
	} {
		fmt.Fprintf(&b, "%s\n\n", s.title)
		rows(&b, sectionKeys(s.section, false))
		b.WriteString("\nThese keys are additions: MLVPN does not know them.\n\n")
		rows(&b, sectionKeys(s.section, true))
		b.WriteByte('\n')
	}
	b.WriteString("## [filters]\n\n" + filtersDoc + "\n\n")
	b.WriteString("## Clients: clients.d/NAME\n\n" + clientsDoc + "\n\n")
	rows(&b, clientKeys(new(ClientFile)))
	_, err := io.WriteString(w, b.String())
	return err
}

// filtersDoc describes the one section without fixed keys.
const filtersDoc = "Each line names a link and packets that go over it, as a pcap-filter(7) expression: " +
	"`dsl1 = \"udp port 5060\"`. Of the lines, in this order, the first that matches a packet, and whose link works, decides; " +
	"a packet that none matches goes where the scheduler sends it. A link may have several lines. They go for what this end sends. " +
	"On a tun interface the expression is about IP packets, on a tap interface about Ethernet frames. " +
	"Names of hosts are not looked up.\n\n" +
	"Instead of a link a line may name an action, which MLVPN does not know: " +
	"`@lowest_latency` sends the packets before others and by the quickest link, `@duplicate` by two links at once, " +
	"`@unordered` lets the other end deliver them as they arrive, `@drop` discards them."

// clientsDoc describes the files of a server's clients.
const clientsDoc = "A server with a `private_key` knows its clients by their keys. Each has a file in `clients_dir`, " +
	"which is named as the client is and has one section, `[client]`. `mlvpn add-client` writes these files. " +
	"They must be of mode 0600, and nobody else may write to the directory. " +
	"SIGHUP makes the server read them again: clients whose file did not change notice nothing. " +
	"No two clients can have the same key, address or network; where a network of one lies within that of another, the smaller one counts."

// sectionKeys returns the keys of a section: MLVPN's, or the additions to it.
func sectionKeys(section Section, own bool) (keys []Key) {
	for _, k := range Reference() {
		if k.Section == section && k.own() == own {
			keys = append(keys, k)
		}
	}
	return keys
}

func rows(b *strings.Builder, keys []Key) {
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, k := range keys {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", k.nameCell(), k.typeCell(), k.defaultCell(), k.docCell())
	}
}

func (k *Key) nameCell() string {
	cell := "`" + k.Name + "`"
	if k.Alias != "" {
		cell += ", `" + k.Alias + "`"
	}
	return cell
}

func (k *Key) typeCell() string {
	switch {
	case k.Type == Choice:
		return "`\"" + strings.Join(k.Choices, "\"` or `\"") + "\"`"
	case k.Unit != "":
		return string(k.Type) + ", " + k.Unit
	case k.Family != 0:
		return fmt.Sprintf("IPv%d %s", k.Family, k.Type)
	}
	return string(k.Type)
}

func (k *Key) defaultCell() string {
	if k.Needed != "" {
		return "needed " + k.Needed
	}
	return k.Default
}

func (k *Key) docCell() string {
	doc := k.Doc
	switch k.Status {
	case NotYet:
		doc += " Not available yet."
	case Historic:
		doc += " Ignored."
	}
	return strings.ReplaceAll(doc, "|", `\|`)
}
