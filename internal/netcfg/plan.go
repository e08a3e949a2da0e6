package netcfg

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Plan is everything that we want on a host.
type Plan struct {
	Rules   []Rule
	Routes  []Route
	Sysctls []Sysctl
	NFT     *NFT // nil: no table
	Files   []File

	// Problems are what the plan could not do.
	Problems []Problem

	// Probes are the lines to watch.
	Probes []Probe
}

// A Probe is a line to watch, as a probe of it must be sent.
type Probe struct {
	Key  LineKey
	Mark uint32 // for SO_MARK, which leads into the line's table
	Addr netip.Addr
}

// planner is Compute at work on one address family.
type planner struct {
	*Plan
	c     *Config
	s     *State
	h     *Host
	a     *Allocation
	f     Family
	lines []line

	direct int // the table of all lines
	tunnel int // the tunnel's table
}

// Compute plans. Nothing of its arguments is modified. Numbers come from the allocation,
// which must be one for this configuration.
func Compute(c *Config, s *State, h *Host, a *Allocation) *Plan {
	p := &Plan{}
	var all []line
	for _, f := range families() {
		if f == V6 && h.NoIPv6 {
			continue
		}
		l, problems := lines(c, s, h, a, f)
		p.Problems = append(p.Problems, problems...)
		(&planner{p, c, s, h, a, f, l, a.Tables[directName], a.Tables[tunnelName]}).family()
		all = append(all, l...)
	}
	p.sysctls(c, h, all)
	p.NFT = firewall(c, h, all)
	if c.NameTables {
		p.Files = append(p.Files, tableNames(c, a))
	}
	for _, l := range all {
		p.Probes = append(p.Probes, Probe{l.key, lineMark(l.id), l.addrs[0]})
	}
	return p
}

// family plans one address family.
func (p *planner) family() {
	for i := range p.lines {
		p.lineTable(&p.lines[i])
	}
	p.directTable()
	p.tunnelRoutes()
	if len(p.lines) == 0 && !p.tunnelled() {
		return // the host's own routes do
	}
	p.lineRules()
	p.dnsRules()
	if len(p.lines) > 0 || p.tunnelled() {
		p.rule(5, Rule{Table: MainTable, Specific: true})
	}
	p.directRules()
	if p.tunnelled() {
		p.rule(9, Rule{Table: p.tunnel})
	}
	if len(p.lines) > 0 && (p.c.Balance || p.tunnelled() && !p.c.Tunnel.Block) {
		p.rule(10, Rule{Table: p.direct})
	}
}

func (p *planner) rule(offset int, r Rule) {
	r.Family, r.Priority = p.f, p.a.Base+offset
	p.Rules = append(p.Rules, r)
}

// route adds a route. IPv6 has no metric 0.
func (p *planner) route(r Route) {
	r.Family = p.f
	if p.f == V6 && r.Metric == 0 {
		r.Metric = 1024
	}
	p.Routes = append(p.Routes, r)
}

// refuse has a table refuse at once what none of its routes takes, rather than let it
// go another way.
func (p *planner) refuse(table int, dst netip.Prefix) {
	p.route(Route{Table: table, Dst: dst, Type: Prohibit, Metric: lastMetric})
}

// connected adds the routes to the line's own networks.
func (p *planner) connected(table int, l *line) {
	for _, s := range l.subnets {
		dst := s.Prefix.Masked()
		if s.Peer.IsValid() {
			dst = netip.PrefixFrom(s.Peer, s.Peer.BitLen())
		}
		if dst.IsSingleIP() && !s.Peer.IsValid() || p.hasRoute(table, dst) {
			continue
		}
		p.route(Route{Table: table, Dst: dst, Device: l.device, Src: s.Prefix.Addr()})
	}
}

func (p *planner) hasRoute(table int, dst netip.Prefix) bool {
	return slices.ContainsFunc(p.Routes, func(r Route) bool { return r.Family == p.f && r.Table == table && r.Dst == dst })
}

// lineTable plans the table that a line's packets go by. It stays when probes fail: they
// go by it, too, and so do connections that may survive.
func (p *planner) lineTable(l *line) {
	p.connected(l.table, l)
	p.route(Route{Table: l.table, Dst: p.f.Any(), Device: l.device, Gateway: l.gateway, OnLink: l.onlink, Src: l.addrs[0]})
	p.refuse(l.table, p.f.Any())
}

// directTable plans the table that leads over all lines that work.
func (p *planner) directTable() {
	if len(p.lines) == 0 {
		return
	}
	var hops []NextHop
	for i := range p.lines {
		l := &p.lines[i]
		p.connected(p.direct, l)
		if !l.dead {
			hops = append(hops, NextHop{Device: l.device, Gateway: l.gateway, OnLink: l.onlink, Weight: l.weight})
		}
	}
	r := Route{Table: p.direct, Dst: p.f.Any(), Hops: hops}
	if len(hops) == 1 {
		r = Route{Table: p.direct, Dst: p.f.Any(), Device: hops[0].Device, Gateway: hops[0].Gateway, OnLink: hops[0].OnLink}
	}
	p.route(r)
	p.refuse(p.direct, p.f.Any())
}

// defaultTunnelled reports whether the default route of a family leads into the tunnel.
func defaultTunnelled(c *Config, f Family) bool {
	return c.Tunnel != nil && slices.Contains(c.Tunnel.Routes, f.Any())
}

// tunnelled reports whether the tunnel's table concerns the family: because its default
// route leads into the tunnel, or because it would leak beside the other's.
func (p *planner) tunnelled() bool {
	if defaultTunnelled(p.c, p.f) {
		return true
	}
	other := V4 + V6 - p.f
	return p.c.Tunnel != nil && p.c.Tunnel.Block && !p.c.Server && defaultTunnelled(p.c, other)
}

// up reports whether packets may enter the tunnel. A server's interface takes them
// always, since its clients come and go.
func (p *planner) up() bool { return p.s.TunnelUp || p.c.Server }

// tunnelRoutes plans the routes into the tunnel. The default route has a table of its
// own, so that others find the lines; the rest are in the main table, where the longest
// prefix counts among the host's own.
func (p *planner) tunnelRoutes() {
	t := p.c.Tunnel
	if t == nil {
		return
	}
	dev := p.h.Interface(t.Device)
	peer := t.Peer4
	if p.f == V6 {
		peer = t.Peer6
	}
	for _, dst := range t.Routes {
		if FamilyOf(dst.Addr()) != p.f {
			continue
		}
		table := MainTable
		if dst.Bits() == 0 {
			table = p.tunnel
		}
		if dev != nil && dev.Up && p.up() {
			p.route(Route{Table: table, Dst: dst, Device: t.Device, Gateway: peer, OnLink: peer.IsValid()})
		}
		if t.Block {
			p.refuse(table, dst)
		}
	}
	if p.tunnelled() && !defaultTunnelled(p.c, p.f) {
		p.refuse(p.tunnel, p.f.Any())
	}
}

// servers returns the addresses of the server in this family.
func (p *planner) servers() []netip.Prefix {
	var found []netip.Prefix
	for _, a := range p.s.Servers {
		if FamilyOf(a) == p.f {
			found = append(found, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return found
}

// lineRules plans the rules that keep each line's packets on it.
func (p *planner) lineRules() {
	for _, l := range p.lines {
		for _, a := range l.addrs {
			from := netip.PrefixFrom(a, a.BitLen())
			for _, to := range p.servers() {
				p.rule(0, Rule{From: from, To: to, Table: l.table})
			}
			p.rule(6, Rule{From: from, Table: l.table})
		}
		p.rule(1, Rule{Mark: lineMark(l.id), Mask: idMask, Table: l.table})
		if l.byDev {
			for _, to := range p.servers() {
				p.rule(0, Rule{OIF: l.device, To: to, Table: l.table})
			}
			p.rule(6, Rule{OIF: l.device, Table: l.table})
		}
	}
	for _, to := range p.servers() {
		if len(p.lines) > 0 && p.c.Tunnel != nil && slices.ContainsFunc(p.c.Tunnel.Routes, func(r netip.Prefix) bool {
			return r.Bits() > 0 && r.Overlaps(to)
		}) {
			p.rule(2, Rule{To: to, Table: p.direct})
		}
	}
}

// The protocols that carry DNS.
const (
	tcp = 6
	udp = 17
)

// lookups returns what matches the daemon's own lookups, which must find its server. The
// kernel takes forwarded packets for root's, hence Local.
func (p *planner) lookups(proto int) Rule {
	return Rule{IPProto: proto, DPort: 53, UID: p.c.UID, HasUID: true, Local: true}
}

// dnsRules keep lookups from leaving by a modem's resolver while the tunnel is down,
// but for those of the daemon.
func (p *planner) dnsRules() {
	if !p.tunnelled() || !p.c.Tunnel.Block || p.up() {
		return
	}
	for _, l := range p.lines {
		for _, s := range l.subnets {
			to := s.Prefix.Masked()
			for _, proto := range []int{udp, tcp} {
				own := p.lookups(proto)
				own.To, own.Table = to, MainTable
				p.rule(3, own)
				p.rule(4, Rule{To: to, IPProto: proto, DPort: 53, Table: p.tunnel})
			}
			p.rule(4, Rule{To: to, IPProto: tcp, DPort: 853, Table: p.tunnel})
		}
	}
}

// directRules plan what does not go into the tunnel.
func (p *planner) directRules() {
	if len(p.lines) == 0 {
		return
	}
	if p.tunnelled() {
		for _, to := range p.servers() {
			p.rule(7, Rule{To: to, Table: p.direct})
		}
		for _, proto := range []int{udp, tcp} {
			own := p.lookups(proto)
			own.Table = p.direct
			p.rule(7, own)
		}
	}
	for _, to := range p.c.Direct {
		if FamilyOf(to.Addr()) == p.f {
			p.rule(8, Rule{To: to, Table: p.direct})
		}
	}
}

// sysctls plans the kernel settings that the rest needs. What is good already stays.
func (p *Plan) sysctls(c *Config, h *Host, all []line) {
	set := make(map[string]string)
	devices := make(map[string]bool)
	count := make(map[Family]int)
	for _, l := range all {
		devices[l.device] = true
		count[l.key.Family]++
	}
	if c.Tunnel != nil {
		devices[c.Tunnel.Device] = true
	}
	for dev := range devices {
		// The kernel goes by the larger one of all and the interface's: 1 is strict, which
		// drops what the main table would not answer the same way, 2 is loose.
		if max(number(h.Sysctls[rpFilter("all")]), number(h.Sysctls[rpFilter(dev)])) == 1 {
			set[rpFilter(dev)] = "2"
		}
	}
	if c.Forward4 {
		set[Forward4Sysctl] = "1"
	}
	if c.Forward6 {
		set[Forward6Sysctl] = "1"
		// A router ignores advertisements, by which lines have their routes, unless told
		// otherwise.
		for dev := range devices {
			if h.Sysctls[acceptRA(dev)] == "1" {
				set[acceptRA(dev)] = "2"
			}
		}
	}
	if count[V4] > 1 {
		set[hash4] = "1"
	}
	if count[V6] > 1 {
		set[hash6] = "1"
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		p.Sysctls = append(p.Sysctls, Sysctl{name, set[name]})
	}
}

// The settings that make a host a router.
const (
	Forward4Sysctl = "net/ipv4/ip_forward"
	Forward6Sysctl = "net/ipv6/conf/all/forwarding"

	// hash4 and hash6 have a multipath route choose by ports, too, not by hosts alone.
	hash4 = "net/ipv4/fib_multipath_hash_policy"
	hash6 = "net/ipv6/fib_multipath_hash_policy"
)

func rpFilter(dev string) string { return "net/ipv4/conf/" + dev + "/rp_filter" }
func acceptRA(dev string) string { return "net/ipv6/conf/" + dev + "/accept_ra" }

// SysctlNames returns the names of the settings that a plan could set or look at.
func SysctlNames(interfaces []Interface) []string {
	names := []string{Forward4Sysctl, Forward6Sysctl, hash4, hash6, rpFilter("all")}
	for _, i := range interfaces {
		names = append(names, rpFilter(i.Name), acceptRA(i.Name))
	}
	return names
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// NamesFile returns the file that names our tables.
func NamesFile(instance string) string {
	return "/etc/iproute2/rt_tables.d/" + instance + ".conf"
}

func tableNames(c *Config, a *Allocation) File {
	var b strings.Builder
	b.WriteString("# written by mlvpn, and removed when it stops\n")
	for _, n := range slices.Sorted(maps.Keys(a.Tables)) {
		label := n
		switch n {
		case directName:
			label = c.Instance + "-lines"
		case tunnelName:
			label = c.Instance + "-tunnel"
		}
		fmt.Fprintf(&b, "%d\t%s\n", a.Tables[n], label)
	}
	return File{NamesFile(c.Instance), b.String()}
}
