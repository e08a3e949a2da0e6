package daemon

import (
	"context"

	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// A tunnel is either end, as mlvpn.Client and mlvpn.Server implement it.
type tunnel interface {
	Run(ctx context.Context) error
	SetRules(rules []mlvpn.Rule) error
	measured
}

// clientTunnel is the end that has the links, as mlvpn.Client and mlvpn.Legacy
// implement it.
type clientTunnel interface {
	tunnel
	AddLink(l link.Link, cfg mlvpn.LinkConfig) (mlvpn.LinkID, error)
	UpdateLink(id mlvpn.LinkID, cfg mlvpn.LinkConfig) error
	ReplaceLink(id mlvpn.LinkID, l link.Link) error
	RemoveLink(id mlvpn.LinkID) error
}

// serverTunnel is the end where the links arrive, as mlvpn.Server and mlvpn.Legacy
// implement it.
type serverTunnel interface {
	tunnel
	AddSocket(s link.Socket, cfg mlvpn.LinkConfig) error
	UpdateSocket(s link.Socket, cfg mlvpn.LinkConfig) error
	RemoveSocket(s link.Socket) error
	AddListener(l link.Listener, cfg mlvpn.LinkConfig) error
	UpdateListener(l link.Listener, cfg mlvpn.LinkConfig) error
	RemoveListener(l link.Listener) error
}
