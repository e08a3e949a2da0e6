package daemon

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/mlvpn"
)

const filterText = `
[filters]
lte = "udp port 5060"
dsl = "tcp"
@drop = "udp"
@duplicate = "icmp[icmptype] = icmp-echo"
@lowest_latency = "ip[1] & 0xfc == 0xb8"
@unordered = "udp portrange 10000-20000"
`

func TestCompileFilters(t *testing.T) {
	c := parse(t, clientText+filterText)
	rules, err := compileFilters(c)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		link   string
		action mlvpn.Action
	}{{"lte", 0}, {"dsl", 0}, {"", mlvpn.Drop}, {"", mlvpn.Duplicate}, {"", mlvpn.LowestLatency}, {"", mlvpn.Unordered}}
	for i, r := range rules {
		if i >= len(want) || r.Link != want[i].link || r.Action != want[i].action {
			t.Errorf("rule %d: link %q, action %d", i, r.Link, r.Action)
		}
	}
	sip := append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0x13, 0xc4}, 0, 8, 0, 0)
	var matches []bool
	for _, r := range rules {
		matches = append(matches, r.Match(sip))
	}
	if !slices.Equal(matches, []bool{true, false, true, false, false, false}) {
		t.Errorf("a SIP packet matches %v", matches)
	}

	c.Filters[0].Expression, c.Filters[2].Expression = "udp prt 5060", "arp"
	_, err = compileFilters(c)
	if err == nil || strings.Count(err.Error(), "mlvpn.conf:") != 2 || !strings.Contains(err.Error(), "prt") {
		t.Errorf("error %v, want one that names two lines", err)
	}
	c.Device = conf.TAP
	c.Filters[0].Expression = "ether multicast"
	if rules, err = compileFilters(c); err != nil || !rules[2].Match(append(make([]byte, 12), 8, 6)) {
		t.Errorf("on a TAP device: error %v, or an ARP frame does not match", err)
	}
}

type ruleTaker struct{ rules []mlvpn.Rule }

func (*ruleTaker) Run(context.Context) error           { return nil }
func (r *ruleTaker) SetRules(rules []mlvpn.Rule) error { r.rules = rules; return nil }

func TestReloadFilters(t *testing.T) {
	old := &settings{conf: parse(t, clientText+filterText)}
	same := &settings{conf: parse(t, "# a comment\n"+clientText+filterText)}
	other := &settings{conf: parse(t, clientText), rules: []mlvpn.Rule{{Link: "lte"}}}
	taker := &ruleTaker{}
	p := filterPart{taker}
	if commit, _, err := p.prepare(old, same); commit != nil || err != nil {
		t.Errorf("the same filters on other lines: something to do, or error %v", err)
	}
	commit, _, err := p.prepare(old, other)
	if commit == nil || err != nil {
		t.Fatalf("other filters: nothing to do, or error %v", err)
	}
	if what := commit(); len(taker.rules) != 1 || !strings.Contains(what, "1 filter") {
		t.Errorf("%d rules, %q", len(taker.rules), what)
	}
}
