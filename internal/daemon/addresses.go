package daemon

import (
	"log/slog"
	"net/netip"
	"slices"

	"github.com/multilink-vpn/multilink/internal/conf"
)

// assigner gives a client's interface the addresses that the server chooses.
type assigner struct {
	conf *conf.Config
	root privileged
	log  *slog.Logger
	has  []netip.Prefix
}

// set gives the interface these addresses in the place of those of the last call.
func (a *assigner) set(addrs []netip.Prefix) {
	if a.conf.StatusCommand != "" {
		a.log.Warn("the server gives this end addresses, but a statuscommand sets up the interface: write ip4 and ip6 into the configuration instead", "addresses", addrs)
		return
	}
	gone := slices.DeleteFunc(slices.Clone(a.has), func(p netip.Prefix) bool { return slices.Contains(addrs, p) })
	if err := a.root.address(addrs, gone); err != nil {
		a.log.Error("cannot give the interface the addresses that the server has chosen", "addresses", addrs, "err", err)
		return
	}
	a.has = addrs
}

// localNetworks returns the inner networks at this end, and remoteNetworks those at the
// server's: none if any address will do.
func localNetworks(c *conf.Config) []netip.Prefix {
	return slices.Concat(c.IP4Local, c.IP6Local)
}

func remoteNetworks(c *conf.Config) []netip.Prefix {
	return slices.Concat(c.IP4Remote, c.IP6Remote)
}
