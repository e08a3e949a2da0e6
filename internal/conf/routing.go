package conf

import (
	"net/netip"
	"strings"
	"time"
)

// Balance is the mode without a tunnel: the daemon only looks after the host's lines.
const Balance Mode = "balance"

// Routing is what the daemon does to the host's network. It has an effect only if Manage
// is set.
type Routing struct {
	// Manage has the daemon set up the host's routing, and undo it when it stops.
	Manage bool

	// Direct lets packets that belong into the tunnel go by the lines while it is down.
	// Otherwise they are refused.
	Direct bool

	// Balance spreads what does not go into the tunnel over the lines.
	Balance bool

	// IP4Lan and IP6Lan are the networks behind this end. They make it a router.
	IP4Lan, IP6Lan []netip.Prefix

	// IP4Direct and IP6Direct are networks that are not reached through the tunnel.
	IP4Direct, IP6Direct []netip.Prefix

	// NAT is the interface on which forwarded packets get this host's address, "auto" or
	// "none".
	NAT string

	// ClampMSS fits TCP connections to the tunnel's MTU.
	ClampMSS bool

	// Reply has answers leave by the line on which the request came in.
	Reply bool

	// ProbeTargets are what is probed through each line, as method:address:port.
	ProbeTargets []string

	// ProbeInterval and ProbeTimeout are 0 for the defaults of the probes.
	ProbeInterval, ProbeTimeout time.Duration

	// NameTables gives the routing tables names.
	NameTables bool
}

// routingKeys are those of [general] that concern the host's network.
func routingKeys() []Key {
	keys := []Key{
		{Name: "manage_network", Type: Flag, Default: "0", Example: "1",
			Doc: "1 has the daemon set up the host's routing: a table and rules for each line, routes into the tunnel, and what the keys below say. It needs Linux, and undoes everything when it stops. See [routing.md](routing.md).",
			set: func(c *Config, _ *Link, v value) { c.Routing.Manage = v.num == 1 }},
		{Name: "tunnel_down", Type: Choice, Choices: []string{"block", "direct"}, Default: `"block"`, Example: `"block"`,
			Doc: "What becomes of packets for ip4_routes and ip6_routes while the tunnel is down: block refuses them, direct sends them by the lines, outside of the tunnel. block also refuses IPv6 when only the IPv4 default route leads into the tunnel, and the other way round.",
			set: func(c *Config, _ *Link, v value) { c.Routing.Direct = v.text == "direct" }},
		{Name: "balance", Type: Flag, Default: "0", Example: "1",
			Doc: "1 spreads new connections that do not go into the tunnel over the lines that work, in the proportion of their weights.",
			set: func(c *Config, _ *Link, v value) { c.Routing.Balance = v.num == 1 }},
		{Name: "ip4_lan", Type: Prefixes, Family: 4, Example: `"192.168.0.0/24"`,
			Doc: "IPv4 networks behind this end, separated by blanks. They make the host a router for them, and a server that goes by password learns of them. The server needs them in its ip4_routes.",
			set: func(c *Config, _ *Link, v value) { c.Routing.IP4Lan = v.prefixes }},
		{Name: "ip6_lan", Type: Prefixes, Family: 6, Example: `"2001:db8:1::/64"`,
			Doc: "The same for IPv6.",
			set: func(c *Config, _ *Link, v value) { c.Routing.IP6Lan = v.prefixes }},
		{Name: "ip4_direct_routes", Type: Prefixes, Family: 4, Example: `"203.0.113.0/24"`,
			Doc: "IPv4 networks that are reached by the lines and not through the tunnel, whatever ip4_routes says.",
			set: func(c *Config, _ *Link, v value) { c.Routing.IP4Direct = v.prefixes }},
		{Name: "ip6_direct_routes", Type: Prefixes, Family: 6, Example: `"2001:db8:2::/48"`,
			Doc: "The same for IPv6.",
			set: func(c *Config, _ *Link, v value) { c.Routing.IP6Direct = v.prefixes }},
		{Name: "nat", Type: Device, Default: `"none"`, Example: `"auto"`,
			Doc: "The interface on which forwarded packets get this host's address. auto: on a server that of its default route, for packets from the tunnel; on a client the tunnel. none: addresses are left alone. On a server it makes the host a router.",
			set: func(c *Config, _ *Link, v value) { c.Routing.NAT = v.text }},
		{Name: "mss_clamp", Type: Flag, Default: "1", Example: "1",
			Doc: "1 reduces the segment size of forwarded TCP connections to what fits through the tunnel.",
			set: func(c *Config, _ *Link, v value) { c.Routing.ClampMSS = v.num == 1 }},
		{Name: "reply_routing", Type: Flag, Default: "1", Example: "1",
			Doc: "1 has the answers of this host's services leave by the line on which the request came in.",
			set: func(c *Config, _ *Link, v value) { c.Routing.Reply = v.num == 1 }},
		{Name: "probe_targets", Type: String, Example: `"icmp:192.0.2.1 tcp:192.0.2.2:443"`,
			Doc: "What is probed through each line, beyond its gateway: icmp:ADDRESS, tcp:ADDRESS:PORT or udp:ADDRESS:PORT (a DNS server), separated by blanks. A line on which none answers is left out of balancing. Without targets a line counts as working while its interface does.",
			set: func(c *Config, _ *Link, v value) { c.Routing.ProbeTargets = strings.Fields(v.text) }},
		{Name: "probe_interval", Type: Number, Unit: "ms", Min: 100, Max: 60000, Default: "500", Example: "500",
			Doc: "The time between probes. Three in a row without an answer take a line out, two with one put it in again.",
			set: func(c *Config, _ *Link, v value) { c.Routing.ProbeInterval = milliseconds(v) }},
		{Name: "probe_timeout", Type: Number, Unit: "ms", Min: 50, Max: 60000, Default: "900", Example: "900",
			Doc: "How long the answer to a probe may take.",
			set: func(c *Config, _ *Link, v value) { c.Routing.ProbeTimeout = milliseconds(v) }},
		{Name: "name_tables", Type: Flag, Default: "0", Example: "1",
			Doc: "1 names the routing tables in /etc/iproute2/rt_tables.d, for ip-route(8).",
			set: func(c *Config, _ *Link, v value) { c.Routing.NameTables = v.num == 1 }},
	}
	for i := range keys {
		keys[i].Section = General
	}
	return keys
}

// lineKeys are those of a link that concern the host's network.
func lineKeys() []Key {
	keys := []Key{
		{Name: "gateway", Type: Address, Family: 4, Example: `"192.168.1.1"`,
			Doc: "The line's IPv4 gateway, for manage_network. Needed only where no default route of the host tells: for the second modem on one interface.",
			set: func(_ *Config, l *Link, v value) { l.Gateway4 = v.addr }},
		{Name: "gateway6", Type: Address, Family: 6, Example: `"fe80::1"`,
			Doc: "The same for IPv6.",
			set: func(_ *Config, l *Link, v value) { l.Gateway6 = v.addr }},
		{Name: "weight", Type: Number, Min: 1, Max: 1000, Default: "by bandwidth_download", Example: "4",
			Doc: "The line's share of the connections that balance spreads. If one line has a weight, those without have 1. Without any, bandwidth_download counts, or what the line was measured to carry.",
			set: func(_ *Config, l *Link, v value) { l.Weight = int(v.num) }},
	}
	for i := range keys {
		keys[i].Section = Links
	}
	return keys
}

// checkRouting warns about keys that have no effect, and refuses those that contradict
// each other.
func (p *parser) checkRouting(c *Config, s *section, set map[string]int) {
	r := &c.Routing
	if !r.Manage {
		if c.Mode == Balance {
			p.errorf(s.line, "mode = \"balance\" needs manage_network = 1: it has nothing else to do")
		}
		for _, k := range routingKeys() {
			if k.Name != "manage_network" && set[k.Name] != 0 {
				p.warnf(set[k.Name], "%s has no effect without manage_network = 1", k.Name)
			}
		}
		return
	}
	if c.Device == TAP && c.Mode != Balance && len(c.IP4Routes)+len(c.IP6Routes) > 0 && !c.IP4Gateway.IsValid() && !c.IP6Gateway.IsValid() {
		p.errorf(set["manage_network"], "routes into a tap interface need ip4_gateway or ip6_gateway: write the other end's address")
	}
	if c.Mode == Balance {
		r.Balance = true
		for _, key := range []string{"tunnel_down", "ip4_routes", "ip6_routes", "ip4", "ip6", "password", "statuscommand"} {
			if set[key] != 0 {
				p.warnf(set[key], "%s has no effect: mode = \"balance\" has no tunnel", key)
			}
		}
	}
	if r.Balance && len(r.ProbeTargets) == 0 {
		p.warnf(s.line, "balance without probe_targets: a line counts as working while its interface is up; write for example probe_targets = \"icmp:192.0.2.1\" with an address beyond the gateways")
	}
}

// Forwards reports whether this configuration makes the host a router for IPv4, and for
// IPv6.
func (c *Config) Forwards() (ip4, ip6 bool) {
	r := &c.Routing
	server := c.Mode == Server
	nat := server && r.NAT != "" && r.NAT != "none"
	ip4 = len(r.IP4Lan) > 0 || server && len(c.IP4Routes) > 0 || nat && c.IP4.IsValid()
	ip6 = len(r.IP6Lan) > 0 || server && len(c.IP6Routes) > 0 || nat && c.IP6.IsValid()
	return ip4, ip6
}
