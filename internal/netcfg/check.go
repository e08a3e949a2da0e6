package netcfg

import (
	"fmt"
	"net/netip"
	"slices"
)

// A Way is how the host would send a line's packets to the server now.
type Way struct {
	Device  string
	Gateway netip.Addr
	Err     error // no way at all
}

// CheckLines looks for what is wrong with the lines of a host whose routing somebody else
// looks after: each must lead to the server by its own interface and gateway. way is
// asked for the route of a line's packets. The lines that are good come back, too.
func CheckLines(c *Config, h *Host, servers []netip.Addr, way func(src netip.Addr, device string, server netip.Addr) Way) (problems []Problem, good []Probe) {
	a, err := Allocate(c, h, nil)
	if err != nil {
		return []Problem{{Failure, "", "lines", err.Error(), "remove some links"}}, nil
	}
	seen := make(map[Way]string)
	for _, f := range families() {
		found, missing := lines(c, &State{}, h, a, f)
		for _, p := range missing {
			// A gateway is looked for only to set up tables, which is not ours to do.
			if p.Code != "no-gateway" {
				problems = append(problems, p)
			}
		}
		for _, l := range found {
			name := l.key.Name
			for _, server := range servers {
				if FamilyOf(server) != f {
					continue
				}
				device := ""
				if l.byDev {
					device = l.device
				}
				w := way(l.addrs[0], device, server)
				if p := l.judge(w, server); p != nil {
					problems = append(problems, *p)
					continue
				}
				if other := seen[w]; other != "" && other != name {
					problems = append(problems, Problem{Warning, name, "same-line", fmt.Sprintf("packets to %s take the same way as those of %s", server, other), fix(name)})
				}
				seen[w] = name
				good = append(good, Probe{l.key, 0, l.addrs[0]})
			}
		}
	}
	return problems, good
}

func fix(name string) string {
	return fmt.Sprintf("write manage_network = 1 in [general], or give [%s] a routing table and a rule", name)
}

// judge says what is wrong with the way of a line's packets.
func (l *line) judge(w Way, server netip.Addr) *Problem {
	name := l.key.Name
	switch {
	case w.Err != nil:
		return &Problem{Failure, name, "no-route", fmt.Sprintf("no route leads from %s to the server %s: %v", l.addrs[0], server, w.Err), fix(name)}
	case w.Device != l.device:
		return &Problem{Failure, name, "wrong-line", fmt.Sprintf("packets from %s to the server %s leave by %s, not by the line's interface %s", l.addrs[0], server, w.Device, l.device), fix(name)}
	case w.Gateway.IsValid() && l.gateway.IsValid() && w.Gateway != l.gateway:
		return &Problem{Failure, name, "wrong-gateway", fmt.Sprintf("packets from %s to the server %s go by the gateway %s, not by %s", l.addrs[0], server, w.Gateway, l.gateway), fix(name)}
	}
	return nil
}

// CheckHost looks for settings of the host that are in the way, for a daemon that does
// not manage them.
func CheckHost(c *Config, h *Host) (problems []Problem) {
	all := number(h.Sysctls[rpFilter("all")])
	devices := make(map[string]bool)
	for _, lc := range c.Lines {
		dev := lc.Device
		if lc.Addr.IsValid() {
			if i, _ := h.owner(lc.Addr); i != nil {
				dev = i.Name
			}
		}
		if dev == "" || devices[dev] {
			continue
		}
		devices[dev] = true
		if len(c.Lines) > 1 && max(all, number(h.Sysctls[rpFilter(dev)])) == 1 {
			problems = append(problems, Problem{Warning, lc.Name, "rp-filter", fmt.Sprintf("strict reverse path filtering on %s may drop what arrives by a line that is not the default route", dev),
				fmt.Sprintf("sysctl -w net.ipv4.conf.%s.rp_filter=2; or write manage_network = 1", dev)})
		}
	}
	for _, f := range []struct {
		wanted bool
		name   string
		ip     int
	}{{c.Forward4, Forward4Sysctl, 4}, {c.Forward6, Forward6Sysctl, 6}} {
		if f.wanted && h.Sysctls[f.name] == "0" {
			problems = append(problems, Problem{Failure, "", "forwarding", fmt.Sprintf("the host does not forward IPv%d packets, so nothing behind it gets through the tunnel", f.ip),
				"write manage_network = 1, or set " + f.name + " to 1"})
		}
	}
	return problems
}

// CheckRules finds rules and routes of others that come before ours.
func CheckRules(c *Config, h *Host) (problems []Problem) {
	for _, r := range h.Rules {
		// What is selected by a mark or a source concerns those that asked for it.
		if !r.Ours && r.Priority > 0 && r.Priority < firstBase && r.Table != 255 && r.Mask == 0 && !r.From.IsValid() && !r.HasUID && !r.Specific && r.OIF == "" {
			problems = append(problems, Problem{Warning, "", "earlier-rule", fmt.Sprintf("a rule of somebody else comes before those for the lines: ip rule %s", r),
				"see whether it may stay: ip rule del pref " + fmt.Sprint(r.Priority)})
		}
	}
	if c.Tunnel == nil {
		return problems
	}
	for _, dst := range c.Tunnel.Routes {
		if dst.Bits() == 0 {
			halves := slices.ContainsFunc(h.Routes, func(r Route) bool {
				return !r.Ours && r.Table == MainTable && r.Dst.Bits() == 1 && FamilyOf(r.Dst.Addr()) == FamilyOf(dst.Addr())
			})
			if halves {
				problems = append(problems, Problem{Warning, "", "other-vpn", "another VPN has routes for half of all addresses each, which come before this tunnel's default route", "stop the other one, or leave out its default route"})
			}
			continue
		}
		i := slices.IndexFunc(h.Routes, func(r Route) bool {
			return !r.Ours && r.Table == MainTable && r.Dst == dst && r.Metric == 0 && r.Device != c.Tunnel.Device
		})
		if i >= 0 {
			problems = append(problems, Problem{Failure, "", "route-taken", fmt.Sprintf("somebody else has a route to %s by %s, which stays: the tunnel does not get these packets", dst, h.Routes[i].Device),
				fmt.Sprintf("ip route del %s, or remove it from the tunnel's routes", dst)})
		}
	}
	return problems
}
