package linksim_test

import (
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/link/linksim"
)

func ExamplePair() {
	// A line of 50 Mbit/s down and 10 up, 4 ms away.
	up := linksim.Profile{Rate: 1_250_000, Delay: 4 * time.Millisecond, Overhead: linksim.OverheadUDP4}
	down := up
	down.Rate = 6_250_000
	home, server := linksim.Pair(up, down, 1)
	defer home.Close()
	defer server.Close()

	if _, err := home.Send([][]byte{[]byte("hello"), []byte("world")}); err != nil {
		log.Fatal(err)
	}
	bufs, sizes := [][]byte{make([]byte, 1500)}, make([]int, 1)
	for range 2 {
		if _, err := server.Receive(bufs, sizes); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", bufs[0][:sizes[0]])
	}
	// Output:
	// hello
	// world
}

func ExampleNetwork() {
	network := linksim.NewNetwork(1)
	server := netip.MustParseAddrPort("203.0.113.1:5080")
	socket, err := network.Listen(server)
	if err != nil {
		log.Fatal(err)
	}
	defer socket.Close()

	profile := linksim.Profile{Delay: time.Millisecond}
	client, err := network.Dial(netip.MustParseAddrPort("198.51.100.7:4000"), server, profile, profile)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	bufs, sizes, from := [][]byte{make([]byte, 1500)}, make([]int, 1), make([]link.Addr, 1)
	ask := func() {
		if _, err := client.Send([][]byte{[]byte("who am I?")}); err != nil {
			log.Fatal(err)
		}
		if _, err := socket.ReceiveFrom(bufs, sizes, from); err != nil {
			log.Fatal(err)
		}
		if _, err := socket.SendTo([][]byte{[]byte(from[0].String())}, from[0]); err != nil {
			log.Fatal(err)
		}
		if _, err := client.Receive(bufs, sizes); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", bufs[0][:sizes[0]])
	}
	ask()
	if err := client.Rebind(netip.MustParseAddrPort("198.51.100.7:50001")); err != nil {
		log.Fatal(err)
	}
	ask()
	// Output:
	// 198.51.100.7:4000
	// 198.51.100.7:50001
}

// A simulation with time of its own.
func ExampleLine() {
	line := linksim.NewLine(linksim.Profile{Rate: 125_000, Delay: 20 * time.Millisecond}, 1, 0)
	start := time.Unix(0, 0)
	for range 3 {
		fate := line.Push(start, 1250)
		fmt.Println(fate.Verdict == linksim.Taken, fate.Due[0].Sub(start))
	}
	// Output:
	// true 30ms
	// true 40ms
	// true 50ms
}
