package conf

import (
	"net/netip"
	"slices"
	"strings"
)

// minPassword is the length in characters below which a password is refused.
const minPassword = 16

// publishedPasswords are in the manuals that people copy their file from.
func publishedPasswords() []string {
	return []string{
		"pleasechangeme!",
		"you have not changed me yet?",
		"a very long random string",
		"26 random letters and digits",
		"apoziecxjvpoxkvpzeoirjdskpoezroizepzdlpojfoiezjrzanzaoinzoi",
	}
}

// build makes a Config of the sections. It is valid if no error was noted.
func (p *parser) build() *Config {
	c := &Config{
		File:          p.name,
		Interface:     "mlvpn0",
		Device:        TUN,
		Timeout:       defaultTimeout * 1e9,
		Scheduler:     Adaptive,
		LossTolerance: lossOff,
		Routing:       Routing{ClampMSS: true, Reply: true, NAT: "none"},
	}
	general := p.find("general")
	if general == nil {
		if len(p.errs) == 0 {
			p.errorf(0, "the section [general] is missing")
		}
		general = &section{name: "general"}
	}
	set := p.apply(general, General, c, nil)
	p.checkGeneral(c, general, set)
	p.checkControl(c, set)
	p.checkRouting(c, general, set)

	for _, s := range p.sections {
		if s.name == "general" || s.name == "filters" {
			continue
		}
		l := Link{
			Name: s.name, Line: s.line, Transport: UDP, WebSocketPath: "/", QuotaResetDay: 1,
			Timeout: c.Timeout, LossTolerance: c.LossTolerance, LatencyTolerance: c.LatencyTolerance,
		}
		set := p.apply(s, Links, c, &l)
		if !s.bad {
			p.checkLink(c, &l, s, set)
		}
		c.Links = append(c.Links, l)
	}
	if len(c.Links) == 0 {
		p.errorf(0, "there is no link: add a section per line, for example [adsl1]")
	}
	p.checkPorts(c)
	if s := p.find("filters"); s != nil {
		p.filters(c, s)
	}
	return c
}

func (p *parser) find(name string) *section {
	for _, s := range p.sections {
		if s.name == name {
			return s
		}
	}
	return nil
}

// apply stores the items of s and returns the line of each key that has a value,
// valid or not.
func (p *parser) apply(s *section, kind Section, c *Config, l *Link) map[string]int {
	lines := make(map[string]int)
	for _, it := range s.items {
		k := p.key(kind, it.key)
		if k == nil {
			p.unknown(s, kind, it)
			continue
		}
		if first, again := lines[k.Name]; again {
			p.errorf(it.line, "%s is in [%s] already, on line %d: remove one, or write a [section] line above this one if it belongs to another link", it.key, printable(s.name), first)
			continue
		}
		if it.bad {
			lines[k.Name] = it.line
			continue
		}
		if it.value == "" {
			if it.raw == "" {
				p.warnf(it.line, "%s has no value and is ignored", it.key)
			}
			continue
		}
		lines[k.Name] = it.line
		if k.Status == Historic {
			p.warnf(it.line, "%s is ignored. %s", it.key, k.Doc)
			continue
		}
		v, ok := p.value(k, it)
		if !ok {
			continue
		}
		if k.amend != nil {
			if warning := k.amend(&v); warning != "" {
				p.warnf(it.line, "%s: %s", shown(k, it), warning)
			}
		}
		if k.Status == NotYet {
			p.warnf(it.line, "%s is not available yet and has no effect", it.key)
		}
		k.set(c, l, v)
	}
	return lines
}

// key returns the key that is called name in a section of the kind, or nil.
func (p *parser) key(kind Section, name string) *Key {
	for i := range p.keys {
		if k := &p.keys[i]; k.Section == kind && slices.Contains(k.names(), name) {
			return k
		}
	}
	return nil
}

// known reports whether any section has a key called name.
func (p *parser) known(name string) bool {
	name = strings.Trim(name, " \t")
	return p.key(General, name) != nil || p.key(Links, name) != nil
}

// unknown warns about a key that has no meaning in its section.
func (p *parser) unknown(s *section, kind Section, it item) {
	name := printable(it.key)
	other := Links
	if kind == Links {
		other = General
	}
	if p.key(other, it.key) != nil {
		if other == Links {
			p.warnf(it.line, "%s is ignored in [general]: it belongs to a link, below a line such as [adsl1]", name)
		} else {
			p.warnf(it.line, "%s is ignored in [%s]: it belongs in [general]", name, printable(s.name))
		}
		return
	}
	var candidates []string
	for i := range p.keys {
		if k := &p.keys[i]; k.Section == kind && k.Status != Historic {
			candidates = append(candidates, k.names()...)
		}
	}
	if near := nearest(it.key, candidates); near != "" {
		p.warnf(it.line, "unknown key %s is ignored: did you mean %s?", name, near)
		return
	}
	p.warnf(it.line, "unknown key %s is ignored", name)
}

func (p *parser) checkGeneral(c *Config, s *section, set map[string]int) {
	if set["mode"] == 0 {
		p.errorf(s.line, "mode is missing in [general]: write mode = \"client\" or mode = \"server\"")
	}
	p.checkCompat(c, set)
	if c.Mode != Balance {
		p.checkSecrets(c, s, set)
	}
	for _, key := range []string{"ip4_remote", "ip6_remote"} {
		if c.Mode == Server && set[key] != 0 {
			p.warnf(set[key], "%s is ignored on a server: the files of its clients say which addresses each may use", key)
		}
	}
	if c.MTU != 0 && c.MTU < 1280 && c.IP6.IsValid() {
		p.errorf(set["mtu"], "mtu = %d is too small for ip6: IPv6 needs 1280 or more (RFC 8200, section 5)", c.MTU)
	}
	for _, f := range []struct {
		family string
		ip     string
		own    bool
		gw     bool
		same   bool
		inside bool
		routes int
	}{
		{"4", c.IP4.String(), c.IP4.IsValid(), c.IP4Gateway.IsValid(), c.IP4.Addr() == c.IP4Gateway, c.IP4.Contains(c.IP4Gateway), len(c.IP4Routes)},
		{"6", c.IP6.String(), c.IP6.IsValid(), c.IP6Gateway.IsValid(), c.IP6.Addr() == c.IP6Gateway, c.IP6.Contains(c.IP6Gateway), len(c.IP6Routes)},
	} {
		key := "ip" + f.family
		gwLine := set[key+"_gateway"]
		switch {
		case f.gw && f.own && f.same:
			p.errorf(gwLine, "%s_gateway is the same as %s: write the address of the other end", key, key)
		case f.gw && !f.own && set[key] == 0:
			p.warnf(gwLine, "%s_gateway is set and %s is not: the interface gets no IPv%s address", key, key, f.family)
		case f.gw && f.own && !f.inside && !c.pointToPoint(f.family):
			p.warnf(gwLine, "%s_gateway is outside %s = \"%s\"", key, key, f.ip)
		}
	}
}

// checkControl completes where the daemon answers over HTTP.
func (p *parser) checkControl(c *Config, set map[string]int) {
	switch {
	case c.ControlBindPort == 0 && c.ControlBindHost != "":
		p.warnf(set["control_bind_host"], "control_bind_host is ignored without control_bind_port: write for example control_bind_port = 1040")
		c.ControlBindHost = ""
	case c.ControlBindPort != 0 && c.ControlBindHost == "":
		c.ControlBindHost = "127.0.0.1"
	}
	if c.ControlBindHost != "" {
		if a, err := netip.ParseAddr(c.ControlBindHost); c.ControlBindHost != "localhost" && (err != nil || !a.IsLoopback()) {
			p.warnf(set["control_bind_host"], "control_bind_host = \"%s\" lets other hosts read the daemon's state without a password: write control_bind_host = \"127.0.0.1\" unless that is wanted", c.ControlBindHost)
		}
	}
}

// pointToPoint reports whether this end's address is a single one, so that the other
// end's is naturally outside its prefix.
func (c *Config) pointToPoint(family string) bool {
	if family == "4" {
		return c.IP4.Bits() >= 31
	}
	return c.IP6.Bits() >= 127
}

func (p *parser) checkSecrets(c *Config, s *section, set map[string]int) {
	password, private := set["password"], set["private_key"]
	switch {
	case password != 0 && private != 0:
		p.errorf(max(password, private), "password and private_key exclude each other: remove one")
	case password != 0:
		if short := c.Password != "" && len(c.Password) < minPassword; short && c.Compat != "" {
			p.warnf(password, "password has only %d characters, and compat = \"%s\" does nothing against guessing: on both ends write password = \"%s\"", len(c.Password), c.Compat, p.opts.generatePassword())
		} else if short {
			p.errorf(password, "password has %d characters and needs %d: on both ends write password = \"%s\"", len(c.Password), minPassword, p.opts.generatePassword())
		} else if slices.Contains(publishedPasswords(), c.Password) {
			p.warnf(password, "this password is printed in a manual and known to everyone: on both ends write password = \"%s\"", p.opts.generatePassword())
		}
	case private == 0:
		p.errorf(s.line, "password is missing in [general]: on both ends write password = \"%s\"", p.opts.generatePassword())
	}
	if private == 0 {
		for _, key := range []string{"peer_key", "preshared_key"} {
			if set[key] != 0 {
				p.errorf(set[key], "%s needs private_key: write this end's key, or remove this line", key)
			}
		}
		return
	}
	if set["peer_key"] == 0 {
		if c.Mode == Client {
			p.errorf(private, "private_key needs peer_key: write peer_key = \"...\" with the server's public key")
		}
	}
}

func (p *parser) checkLink(c *Config, l *Link, s *section, set map[string]int) {
	name := printable(s.name)
	missing := func(key string) {
		if set[key] == 0 {
			p.errorf(s.line, "%s is missing in [%s]: write for example %s", key, name, p.key(Links, key).line())
		}
	}
	switch c.Mode {
	case Client:
		missing("remotehost")
		missing("remoteport")
	case Server:
		missing("bindport")
	}
	if (l.TLSCertificate == "") != (l.TLSKey == "") {
		p.errorf(max(set["tls_certificate"], set["tls_key"]), "tls_certificate and tls_key need each other: write both in [%s], or none", name)
	}
	p.checkTransport(l, name, set)
	if c.Compat != "" && l.Transport != UDP {
		p.errorf(set["transport"], "transport = \"%s\" in [%s] does not go with compat = \"%s\", which uses UDP: remove one", l.Transport, name, c.Compat)
	}
}

// checkTransport warns about keys that another transport would need.
func (p *parser) checkTransport(l *Link, name string, set map[string]int) {
	for _, k := range []struct {
		keys []string
		of   []Transport
	}{
		{[]string{"tls_certificate", "tls_key", "tls_name"}, []Transport{TLS, WebSocket}},
		{[]string{"websocket_path", "websocket_tls"}, []Transport{WebSocket}},
	} {
		for _, key := range k.keys {
			if set[key] != 0 && !slices.Contains(k.of, l.Transport) {
				p.warnf(set[key], "%s is ignored: [%s] has transport = \"%s\"", key, name, l.Transport)
			}
		}
	}
	if set["quota_reset_day"] != 0 && l.QuotaMonth == 0 {
		p.warnf(set["quota_reset_day"], "quota_reset_day is ignored: [%s] has no quota_month", name)
	}
}

// checkPorts warns when two links of a server listen on the same port, which MLVPN
// cannot.
func (p *parser) checkPorts(c *Config) {
	if c.Mode != Server {
		return
	}
	for i, l := range c.Links {
		for _, m := range c.Links[:i] {
			if l.BindPort != 0 && l.BindPort == m.BindPort && l.BindHost == m.BindHost && l.BindDev == m.BindDev {
				p.warnf(l.Line, "[%s] and [%s] listen on the same address and port %d: peers that run MLVPN need a port for each link", printable(m.Name), printable(l.Name), l.BindPort)
				break
			}
		}
	}
}

func (p *parser) filters(c *Config, s *section) {
	names := make([]string, len(c.Links))
	for i, l := range c.Links {
		names[i] = l.Name
	}
	for _, it := range s.items {
		if it.bad {
			continue
		}
		link := printable(it.key)
		f := Filter{Link: it.key, Line: it.line}
		switch {
		case slices.Contains(names, it.key):
		case slices.Contains(filterActions(), it.key):
			f.Link, f.Action = "", FilterAction(it.key)
		default:
			hint := ""
			if near := nearest(it.key, append(filterActions(), names...)); near != "" {
				hint = ": did you mean " + printable(near) + "?"
			}
			p.errorf(it.line, "the filter is for the link %s, which has no section%s", link, hint)
			continue
		}
		expr := it.value
		if !it.quoted {
			expr = it.loose()
		}
		if expr == "" {
			p.errorf(it.line, "the filter for %s is empty: write for example %s = \"udp port 5060\"", link, link)
			continue
		}
		if !it.quoted {
			p.warnf(it.line, "a filter belongs in quotes, since MLVPN deletes the blanks outside them: write %s = \"%s\"", link, expr)
		}
		f.Expression = expr
		c.Filters = append(c.Filters, f)
	}
}
