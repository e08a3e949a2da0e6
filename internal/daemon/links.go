package daemon

import (
	"fmt"
	"slices"
	"strings"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/fib"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// links are the links of a running daemon. They follow the configuration, and a link
// that has used up its quota.
type links interface {
	part

	// spent says whether the link has used up its quota.
	spent(name string, is bool)

	// close ends what the links need besides the tunnel, once that has ended.
	close()
}

// linkConfig turns a section of the configuration into what the library wants.
func linkConfig(c *conf.Config, l *conf.Link, spent bool) mlvpn.LinkConfig {
	// A link overflows when the preferred ones are full, and with a configured rate that
	// is known of those that are held to it.
	overflows := slices.ContainsFunc(c.Links, func(l conf.Link) bool { return l.Overflow })
	return mlvpn.LinkConfig{
		Name:             l.Name,
		Bandwidth:        l.BandwidthUpload,
		PeerBandwidth:    l.BandwidthDownload,
		Pace:             overflows && l.BandwidthUpload > 0,
		Fallback:         l.FallbackOnly || spent,
		Cost:             uint8(l.Cost),
		Overflow:         l.Overflow && !spent,
		Timeout:          l.Timeout,
		LossTolerance:    tolerance(l.LossTolerance),
		LatencyTolerance: l.LatencyTolerance,
	}
}

// linkChanges says in words what has become of the links of a configuration.
type linkChanges struct{ added, removed, moved, changed []string }

func (c *linkChanges) String() string {
	var parts []string
	for _, p := range []struct {
		what  string
		names []string
	}{{"added", c.added}, {"removed", c.removed}, {"moved", c.moved}, {"changed", c.changed}} {
		if len(p.names) > 0 {
			parts = append(parts, fmt.Sprintf("links %s: %s", p.what, strings.Join(p.names, ", ")))
		}
	}
	return strings.Join(parts, "; ")
}

// compareLinks returns how the links of two configurations differ, by name.
func compareLinks(old, new *conf.Config) (c linkChanges) {
	for i := range new.Links {
		l := &new.Links[i]
		was := findLink(old, l.Name)
		switch {
		case was == nil:
			c.added = append(c.added, l.Name)
		case !sameWay(was, l):
			c.moved = append(c.moved, l.Name)
		case linkConfig(old, was, false) != linkConfig(new, l, false):
			c.changed = append(c.changed, l.Name)
		}
	}
	for _, l := range old.Links {
		if findLink(new, l.Name) == nil {
			c.removed = append(c.removed, l.Name)
		}
	}
	return c
}

// findLink returns the link called name, or nil.
func findLink(c *conf.Config, name string) *conf.Link {
	for i := range c.Links {
		if c.Links[i].Name == name {
			return &c.Links[i]
		}
	}
	return nil
}

// useTables makes the routing tables of all links fit to be used.
func useTables(tables *fib.Tables, c *conf.Config) error {
	for i := range c.Links {
		l := &c.Links[i]
		if err := tables.Use(l.BindFIB); err != nil {
			return fmt.Errorf("%s:%d: bindfib of [%s]: %w", c.File, l.Line, l.Name, err)
		}
	}
	return nil
}
