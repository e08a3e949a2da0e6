package multilink_test

import (
	"context"
	"log"
	"net/netip"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/mlvpn"
	"github.com/multilink-vpn/multilink/tun"
)

// bond carries packets between a network device and a server by two lines.
func bond(ctx context.Context, key crypto.PrivateKey, server crypto.PublicKey, addr netip.AddrPort) error {
	device, err := tun.Open(tun.Config{Name: "mlvpn0"})
	if err != nil {
		return err
	}
	client, err := mlvpn.NewClient(mlvpn.ClientConfig{
		Config: mlvpn.Config{Device: device, Key: key},
		Server: server,
	})
	if err != nil {
		return err
	}
	for _, line := range []string{"eth0", "wwan0"} {
		l, err := link.DialUDP(link.UDPConfig{Remote: addr, Interface: line})
		if err != nil {
			return err
		}
		if _, err := client.AddLink(l, mlvpn.LinkConfig{Name: line}); err != nil {
			return err
		}
	}
	return client.Run(ctx)
}

func Example() {
	server, err := crypto.ParsePublicKey("hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=")
	if err != nil {
		log.Fatal(err)
	}
	key := crypto.GeneratePrivateKey() // whose public half the server has to know
	log.Fatal(bond(context.Background(), key, server, netip.MustParseAddrPort("192.0.2.1:5080")))
}
