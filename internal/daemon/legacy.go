package daemon

import (
	"cmp"
	"net/netip"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// newServer makes a server without links.
func newServer(now *settings, shared mlvpn.Config) (serverTunnel, error) {
	if now.conf.Compat != "" {
		return mlvpn.NewLegacy(legacyConfig(now.conf, shared))
	}
	return mlvpn.NewServer(serverConfig(now, shared))
}

// legacyConfig is that of an end whose other end is a C MLVPN. That the risk is accepted
// was checked when the file was read.
func legacyConfig(c *conf.Config, shared mlvpn.Config) mlvpn.LegacyConfig {
	return mlvpn.LegacyConfig{
		Config:     shared,
		Password:   c.Password,
		Server:     c.Mode == conf.Server,
		ClearData:  c.ClearData,
		AcceptRisk: true,
	}
}

// maxPayload4 and maxPayload6 are the longest datagrams that fit a packet of 1500 bytes
// over IPv4 and IPv6. A socket that takes both sends no longer ones than fit either.
const (
	maxPayload4 = 1472
	maxPayload6 = 1452
)

// maxPayload returns the longest datagram that a link can send, as far as is known before
// names are looked up.
func maxPayload(l *conf.Link) int {
	for _, host := range []string{l.BindHost, l.RemoteHost} {
		if a, err := netip.ParseAddr(host); err == nil && a.Is4() {
			return maxPayload4
		}
	}
	return maxPayload6
}

// tunnelMTU returns the MTU of the tunnel. The C MLVPN lets its datagrams be fragmented,
// which ours are not: with it, what this end sends must be shorter than what its default
// allows. What it sends may be longer.
func tunnelMTU(c *conf.Config) int {
	mtu := cmp.Or(c.MTU, defaultMTU)
	if c.Compat == "" {
		return mtu
	}
	most := maxPayload4
	for i := range c.Links {
		most = min(most, maxPayload(&c.Links[i]))
	}
	most -= mlvpn.LegacyOverhead
	if c.Device == conf.TAP {
		most -= 14 // Ethernet
	}
	return min(mtu, most)
}
