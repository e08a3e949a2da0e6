package main

import (
	"net"
	"testing"

	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/link/linktest"
)

// TestTextLink runs the conformance suite. Over a net.Pipe nothing is lost, reordered or
// doubled, and there is no real I/O, so that each case takes no real time.
func TestTextLink(t *testing.T) {
	linktest.TestLink(t, func(t testing.TB) (a, b link.Link) {
		c1, c2 := net.Pipe()
		return NewTextLink(c1), NewTextLink(c2)
	}, linktest.Traits{Lossless: true, Ordered: true, NoDup: true, Virtual: true})
}

// TestTextLinkTCP runs it over a real connection.
func TestTextLinkTCP(t *testing.T) {
	linktest.TestLink(t, func(t testing.TB) (a, b link.Link) {
		l, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c1, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c2, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return NewTextLink(c1), NewTextLink(c2)
	}, linktest.Traits{Lossless: true, Ordered: true, NoDup: true})
}

func Example() {
	if err := run(); err != nil {
		panic(err)
	}
	// Output:
	// "hello"
	// "world"
	// "\x00\x01\x02\xff"
}
