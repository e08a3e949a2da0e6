// Customlink shows how to write a transport of your own.
//
// The transport in textlink.go carries datagrams as lines of base64 over anything that
// passes text: a serial console, a chat channel, a pair of pipes. It implements
// link.Link, and textlink_test.go has the conformance suite of package linktest say
// whether it does so correctly. This program sends a few datagrams over it.
package main

import (
	"errors"
	"fmt"
	"log"
	"net"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	c1, c2 := net.Pipe() // stands for the two ends of a serial line
	a, b := NewTextLink(c1), NewTextLink(c2)
	defer a.Close()

	received := make(chan error, 1)
	go func() { received <- show(b) }()
	if n, err := a.Send([][]byte{[]byte("hello"), []byte("world"), {0, 1, 2, 0xff}}); err != nil {
		return fmt.Errorf("sent %d datagrams: %w", n, err)
	}
	if err := <-received; err != nil {
		return err
	}
	return b.Close()
}

// show prints three datagrams.
func show(l *TextLink) error {
	bufs, sizes := make([][]byte, 8), make([]int, 8)
	for i := range bufs {
		bufs[i] = make([]byte, l.MTU())
	}
	for seen := 0; seen < 3; {
		n, err := l.Receive(bufs, sizes)
		if err != nil {
			return errors.Join(errors.New("receive"), err)
		}
		for i := range n {
			fmt.Printf("%q\n", bufs[i][:sizes[i]])
		}
		seen += n
	}
	return nil
}
