package conf

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
)

// A ClientFile is what a server knows of one client: a file in clients.d that is named as
// the client is. It is written like mlvpn.conf and has one section, [client].
type ClientFile struct {
	// File is the path, Name its last element: the client's name.
	File, Name string

	// PublicKey is the client's key, PresharedKey an optional further secret. Both are
	// passed through as written.
	PublicKey    string
	PresharedKey string

	// IP4 and IP6 are the client's addresses inside the tunnel. The zero Addr: one from
	// the server's own network, if it has one of that family.
	IP4, IP6 netip.Addr

	// IP4Routes and IP6Routes are the networks behind the client, masked.
	IP4Routes, IP6Routes []netip.Prefix
}

// String returns a summary without secrets.
func (c ClientFile) String() string { return fmt.Sprintf("client %s (%s)", c.Name, c.File) }

// GoString is String.
func (c ClientFile) GoString() string { return c.String() }

// LogValue is String for package slog.
func (c ClientFile) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Clients is the section of a client's file.
const Clients Section = "client"

// clientKeys returns the keys of a client's file. Their values go to c.
func clientKeys(c *ClientFile) []Key {
	keys := []Key{
		{Name: "public_key", Type: String, Needed: "always", Example: `"wU6..."`,
			Doc: "The client's public key: what `mlvpn pubkey` makes of its private one.",
			set: func(_ *Config, _ *Link, v value) { c.PublicKey = v.text }},
		{Name: "preshared_key", Type: String, Secret: true, Example: `"8Fb..."`,
			Doc: "A further secret that the client has, too, mixed into the handshake of the keys.",
			set: func(_ *Config, _ *Link, v value) { c.PresharedKey = v.text }},
		{Name: "ip4", Type: Address, Family: 4, Default: "one of the server's network", Example: `"10.42.0.2"`,
			Doc: "The client's IPv4 address inside the tunnel. The server gives it to a client that has none in its own configuration, and lets nobody else use it.",
			set: func(_ *Config, _ *Link, v value) { c.IP4 = v.addr }},
		{Name: "ip6", Type: Address, Family: 6, Default: "one of the server's network", Example: `"fd00:42::2"`,
			Doc: "The same for IPv6.",
			set: func(_ *Config, _ *Link, v value) { c.IP6 = v.addr }},
		{Name: "ip4_routes", Type: Prefixes, Family: 4, Example: `"192.168.7.0/24"`,
			Doc: "IPv4 networks behind the client, separated by blanks: it may send from their addresses, and gets the packets for them.",
			set: func(_ *Config, _ *Link, v value) { c.IP4Routes = v.prefixes }},
		{Name: "ip6_routes", Type: Prefixes, Family: 6, Example: `"2001:db8:7::/48"`,
			Doc: "The same for IPv6.",
			set: func(_ *Config, _ *Link, v value) { c.IP6Routes = v.prefixes }},
	}
	for i := range keys {
		keys[i].Section = Clients
	}
	return keys
}

// maxClientName is the length in bytes of the longest name of a client.
const maxClientName = 64

// ValidClientName reports whether a name can be that of a client, and so of its file:
// letters, digits and . _ -, the first a letter or a digit.
func ValidClientName(name string) bool {
	return name != "" && len(name) <= maxClientName && strings.Trim(name, nameChars+".-") == "" &&
		!strings.ContainsRune("._-", rune(name[0]))
}

// ParseClient reads the file of a client, whose name is the last element of its path. The
// error is an Errors if the contents are wrong. Warnings are returned in either case.
func ParseClient(f File) (*ClientFile, []Warning, error) {
	c := &ClientFile{File: f.Path, Name: f.name()}
	p := &parser{name: f.Path, keys: clientKeys(c), main: string(Clients)}
	if bytes.IndexByte(f.Text, 0) >= 0 {
		p.errorf(0, "the file is not plain text: save it as ASCII or UTF-8")
		return nil, nil, p.errs
	}
	p.scan(string(f.Text))
	for _, s := range p.sections {
		if s.name != p.main {
			p.errorf(s.line, "the file of a client has the section [client] only: remove [%s]", printable(s.name))
		}
	}
	s := p.find(p.main)
	if s == nil {
		if len(p.errs) == 0 {
			p.errorf(0, "the section [client] is missing")
		}
		s = &section{name: p.main}
	}
	set := p.apply(s, Clients, new(Config), nil)
	if set["public_key"] == 0 && len(p.errs) == 0 {
		p.errorf(s.line, "public_key is missing in [client]: write public_key = \"...\" with what `mlvpn pubkey` prints for the client's key")
	}
	p.sortProblems()
	if len(p.errs) > 0 {
		return nil, p.warnings, p.errs
	}
	return c, p.warnings, nil
}

// Text returns the file of a client as ParseClient reads it, secrets included.
func (c *ClientFile) Text() []byte {
	var b strings.Builder
	b.WriteString("[client]\n")
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s = \"%s\"\n", key, value)
		}
	}
	addr := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	routes := func(list []netip.Prefix) string {
		var words []string
		for _, p := range list {
			words = append(words, p.String())
		}
		return strings.Join(words, " ")
	}
	line("public_key", c.PublicKey)
	line("preshared_key", c.PresharedKey)
	line("ip4", addr(c.IP4))
	line("ip6", addr(c.IP6))
	line("ip4_routes", routes(c.IP4Routes))
	line("ip6_routes", routes(c.IP6Routes))
	return []byte(b.String())
}

// SortClients orders clients by name.
func SortClients(list []*ClientFile) {
	slices.SortFunc(list, func(a, b *ClientFile) int { return strings.Compare(a.Name, b.Name) })
}
