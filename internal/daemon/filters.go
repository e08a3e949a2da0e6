package daemon

import (
	"errors"
	"fmt"
	"slices"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/pcapfilter"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// compileFilters turns the [filters] section into rules. The error names every line that
// is wrong.
func compileFilters(c *conf.Config) (rules []mlvpn.Rule, err error) {
	link := pcapfilter.Raw
	if c.Device == conf.TAP {
		link = pcapfilter.Ethernet
	}
	var wrong []error
	for _, f := range c.Filters {
		compiled, err := pcapfilter.Compile(f.Expression, link)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s:%d: %w", c.File, f.Line, err))
			continue
		}
		rules = append(rules, mlvpn.Rule{Match: compiled.Match, Link: f.Link, Action: ruleAction(f.Action)})
	}
	return rules, errors.Join(wrong...)
}

func ruleAction(a conf.FilterAction) mlvpn.Action {
	switch a {
	case conf.LowestLatency:
		return mlvpn.LowestLatency
	case conf.Duplicate:
		return mlvpn.Duplicate
	case conf.Unordered:
		return mlvpn.Unordered
	case conf.Drop:
		return mlvpn.Drop
	}
	return 0
}

// filterPart lets a reload change the [filters] section.
type filterPart struct {
	tunnel interface{ SetRules([]mlvpn.Rule) error }
}

func (p filterPart) prepare(old, new *settings) (func() string, func(), error) {
	if slices.EqualFunc(old.conf.Filters, new.conf.Filters, func(a, b conf.Filter) bool {
		a.Line, b.Line = 0, 0
		return a == b
	}) {
		return nil, nil, nil
	}
	return func() string {
		if err := p.tunnel.SetRules(new.rules); err != nil {
			return "the filters stay as they were: " + err.Error()
		}
		return fmt.Sprintf("%d filters in force", len(new.rules))
	}, nil, nil
}
