package mlvpn_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/link/linksim"
	"github.com/multilink-vpn/multilink/mlvpn"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// A client and a server in one process, over two simulated lines. A real program uses
// tun.Open for the devices, link.DialUDP for the links and link.ListenUDP for the
// sockets; nothing else changes.
func Example() {
	serverKey, clientKey := crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey()
	serverDevice, clientDevice := tuntest.New(tuntest.Config{}), tuntest.New(tuntest.Config{})

	server, err := mlvpn.NewServer(mlvpn.ServerConfig{
		Config:  mlvpn.Config{Device: serverDevice, Key: serverKey},
		Clients: []mlvpn.Peer{{Name: "alice", Key: clientKey.Public()}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	up := make(chan struct{})
	client, err := mlvpn.NewClient(mlvpn.ClientConfig{
		Config: mlvpn.Config{Device: clientDevice, Key: clientKey, OnEvent: func(ev mlvpn.Event) {
			if ev.Kind == mlvpn.SessionUp {
				close(up)
			}
		}},
		Server: serverKey.Public(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	network := linksim.NewNetwork(1)
	address := netip.MustParseAddrPort("203.0.113.1:5080")
	socket, err := network.Listen(address)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := server.AddSocket(socket, mlvpn.LinkConfig{Name: "wan"}); err != nil {
		fmt.Println(err)
		return
	}
	for i, name := range []string{"dsl", "lte"} {
		local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}), 0)
		line := linksim.Profile{Delay: 5 * time.Millisecond}
		l, err := network.Dial(local, address, line, line)
		if err != nil {
			fmt.Println(err)
			return
		}
		if _, err := client.AddLink(l, mlvpn.LinkConfig{Name: name}); err != nil {
			fmt.Println(err)
			return
		}
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- server.Run(ctx) }()
	go func() { ended <- client.Run(ctx) }()
	<-up

	// The client's host sends a packet; it comes out at the server's host.
	from, to := netip.MustParseAddrPort("10.0.0.2:1000"), netip.MustParseAddrPort("10.0.0.1:7")
	if err := clientDevice.Inject(tuntest.UDP4(from, to, []byte("hello over any line"))); err != nil {
		fmt.Println(err)
		return
	}
	buf := make([]byte, 2048)
	n, err := serverDevice.Receive(buf)
	if err != nil {
		fmt.Println(err)
		return
	}
	payload, err := tuntest.Payload(buf[:n])
	fmt.Printf("%s, %v\n", payload, err)

	cancel()
	fmt.Println(<-ended)
	fmt.Println(<-ended)
	// Output:
	// hello over any line, <nil>
	// context canceled
	// context canceled
}

func ExampleNewServer() {
	alice := crypto.GeneratePrivateKey() // alice keeps it; the server knows the public key
	server, err := mlvpn.NewServer(mlvpn.ServerConfig{
		Config: mlvpn.Config{Device: tuntest.New(tuntest.Config{}), Key: crypto.GeneratePrivateKey()},
		Clients: []mlvpn.Peer{{
			Name:     "alice",
			Key:      alice.Public(),
			Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32"), netip.MustParsePrefix("192.168.7.0/24")},
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// Clients may come and go later, too.
	fmt.Println(server.AddClient(mlvpn.Peer{Name: "alice", Key: crypto.GeneratePrivateKey().Public()}) != nil)
	fmt.Println(server.RemoveClient(alice.Public()))
	// Output:
	// true
	// <nil>
}

func ExampleNewClient() {
	_, err := mlvpn.NewClient(mlvpn.ClientConfig{
		Config: mlvpn.Config{Device: tuntest.New(tuntest.Config{}), Key: crypto.GeneratePrivateKey()},
	})
	fmt.Println(err)
	// Output: mlvpn: no server key: set ClientConfig.Server
}

func ExampleClient_AddLink() {
	client, err := mlvpn.NewClient(mlvpn.ClientConfig{
		Config: mlvpn.Config{Device: tuntest.New(tuntest.Config{}), Key: crypto.GeneratePrivateKey()},
		Server: crypto.GeneratePrivateKey().Public(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A link is anything that implements link.Link. Here, one end of a simulated line.
	var dsl, lte link.Link
	dsl, _ = linksim.Pair(linksim.Profile{Rate: 2_500_000}, linksim.Profile{Rate: 12_500_000}, 1)
	lte, _ = linksim.Pair(linksim.Profile{}, linksim.Profile{}, 2)

	// 20 Mbit/s up and 100 down; the server learns the latter from the client.
	id, err := client.AddLink(dsl, mlvpn.LinkConfig{Name: "dsl", Bandwidth: 2_500_000, PeerBandwidth: 12_500_000})
	fmt.Println(id, err)
	// A metered line, used only while no other works.
	id, err = client.AddLink(lte, mlvpn.LinkConfig{Name: "lte", Fallback: true})
	fmt.Println(id, err)
	fmt.Println(client.RemoveLink(id))
	// Output:
	// 1 <nil>
	// 2 <nil>
	// <nil>
}

func ExampleServer_Stats() {
	server, err := mlvpn.NewServer(mlvpn.ServerConfig{
		Config: mlvpn.Config{Device: tuntest.New(tuntest.Config{}), Key: crypto.GeneratePrivateKey()},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	stats := server.Stats()
	for _, s := range stats.Sessions {
		for _, l := range s.Links {
			fmt.Printf("%s: %s is %v, round trip %v\n", s.Peer, l.Name, l.State, l.RTT)
		}
	}
	fmt.Println(len(stats.Sessions), "sessions,", stats.Drops.BadHandshakes, "bad handshakes")
	// Output: 0 sessions, 0 bad handshakes
}
