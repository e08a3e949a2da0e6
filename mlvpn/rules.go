package mlvpn

import (
	"fmt"
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/scheduler"
)

// A Rule says how the packets that it matches are sent. Of a list of rules the first
// that matches a packet, and whose link works, decides; a packet that none matches is
// sent as if there were no rules. They go for what this end sends: the other end has
// rules of its own.
type Rule struct {
	// Match reports whether the rule is for a packet: an IP packet, or an Ethernet
	// frame if Config.Ethernet is set. It is called by one goroutine at a time, must be
	// quick, and must neither retain nor modify pkt. nil matches every packet.
	Match func(pkt []byte) bool

	// Link, if not empty, is the link that the packets go by, whatever its tier: the
	// one that either end calls so. As long as no such link works, the rule is passed
	// over.
	Link string

	// Action is what is done with the packets besides. It may be 0 if Link is set.
	Action Action
}

// An Action is a set of the following, of which Drop must be alone.
type Action uint8

const (
	// LowestLatency puts the packets before others, and on the quickest link.
	LowestLatency Action = 1 << iota
	// Duplicate sends them on two links, if there are two.
	Duplicate
	// Unordered lets the other end deliver them as they arrive.
	Unordered
	// Drop discards them.
	Drop

	allActions = LowestLatency | Duplicate | Unordered | Drop
)

func validateRules(rules []Rule) error {
	for i, r := range rules {
		switch {
		case r.Action&^allActions != 0:
			return fmt.Errorf("mlvpn: rule %d: unknown action %#x", i+1, uint8(r.Action))
		case r.Action&Drop != 0 && (r.Action != Drop || r.Link != ""):
			return fmt.Errorf("mlvpn: rule %d drops packets and does something else with them: leave one out", i+1)
		case r.Action == 0 && r.Link == "":
			return fmt.Errorf("mlvpn: rule %d does nothing: set Rule.Link or Rule.Action", i+1)
		}
	}
	return nil
}

// SetRules replaces the rules of the configuration. Packets that wait already are sent
// by the old ones. The Client makes a copy of rules.
func (c *Client) SetRules(rules []Rule) error { return c.e.setRules(rules) }

// SetRules replaces the rules of the configuration. Packets that wait already are sent
// by the old ones. The Server makes a copy of rules.
func (v *Server) SetRules(rules []Rule) error { return v.e.setRules(rules) }

func (e *engine) setRules(rules []Rule) error {
	if err := validateRules(rules); err != nil {
		return err
	}
	rules = slices.Clone(rules)
	return e.call(func(time.Time) { e.sender.rules = rules })
}

// apply finds the rule for a packet, notes in p how it is to be treated, and reports
// whether it is to be sent at all.
func (s *sender) apply(ses *Session, p *packet) bool {
	for i := range s.rules {
		r := &s.rules[i]
		if r.Match != nil && !r.Match(p.payload()) || r.Link != "" && ses.tx.current.named(r.Link) == 0 {
			continue
		}
		if r.Action&Drop != 0 {
			return false
		}
		if r.Action&LowestLatency != 0 {
			p.class = scheduler.Interactive
		}
		if r.Action&Duplicate != 0 && ses.legacy == nil {
			p.copies = 1
		}
		if r.Action&Unordered != 0 {
			p.ordered, p.equal = false, false
		}
		p.only = r.Link
		break
	}
	return true
}

// named returns the views of the usable paths that either end calls by a name.
func (ep *epoch) named(link string) (set scheduler.PathSet) {
	for i, p := range ep.tx.active {
		if i < scheduler.MaxPathSet && ep.tx.views[i].Usable && (p.tx.cfg.Name == link || p.tx.peer.name == link) {
			set = set.With(i)
		}
	}
	return set
}
