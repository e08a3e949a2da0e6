package main

import (
	"context"
	"io"
	"net"
	"testing"
)

// TestDiag asks the kernel about a connection of this process.
func TestDiag(t *testing.T) {
	for name, mptcp := range map[string]bool{"TCP": false, "MPTCP": true} {
		t.Run(name, func(t *testing.T) { testDiag(t, mptcp) })
	}
}

func testDiag(t *testing.T, mptcp bool) {
	client, server := connect(t, mptcp)
	if on, err := client.MultipathTCP(); mptcp && (err != nil || !on) {
		t.Skipf("no MPTCP here: %v", err)
	}
	d, err := openDiag(mptcp)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	port := uint16(server.LocalAddr().(*net.TCPAddr).Port)
	sockets, err := d.all(port, false)
	if err != nil || len(sockets) != 1 {
		t.Fatalf("sockets at the port: %v, %v; want one", sockets, err)
	}
	if peers, err := d.all(port, true); err != nil || len(peers) != 1 || peers[0].id == sockets[0].id {
		t.Errorf("sockets that are connected to the port: %v, %v; want another one", peers, err)
	}
	const n = 100_000
	if _, err := client.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	s, err := d.one(sockets[0])
	if got := s.received - sockets[0].received; err != nil || got != n {
		t.Errorf("received %d bytes, %v; want %d", got, err, n)
	}
	if again, err := d.one(s); err != nil || again != s {
		t.Errorf("asked again: %+v, %v; want %+v", again, err, s)
	}
	client.Close()
	server.Close()
	if gone, err := d.all(port, false); err != nil {
		t.Errorf("after the end: %v, %v", gone, err)
	}
}

// connect returns the two ends of a connection.
func connect(t *testing.T, mptcp bool) (client, server *net.TCPConn) {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(mptcp)
	l, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dialer net.Dialer
	dialer.SetMultipathTCP(mptcp)
	c, err := dialer.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		s.Close()
	})
	return c.(*net.TCPConn), s.(*net.TCPConn)
}
