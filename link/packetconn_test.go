package link_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

func TestPacketConnDropsStrangers(t *testing.T) {
	listen := func() net.PacketConn {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for _, tc := range []struct {
		name string
		wrap func(c net.PacketConn) net.PacketConn
	}{
		{"UDP", func(c net.PacketConn) net.PacketConn { return c }},
		{"other", func(c net.PacketConn) net.PacketConn { return struct{ net.PacketConn }{c} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			own, peer, stranger := listen(), listen(), listen()
			l := link.NewPacketConn(tc.wrap(own), peer.LocalAddr(), 1400)
			defer l.Close()
			for _, c := range []net.PacketConn{stranger, peer} {
				if _, err := c.WriteTo([]byte(c.LocalAddr().String()), own.LocalAddr()); err != nil {
					t.Fatal(err)
				}
			}
			watchdog := time.AfterFunc(5*time.Second, func() { l.Close() })
			defer watchdog.Stop()
			bufs, sizes := [][]byte{make([]byte, 100)}, make([]int, 1)
			if _, err := l.Receive(bufs, sizes); err != nil {
				t.Fatal(err)
			}
			if got := string(bufs[0][:sizes[0]]); got != peer.LocalAddr().String() {
				t.Errorf("received from %s, want %s", got, peer.LocalAddr())
			}
			own.Close()
			if _, err := l.Receive(bufs, sizes); !errors.Is(err, io.EOF) {
				t.Errorf("Receive, when the connection was closed by another: %v", err)
			}
		})
	}
}

func TestPacketConnAllocs(t *testing.T) {
	a, b := packetPair(t)
	defer a.Close()
	defer b.Close()
	pkts := [][]byte{make([]byte, 1000)}
	bufs, sizes := [][]byte{make([]byte, 1500)}, make([]int, 1)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := a.Send(pkts); err != nil {
			t.Error(err)
		}
		if _, err := b.Receive(bufs, sizes); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("a datagram makes %v allocations", n)
	}
}
