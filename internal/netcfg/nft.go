package netcfg

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"strings"
)

// Marks. A packet's and a connection's mark says which line it belongs to; a
// connection's also whether it came in by it or goes out by it.
const (
	idMask  = 0x1f000000
	inbound = 0x20000000
	ctMask  = idMask | inbound
	idShift = 24

	// ConnMask are the bits of a connection's mark that are ours. Those of one that goes
	// out by a line are the line's mark.
	ConnMask = ctMask
)

func lineMark(id int) uint32 { return uint32(id) << idShift }

// NFT is our nftables table, of the family inet.
type NFT struct {
	Name   string
	Chains []Chain
}

// A Chain is a base chain that accepts what it has no verdict for.
type Chain struct {
	Name     string
	Type     string // filter, nat or route
	Hook     string
	Priority int
	Rules    []NFTRule
}

// The priorities of hooks, as nft(8) names them.
const (
	mangle = -150
	srcnat = 100
)

// An NFTRule matches by those of its first fields that are set, and does one thing.
type NFTRule struct {
	Family    Family // 0: both
	IIF, OIF  string
	Src       netip.Addr // not from here
	Dst       netip.Addr
	NextHop   netip.Addr // of the route that was chosen
	New       bool       // the connection's first packet
	Direction string     // original or reply
	CTMask    uint32
	CTMark    uint32 // under CTMask
	SYN       bool
	Unmarked  bool // the packet: nobody else has an intention with it

	SetCT      bool // the connection's mark becomes Mark in its bits
	SetMark    bool // the packet's
	Mark       uint32
	MarkMask   uint32
	SNAT       netip.Addr
	Masquerade bool
	ClampRoute bool   // the MSS to the MTU of the route
	MSS        uint16 // the MSS to at most this
}

// TableName returns the name of an instance's table.
func TableName(instance string) string {
	return "mlvpn_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, instance)
}

// Fingerprint tells tables of different contents apart.
func (n *NFT) Fingerprint() string {
	h := fnv.New64a()
	h.Write([]byte(n.String()))
	return fmt.Sprintf("v%016x", h.Sum64())
}

// firewall plans the table, or none if there is nothing to put in.
func firewall(c *Config, h *Host, all []line) *NFT {
	var pre, out, post, nat, fwd []NFTRule
	balanced := !c.Server && (c.Balance || c.Tunnel != nil)
	for _, l := range all {
		id := lineMark(l.id)
		if c.Reply {
			in := NFTRule{Family: l.key.Family, IIF: l.device, New: true, CTMask: ctMask, SetCT: true, Mark: id | inbound, MarkMask: ctMask}
			if l.mixed {
				for _, a := range l.addrs {
					in.Dst = a
					pre = append(pre, in)
				}
			} else {
				pre = append(pre, in)
			}
			back := NFTRule{Family: l.key.Family, Direction: "reply", Unmarked: true, CTMask: ctMask, CTMark: id | inbound, SetMark: true, Mark: id, MarkMask: idMask}
			pre, out = append(pre, back), append(out, back)
		}
		if !balanced {
			continue
		}
		onward := NFTRule{Family: l.key.Family, Direction: "original", Unmarked: true, CTMask: ctMask, CTMark: id, SetMark: true, Mark: id, MarkMask: idMask}
		pre, out = append(pre, onward), append(out, onward)
		first := NFTRule{Family: l.key.Family, OIF: l.device, New: true, Unmarked: true, CTMask: ctMask, SetCT: true, Mark: id, MarkMask: ctMask}
		if l.mixed && l.gateway.IsValid() {
			first.NextHop = l.gateway
		}
		post = append(post, first)
		nat = append(nat, NFTRule{Family: l.key.Family, OIF: l.device, Src: l.addrs[0], CTMask: ctMask, CTMark: id, SNAT: l.addrs[0]})
	}
	if dev := natDevice(c, h); dev != "" {
		r := NFTRule{OIF: dev, Masquerade: true}
		if c.Server && c.Tunnel != nil {
			r.IIF = c.Tunnel.Device
		}
		nat = append(nat, r)
	}
	if c.ClampMSS && c.Tunnel != nil {
		fwd = append(fwd, NFTRule{OIF: c.Tunnel.Device, SYN: true, ClampRoute: true})
		if dev := h.Interface(c.Tunnel.Device); dev != nil && dev.MTU > 100 {
			fwd = append(fwd,
				NFTRule{Family: V4, IIF: c.Tunnel.Device, SYN: true, MSS: uint16(min(dev.MTU-40, 0xffff))},
				NFTRule{Family: V6, IIF: c.Tunnel.Device, SYN: true, MSS: uint16(min(dev.MTU-60, 0xffff))})
		}
	}
	n := &NFT{Name: TableName(c.Instance)}
	for _, chain := range []Chain{
		{"prerouting", "filter", "prerouting", mangle, pre},
		{"output", "route", "output", mangle, out},
		{"forward", "filter", "forward", mangle, fwd},
		{"postrouting", "filter", "postrouting", mangle, post},
		{"nat", "nat", "postrouting", srcnat, nat},
	} {
		if len(chain.Rules) > 0 {
			n.Chains = append(n.Chains, chain)
		}
	}
	if len(n.Chains) == 0 {
		return nil
	}
	return n
}

// natDevice returns the interface on which forwarded packets get the host's address.
func natDevice(c *Config, h *Host) string {
	if !c.NATAuto {
		return c.NAT
	}
	if !c.Server {
		if c.Tunnel == nil {
			return ""
		}
		return c.Tunnel.Device
	}
	for _, r := range h.defaults(V4) {
		if r.Device != "" && (c.Tunnel == nil || r.Device != c.Tunnel.Device) {
			return r.Device
		}
	}
	return ""
}

// String returns the table as nft(8) takes it.
func (n *NFT) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", n.Name)
	for _, c := range n.Chains {
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype %s hook %s priority %d; policy accept;\n", c.Name, c.Type, c.Hook, c.Priority)
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "\t\t%s\n", r)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// String returns the rule as nft(8) takes it.
func (r NFTRule) String() string {
	var w []string
	add := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	switch r.Family {
	case V4:
		add("meta nfproto ipv4")
	case V6:
		add("meta nfproto ipv6")
	}
	if r.IIF != "" {
		add("iifname %q", r.IIF)
	}
	if r.OIF != "" {
		add("oifname %q", r.OIF)
	}
	if r.Src.IsValid() {
		add("%s saddr != %s", ipWord(r.Src), r.Src)
	}
	if r.Dst.IsValid() {
		add("%s daddr %s", ipWord(r.Dst), r.Dst)
	}
	if r.NextHop.IsValid() {
		add("rt %s nexthop %s", ipWord(r.NextHop), r.NextHop.WithZone(""))
	}
	if r.New {
		add("ct state new")
	}
	if r.Direction != "" {
		add("ct direction %s", r.Direction)
	}
	if r.CTMask != 0 {
		add("ct mark and %#x == %#x", r.CTMask, r.CTMark)
	}
	if r.Unmarked {
		add("meta mark 0")
	}
	if r.SYN {
		add("tcp flags syn / syn,rst")
	}
	switch {
	case r.SetCT:
		add("ct mark set ct mark and %#x xor %#x", ^r.MarkMask, r.Mark)
	case r.SetMark:
		add("meta mark set meta mark and %#x xor %#x", ^r.MarkMask, r.Mark)
	case r.SNAT.IsValid():
		add("snat %s to %s", ipWord(r.SNAT), r.SNAT)
	case r.Masquerade:
		add("masquerade")
	case r.ClampRoute:
		add("tcp option maxseg size set rt mtu")
	case r.MSS != 0:
		add("tcp option maxseg size > %d tcp option maxseg size set %d", r.MSS, r.MSS)
	}
	return strings.Join(w, " ")
}

func ipWord(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ip6"
}
