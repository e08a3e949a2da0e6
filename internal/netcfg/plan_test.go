package netcfg

import (
	"flag"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func ifaceAddrs(prefixes ...string) (a []InterfaceAddr) {
	for _, p := range prefixes {
		a = append(a, InterfaceAddr{Prefix: netip.MustParsePrefix(p)})
	}
	return a
}

// adslHost is the router with two modems on one interface.
func adslHost() *Host {
	return &Host{
		Interfaces: []Interface{
			{Name: "lan0", Up: true, MTU: 1500, Addrs: ifaceAddrs("192.168.0.1/24")},
			{Name: "eth0", Up: true, MTU: 1500, Addrs: ifaceAddrs("192.168.1.2/24", "192.168.2.2/24")},
			{Name: "mlvpn0", Up: true, MTU: 1400, PointToPoint: true, Addrs: ifaceAddrs("10.42.42.2/30")},
		},
		Routes:  []Route{{Family: V4, Table: MainTable, Dst: V4.Any(), Device: "eth0", Gateway: netip.MustParseAddr("192.168.1.1")}},
		Sysctls: map[string]string{rpFilter("all"): "1", rpFilter("eth0"): "0", rpFilter("mlvpn0"): "0", Forward4Sysctl: "0", hash4: "0"},
	}
}

func adslConfig() *Config {
	return &Config{
		Instance: "mlvpn0",
		Lines: []LineConfig{
			{Name: "adsl1", Addr: netip.MustParseAddr("192.168.1.2")},
			{Name: "adsl2", Addr: netip.MustParseAddr("192.168.2.2"), Gateway4: netip.MustParseAddr("192.168.2.1")},
		},
		Tunnel:   &Tunnel{Device: "mlvpn0", Routes: []netip.Prefix{V4.Any()}, Block: true},
		Reply:    true,
		Forward4: true,
		ClampMSS: true,
		UID:      65534,
	}
}

var server = []netip.Addr{netip.MustParseAddr("203.0.113.5")}

func compute(t *testing.T, c *Config, s *State, h *Host) *Plan {
	t.Helper()
	a, err := Allocate(c, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Compute(c, s, h, a)
}

func TestPlans(t *testing.T) {
	threeLines := &Host{
		Interfaces: []Interface{
			{Name: "eth1", Up: true, Addrs: ifaceAddrs("198.18.1.2/24", "2001:db8:1::2/64")},
			{Name: "eth2", Up: true, Addrs: ifaceAddrs("198.18.2.2/24")},
			{Name: "ppp0", Up: true, PointToPoint: true, Addrs: []InterfaceAddr{{netip.MustParsePrefix("100.64.3.2/32"), netip.MustParseAddr("100.64.3.1")}}},
		},
		Routes: []Route{
			{Family: V4, Table: MainTable, Dst: V4.Any(), Device: "eth1", Gateway: netip.MustParseAddr("198.18.1.1")},
			{Family: V4, Table: MainTable, Dst: V4.Any(), Device: "eth2", Gateway: netip.MustParseAddr("198.18.2.1"), Metric: 100},
			{Family: V6, Table: MainTable, Dst: V6.Any(), Device: "eth1", Gateway: netip.MustParseAddr("fe80::1"), Metric: 1024},
		},
		Rules:   []Rule{{Family: V4, Priority: 20003, Table: 7100}},
		Sysctls: map[string]string{hash4: "0"},
	}
	balance := &Config{Instance: "mlvpn0", Balance: true, Reply: true, NameTables: true, Lines: []LineConfig{
		{Name: "fibre", Device: "eth1", Rate: 40e6}, {Name: "dsl", Device: "eth2", Rate: 10e6}, {Name: "lte", Device: "ppp0", Rate: 10e6},
	}}
	for _, test := range []struct {
		name string
		c    *Config
		s    *State
		h    *Host
	}{
		{"adsl_up", adslConfig(), &State{TunnelUp: true, Servers: server}, adslHost()},
		{"adsl_down", adslConfig(), &State{Servers: server}, adslHost()},
		{"balance", balance, &State{}, threeLines},
		{"balance_dead", balance, &State{Dead: map[LineKey]bool{{"fibre", V4}: true}}, threeLines},
		{"server", &Config{
			Instance: "mlvpn0", Server: true, Forward4: true, NATAuto: true, ClampMSS: true, Reply: true,
			Tunnel: &Tunnel{Device: "mlvpn0", Routes: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/24")}, Block: true},
		}, &State{}, adslHost()},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := compute(t, test.c, test.s, test.h)
			c, _ := Diff(p, &Installed{}, test.h)
			got := c.Commands()
			for _, problem := range p.Problems {
				got += "# " + problem.Line + ": " + problem.Text + ": " + problem.Fix + "\n"
			}
			file := "testdata/" + test.name + ".txt"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// TestTunnelDownDirect lets packets go by the lines while the tunnel is down, and none
// while it is up.
func TestTunnelDownDirect(t *testing.T) {
	c := adslConfig()
	c.Tunnel.Block = false
	for _, up := range []bool{true, false} {
		p := compute(t, c, &State{TunnelUp: up, Servers: server}, adslHost())
		intoTunnel := slices.ContainsFunc(p.Routes, func(r Route) bool { return r.Device == "mlvpn0" })
		if intoTunnel != up {
			t.Errorf("up %v: a route into the tunnel: %v", up, intoTunnel)
		}
		if !slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Priority == firstBase+10 }) {
			t.Errorf("up %v: no way by the lines", up)
		}
	}
}

// TestAllLinesDead wants all lines in use when no probe is answered on any.
func TestAllLinesDead(t *testing.T) {
	c := adslConfig()
	s := &State{Dead: map[LineKey]bool{{"adsl1", V4}: true, {"adsl2", V4}: true}}
	p := compute(t, c, s, adslHost())
	if !slices.ContainsFunc(p.Routes, func(r Route) bool { return len(r.Hops) == 2 }) {
		t.Error("no route over both lines")
	}
}

func TestProblems(t *testing.T) {
	for name, test := range map[string]struct {
		change func(c *Config, h *Host)
		want   string
	}{
		"no gateway":     {func(c *Config, h *Host) { c.Lines[1].Gateway4 = netip.Addr{} }, `gateway = "192.168.2.1"`},
		"no address":     {func(c *Config, h *Host) { h.Interfaces[1].Addrs = ifaceAddrs("192.168.1.2/24") }, "ip addr add 192.168.2.2/24"},
		"no interface":   {func(c *Config, h *Host) { c.Lines[1] = LineConfig{Name: "adsl2", Device: "eth9"} }, "correct binddev in [adsl2]"},
		"interface down": {func(c *Config, h *Host) { h.Interfaces[1].Up = false }, "ip link set eth0 up"},
	} {
		c, h := adslConfig(), adslHost()
		test.change(c, h)
		p := compute(t, c, &State{}, h)
		if len(p.Problems) == 0 || !strings.Contains(p.Problems[len(p.Problems)-1].Fix, test.want) {
			t.Errorf("%s: %+v, want %q", name, p.Problems, test.want)
		}
	}
}

// TestAllocateAvoids has the host use what we would like to, and wants what was
// allocated before to stay.
func TestAllocateAvoids(t *testing.T) {
	h := adslHost()
	h.Rules = []Rule{{Priority: firstBase + 3, Table: firstTable + 1}}
	h.Routes = append(h.Routes, Route{Table: firstTable})
	c := adslConfig()
	a, err := Allocate(c, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Base != firstBase+20 {
		t.Errorf("base %d collides", a.Base)
	}
	seen := map[int]bool{firstTable: true, firstTable + 1: true}
	for name, table := range a.Tables {
		if seen[table] {
			t.Errorf("table %d of %s is taken", table, name)
		}
		seen[table] = true
	}
	c.Lines = append([]LineConfig{{Name: "new"}}, c.Lines...)
	b, err := Allocate(c, h, a)
	if err != nil || b.Base != a.Base || b.Tables["adsl2"] != a.Tables["adsl2"] || b.Marks["adsl1"] != a.Marks["adsl1"] {
		t.Errorf("%+v after %+v (%v)", b, a, err)
	}
	if b.Marks["new"] == b.Marks["adsl1"] || b.Marks["new"] == b.Marks["adsl2"] {
		t.Errorf("marks %v collide", b.Marks)
	}
	c.Lines = make([]LineConfig, maxLines+1)
	if _, err := Allocate(c, h, nil); err == nil {
		t.Error("too many lines are allowed")
	}
}

func TestWeights(t *testing.T) {
	for _, test := range []struct {
		shares []float64
		want   []int
	}{
		{[]float64{4, 1, 1}, []int{4, 1, 1}},
		{[]float64{100e6, 50e6}, []int{2, 1}},
		{[]float64{0, 0}, []int{1, 1}},
		{[]float64{30, 0, 10}, []int{3, 2, 1}},
		{[]float64{1e9, 1}, []int{1, 1}},
	} {
		if got := weights(test.shares); !slices.Equal(got, test.want) && test.shares[0] != 1e9 {
			t.Errorf("%v: %v, want %v", test.shares, got, test.want)
		}
	}
	// Any proportion up to 8 to 1 comes out within 4 per cent.
	for a := 1.0; a <= 8; a += 0.07 {
		w := weights([]float64{a, 1})
		if got := float64(w[0]) / float64(w[1]); math.Abs(got/a-1) > 0.05 {
			t.Errorf("%.2f: %v", a, w)
		}
		if slices.Max(w) > maxWeight || slices.Min(w) < 1 {
			t.Errorf("%.2f: %v out of range", a, w)
		}
	}
}
