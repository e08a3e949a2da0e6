package tun_test

import (
	"fmt"
	"log"

	"github.com/multilink-vpn/multilink/tun"
)

func ExampleOpen() {
	dev, err := tun.Open(tun.Config{Name: "ml%d", MTU: 1408})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()

	bufs := make([][]byte, dev.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, 2048)
	}
	sizes := make([]int, len(bufs))
	for {
		n, err := dev.Read(bufs, sizes, tun.Headroom)
		if err != nil {
			log.Fatal(err)
		}
		for i := range n {
			fmt.Printf("% x\n", bufs[i][tun.Headroom:tun.Headroom+sizes[i]])
		}
	}
}
