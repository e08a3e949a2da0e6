package demo

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"sync"
	"testing"
)

// wire carries what one stack sends to another until it is closed.
func wire(t *testing.T, from, to *stack) {
	bufs := make([][]byte, from.BatchSize())
	for i := range bufs {
		bufs[i] = make([]byte, 16+mtu)
	}
	sizes := make([]int, len(bufs))
	for {
		n, err := from.Read(bufs, sizes, 16)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("Read of a closed stack: %v, want os.ErrClosed", err)
			}
			return
		}
		for i := range n {
			if _, err := to.Write([][]byte{bufs[i][:16+sizes[i]]}, 16); err != nil {
				t.Errorf("Write: %v", err)
			}
		}
	}
}

func TestStack(t *testing.T) {
	server, err := newStack(serverHost)
	if err != nil {
		t.Fatal(err)
	}
	client, err := newStack(clientHost)
	if err != nil {
		t.Fatal(err)
	}
	var wires sync.WaitGroup
	wires.Go(func() { wire(t, server, client) })
	wires.Go(func() { wire(t, client, server) })

	l, err := server.listen(tcpPort)
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
	var serving sync.WaitGroup
	serving.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, err := conn.Write(sent); err != nil {
			t.Error(err)
		}
	})
	conn, err := client.dial(t.Context(), netip.AddrPortFrom(serverHost, tcpPort))
	if err != nil {
		t.Fatal(err)
	}
	received, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(received, sent) {
		t.Errorf("received %d bytes of %d, %v", len(received), len(sent), err)
	}
	conn.Close()
	serving.Wait()
	l.Close()

	for _, s := range []*stack{server, client} {
		s.Close()
		s.Close()
	}
	wires.Wait()
	if _, err := client.Write([][]byte{make([]byte, 16+40)}, 16); err != nil {
		t.Errorf("Write after Close: %v", err)
	}
	server.close()
	client.close()
}
