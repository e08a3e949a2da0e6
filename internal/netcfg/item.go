package netcfg

import (
	"fmt"
	"net/netip"
	"strings"
)

// MainTable is the routing table that is used without a rule of ours.
const MainTable = 254

// Protocol is the origin that our routes and rules carry, a number that nobody has been
// assigned.
const Protocol = 187

// A Rule is a rule of the routing policy. Its zero fields match anything.
type Rule struct {
	Family   Family
	Priority int
	From, To netip.Prefix
	OIF      string
	Local    bool   // only packets of this host's own: iif lo
	Mark     uint32 // under Mask, which is 0 when the mark does not matter
	Mask     uint32
	IPProto  int // 6 or 17
	DPort    uint16
	UID      uint32 // if HasUID
	HasUID   bool
	Table    int
	Specific bool // no default route from Table: suppress_prefixlength 0
	Ours     bool `json:"-"` // made by a Multilink, seen by its origin
}

// String returns the rule as ip-rule(8) takes it.
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pref %d", r.Priority)
	if r.From.IsValid() {
		fmt.Fprintf(&b, " from %s", host(r.From))
	} else {
		b.WriteString(" from all")
	}
	if r.To.IsValid() {
		fmt.Fprintf(&b, " to %s", host(r.To))
	}
	if r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark %#x/%#x", r.Mark, r.Mask)
	}
	if r.Local {
		b.WriteString(" iif lo")
	}
	if r.OIF != "" {
		fmt.Fprintf(&b, " oif %s", r.OIF)
	}
	if r.HasUID {
		fmt.Fprintf(&b, " uidrange %d-%d", r.UID, r.UID)
	}
	if r.IPProto != 0 {
		fmt.Fprintf(&b, " ipproto %d dport %d", r.IPProto, r.DPort)
	}
	fmt.Fprintf(&b, " lookup %d", r.Table)
	if r.Specific {
		b.WriteString(" suppress_prefixlength 0")
	}
	return b.String()
}

// key is what makes two rules the same.
func (r Rule) key() string { return fmt.Sprintf("-%d %s", r.Family, r) }

// A RouteType says what becomes of packets.
type RouteType string

const (
	Unicast  RouteType = ""
	Prohibit RouteType = "prohibit"
	Other    RouteType = "other" // seen on hosts, never planned
)

// lastMetric is that of the routes which refuse what no other route takes.
const lastMetric = 0xff000000

// A Route is a route. Each has an interface of its own or next hops, but for those that
// refuse.
type Route struct {
	Family  Family
	Table   int
	Dst     netip.Prefix
	Type    RouteType
	Device  string
	Gateway netip.Addr
	OnLink  bool // the gateway is reached although no address says so
	Src     netip.Addr
	Metric  uint32
	Hops    []NextHop // at least two, or none
	Ours    bool      `json:"-"` // made by a Multilink, seen by its origin
}

// A NextHop is one way of a route that has several.
type NextHop struct {
	Device  string
	Gateway netip.Addr
	OnLink  bool
	Weight  int // 1 to 256
}

// String returns the route as ip-route(8) takes it.
func (r Route) String() string {
	var b strings.Builder
	if r.Type != Unicast {
		b.WriteString(string(r.Type) + " ")
	}
	if r.Dst.Bits() == 0 {
		b.WriteString("default")
	} else {
		b.WriteString(r.Dst.String())
	}
	via(&b, r.Gateway, r.Device, r.OnLink && len(r.Hops) == 0)
	if r.Src.IsValid() {
		fmt.Fprintf(&b, " src %s", r.Src)
	}
	fmt.Fprintf(&b, " table %d", r.Table)
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	for _, h := range r.Hops {
		b.WriteString(" nexthop")
		via(&b, h.Gateway, h.Device, false)
		fmt.Fprintf(&b, " weight %d", h.Weight)
		if h.OnLink {
			b.WriteString(" onlink")
		}
	}
	return b.String()
}

func via(b *strings.Builder, gateway netip.Addr, device string, onlink bool) {
	if gateway.IsValid() {
		fmt.Fprintf(b, " via %s", gateway.WithZone(""))
	}
	if device != "" {
		fmt.Fprintf(b, " dev %s", device)
	}
	if onlink {
		b.WriteString(" onlink")
	}
}

// slot is what only one route can have: adding another there replaces it.
func (r Route) slot() string {
	return fmt.Sprintf("-%d table %d %s metric %d", r.Family, r.Table, r.Dst, r.Metric)
}

// same reports whether r, as seen on a host, is what w plans. The kernel's flag for
// gateways is not always shown again, and is no difference.
func (r Route) same(w Route) bool {
	strip := func(x Route) string {
		x.OnLink = false
		if x.Type == Prohibit {
			x.Device = ""
		}
		hops := make([]NextHop, len(x.Hops))
		for i, h := range x.Hops {
			h.OnLink = false
			hops[i] = h
		}
		x.Hops = hops
		return fmt.Sprintf("-%d %s", x.Family, x)
	}
	return strip(r) == strip(w)
}

// A Sysctl is a kernel setting.
type Sysctl struct {
	Name  string // as a path below /proc/sys
	Value string
}

// A File is a small file that belongs to the plan.
type File struct {
	Path, Content string
}

// host returns a prefix as ip(8) shows it: without the length if it is one address.
func host(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
