package netcfg

import (
	"errors"
	"net/netip"
	"testing"
)

func TestCheckLines(t *testing.T) {
	right := map[string]Way{
		"192.168.1.2": {Device: "eth0", Gateway: netip.MustParseAddr("192.168.1.1")},
		"192.168.2.2": {Device: "eth0", Gateway: netip.MustParseAddr("192.168.2.1")},
	}
	for name, test := range map[string]struct {
		second Way
		want   string
	}{
		"right":         {right["192.168.2.2"], ""},
		"wrong gateway": {right["192.168.1.2"], "wrong-gateway"},
		"wrong line":    {Way{Device: "lan0"}, "wrong-line"},
		"no route":      {Way{Err: errors.New("network is unreachable")}, "no-route"},
	} {
		way := func(src netip.Addr, device string, to netip.Addr) Way {
			if src.String() == "192.168.2.2" {
				return test.second
			}
			return right[src.String()]
		}
		problems, good := CheckLines(adslConfig(), adslHost(), server, way)
		switch {
		case test.want == "" && (len(problems) > 0 || len(good) != 2):
			t.Errorf("%s: %+v, %d lines are good", name, problems, len(good))
		case test.want != "" && (len(problems) != 1 || problems[0].Code != test.want || problems[0].Line != "adsl2" || len(good) != 1):
			t.Errorf("%s: %+v, %d lines are good", name, problems, len(good))
		}
	}
}

func TestCheckHost(t *testing.T) {
	codes := func(problems []Problem) map[string]bool {
		m := make(map[string]bool)
		for _, p := range problems {
			m[p.Code] = true
		}
		return m
	}
	got := codes(CheckHost(adslConfig(), adslHost()))
	if !got["rp-filter"] || !got["forwarding"] {
		t.Errorf("%v", got)
	}
	h := adslHost()
	h.Sysctls[rpFilter("eth0")], h.Sysctls[Forward4Sysctl] = "2", "1"
	if got := CheckHost(adslConfig(), h); len(got) != 0 {
		t.Errorf("%v on a host that is fine", got)
	}

	c := adslConfig()
	c.Tunnel.Routes = append(c.Tunnel.Routes, netip.MustParsePrefix("10.0.0.0/8"))
	if got := CheckRules(c, adslHost()); len(got) != 0 {
		t.Errorf("%v on a host that is fine", got)
	}
	h = adslHost()
	h.Rules = []Rule{{Family: V4, Priority: 100, Table: 42}, {Family: V4, Priority: 0, Table: 255}}
	h.Routes = append(h.Routes,
		Route{Family: V4, Table: MainTable, Dst: netip.MustParsePrefix("10.0.0.0/8"), Device: "lan0"},
		Route{Family: V4, Table: MainTable, Dst: netip.MustParsePrefix("128.0.0.0/1"), Device: "tun1"})
	got = codes(CheckRules(c, h))
	if !got["earlier-rule"] || !got["other-vpn"] || !got["route-taken"] {
		t.Errorf("%v", got)
	}
}
