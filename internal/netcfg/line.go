package netcfg

import (
	"fmt"
	"net/netip"
	"slices"
)

// A line is an internet line as it is on the host, in one address family.
type line struct {
	key     LineKey
	id      int // from 1, in marks
	table   int
	device  string
	byDev   bool         // known by its interface, so that its addresses may change
	addrs   []netip.Addr // its own
	subnets []InterfaceAddr
	gateway netip.Addr // zero: the other end of a point-to-point interface
	onlink  bool
	mixed   bool // the interface has other addresses, too
	weight  int
	dead    bool
}

// A Problem is something about the host or the configuration that is not as it should
// be, for people.
type Problem struct {
	Severity Severity `json:"severity"`
	Line     string   `json:"line,omitempty"` // the name of the line concerned
	Code     string   `json:"code"`           // stable, for programs
	Text     string   `json:"text"`
	Fix      string   `json:"fix,omitempty"` // what to do
}

// A Severity orders problems.
type Severity string

const (
	Failure Severity = "error"   // something does not work
	Warning Severity = "warning" // something may not work
	Note    Severity = "note"
)

// lines finds the lines of a family on the host. One that is not there, or has no
// gateway, is left out and reported.
func lines(c *Config, s *State, h *Host, a *Allocation, f Family) (found []line, problems []Problem) {
	for _, lc := range c.Lines {
		if lc.Addr.IsValid() && FamilyOf(lc.Addr) != f {
			continue
		}
		l := line{key: LineKey{lc.Name, f}, id: a.Marks[lc.Name], table: a.Tables[lc.Name], dead: s.Dead[LineKey{lc.Name, f}]}
		if p := l.locate(c, &lc, h); p != nil {
			// A line with one family only is not worth a word.
			if f == V4 || lc.Addr.IsValid() || lc.Gateway6.IsValid() {
				problems = append(problems, *p)
			}
			continue
		}
		if p := l.findGateway(&lc, h); p != nil {
			if f == V4 || lc.Addr.IsValid() || lc.Gateway6.IsValid() {
				problems = append(problems, *p)
			}
			continue
		}
		// Several links may use one line.
		if slices.ContainsFunc(found, func(o line) bool {
			return o.device == l.device && o.gateway == l.gateway && slices.Equal(o.addrs, l.addrs)
		}) {
			continue
		}
		found = append(found, l)
	}
	weigh(c, s, found)
	for i := range found {
		found[i].mixed = found[i].hasOthers(h)
	}
	if !slices.ContainsFunc(found, func(l line) bool { return !l.dead }) {
		for i := range found {
			found[i].dead = false
		}
	}
	return found, problems
}

// locate finds the line's interface and addresses.
func (l *line) locate(c *Config, lc *LineConfig, h *Host) *Problem {
	name, f := lc.Name, l.key.Family
	var dev *Interface
	switch {
	case lc.Addr.IsValid():
		var addr InterfaceAddr
		dev, addr = h.owner(lc.Addr)
		if dev == nil {
			return &Problem{Failure, name, "no-address", fmt.Sprintf("no interface has the address %s", lc.Addr),
				fmt.Sprintf("give it to the line's interface, for example: ip addr add %s/24 dev eth0; or correct bindhost in [%s]", lc.Addr, name)}
		}
		if lc.Device != "" && dev.Name != lc.Device {
			return &Problem{Failure, name, "other-interface", fmt.Sprintf("the address %s is on %s, not on %s", lc.Addr, dev.Name, lc.Device),
				fmt.Sprintf("correct bindhost or binddev in [%s]", name)}
		}
		l.subnets = []InterfaceAddr{addr}
	case lc.Device != "":
		if dev = h.Interface(lc.Device); dev == nil {
			return &Problem{Failure, name, "no-interface", fmt.Sprintf("there is no interface %s", lc.Device),
				fmt.Sprintf("plug it in or correct binddev in [%s]", name)}
		}
	default:
		i := slices.IndexFunc(h.defaults(f), func(r Route) bool { return c.Tunnel == nil || r.Device != c.Tunnel.Device })
		if i < 0 {
			return &Problem{Failure, name, "no-default", fmt.Sprintf("no default route for IPv%d, and no bindhost or binddev that says which line this is", f),
				fmt.Sprintf("write binddev or bindhost in [%s]", name)}
		}
		r := h.defaults(f)[i]
		if len(r.Hops) > 0 {
			r.Device, r.Gateway = r.Hops[0].Device, r.Hops[0].Gateway
		}
		if dev = h.Interface(r.Device); dev == nil {
			return &Problem{Failure, name, "no-interface", fmt.Sprintf("there is no interface %s", r.Device), ""}
		}
	}
	l.device, l.byDev = dev.Name, lc.Device != "" || !lc.Addr.IsValid()
	if !dev.Up {
		return &Problem{Failure, name, "interface-down", fmt.Sprintf("interface %s is down or has no carrier", dev.Name),
			fmt.Sprintf("plug the cable in, or: ip link set %s up", dev.Name)}
	}
	if l.subnets == nil {
		for _, a := range dev.Addrs {
			if FamilyOf(a.Prefix.Addr()) == f && !a.Prefix.Addr().IsLinkLocalUnicast() {
				l.subnets = append(l.subnets, a)
			}
		}
	}
	for _, a := range l.subnets {
		l.addrs = append(l.addrs, a.Prefix.Addr())
	}
	if len(l.addrs) == 0 {
		return &Problem{Failure, name, "no-address", fmt.Sprintf("interface %s has no IPv%d address", dev.Name, f),
			"wait for its DHCP client, or give it an address"}
	}
	return nil
}

// findGateway finds the line's next hop: as configured, or as a default route of the
// host has it.
func (l *line) findGateway(lc *LineConfig, h *Host) *Problem {
	l.gateway = lc.Gateway4
	if l.key.Family == V6 {
		l.gateway = lc.Gateway6
	}
	if !l.gateway.IsValid() {
		for _, r := range h.defaults(l.key.Family) {
			hops := r.Hops
			if len(hops) == 0 {
				hops = []NextHop{{Device: r.Device, Gateway: r.Gateway}}
			}
			for _, hop := range hops {
				if hop.Device != l.device {
					continue
				}
				if !hop.Gateway.IsValid() && !hasPeer(h.Interface(l.device)) {
					continue
				}
				// With two modems on one interface, the gateway is that of the address's
				// own network.
				if lc.Addr.IsValid() && hop.Gateway.IsValid() && !hop.Gateway.IsLinkLocalUnicast() && !l.onLink(hop.Gateway) {
					continue
				}
				l.gateway = hop.Gateway
				l.onlink = hop.Gateway.IsValid() && !l.onLink(hop.Gateway)
				return nil
			}
		}
		if hasPeer(h.Interface(l.device)) {
			return nil
		}
		key := "gateway"
		if l.key.Family == V6 {
			key = "gateway6"
		}
		example := "192.0.2.1"
		if p := l.subnets[0].Prefix; p.Bits() < p.Addr().BitLen()-1 {
			example = p.Masked().Addr().Next().String()
		}
		return &Problem{Failure, lc.Name, "no-gateway", fmt.Sprintf("no route of the host leads from %s out by %s: the line's gateway is not known", l.addrs[0], l.device),
			fmt.Sprintf("write the modem's address in [%s], for example %s = \"%s\"", lc.Name, key, example)}
	}
	l.onlink = !l.onLink(l.gateway)
	return nil
}

// onLink reports whether an address of the line says how to reach the gateway.
func (l *line) onLink(gateway netip.Addr) bool {
	return gateway.IsLinkLocalUnicast() && gateway.Is6() || slices.ContainsFunc(l.subnets, func(a InterfaceAddr) bool {
		return a.Peer == gateway || a.Prefix.Contains(gateway)
	})
}

// hasOthers reports whether the line's interface has an address that is not the line's:
// another line's, or a local network's.
func (l *line) hasOthers(h *Host) bool {
	return slices.ContainsFunc(h.Interface(l.device).Addrs, func(a InterfaceAddr) bool {
		addr := a.Prefix.Addr()
		return FamilyOf(addr) == l.key.Family && !addr.IsLinkLocalUnicast() && !slices.Contains(l.addrs, addr)
	})
}

// hasPeer reports whether an interface has one other end, which needs no address.
func hasPeer(i *Interface) bool { return i != nil && i.PointToPoint }

// weigh gives the lines their weights.
func weigh(c *Config, s *State, found []line) {
	shares := make([]float64, len(found))
	byWeight := slices.ContainsFunc(c.Lines, func(lc LineConfig) bool { return lc.Weight > 0 })
	for i, l := range found {
		lc := c.Lines[slices.IndexFunc(c.Lines, func(lc LineConfig) bool { return lc.Name == l.key.Name })]
		switch {
		case byWeight:
			shares[i] = float64(max(1, lc.Weight))
		case lc.Rate > 0:
			shares[i] = float64(lc.Rate)
		default:
			shares[i] = float64(s.Rates[lc.Name])
		}
	}
	for i, w := range weights(shares) {
		found[i].weight = w
	}
}
