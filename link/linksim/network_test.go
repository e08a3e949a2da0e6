package linksim

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func listen(t *testing.T, n *Network, at string) *Socket {
	t.Helper()
	s, err := n.Listen(addr(at))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func dial(t *testing.T, n *Network, local, remote string, up, down Profile) *Link {
	t.Helper()
	l, err := n.Dial(addr(local), addr(remote), up, down)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func sendTo(t *testing.T, s *Socket, to link.Addr, pkts ...[]byte) {
	t.Helper()
	if n, err := s.SendTo(pkts, to); n != len(pkts) || err != nil {
		t.Fatalf("SendTo of %d = %d, %v", len(pkts), n, err)
	}
}

func TestNetwork(t *testing.T) { synctest.Test(t, testNetwork) }
func testNetwork(t *testing.T) {
	n := NewNetwork(1)
	s := listen(t, n, "203.0.113.1:5080")
	up := Profile{Delay: 10 * time.Millisecond}
	down := Profile{Delay: 20 * time.Millisecond}
	atServer := collect(t, s.ReceiveFrom)
	var clients []*Link
	var atClient []<-chan []received
	for i := range 20 {
		l := dial(t, n, fmt.Sprintf("198.51.100.%d:4000", i+1), "203.0.113.1:5080", up, down)
		clients, atClient = append(clients, l), append(atClient, collectLink(t, l))
	}
	for i, l := range clients {
		send(t, l, numbered(i, 100), numbered(i, 100))
		local, _ := l.Addresses()
		sendTo(t, s, link.Addr{Remote: local}, numbered(i, 100))
	}
	time.Sleep(time.Second)
	s.Close()
	all := <-atServer
	if len(all) != 40 {
		t.Errorf("%d datagrams at the server", len(all))
	}
	for _, r := range all {
		want := link.Addr{Remote: addr(fmt.Sprintf("198.51.100.%d:4000", r.n+1)), Local: netip.MustParseAddr("203.0.113.1")}
		if r.from != want || r.at != 10*time.Millisecond {
			t.Errorf("at the server: %+v, want from %+v", r, want)
		}
	}
	for i, l := range clients {
		l.Close()
		if all := <-atClient[i]; len(all) != 1 || all[0].n != i || all[0].at != 20*time.Millisecond {
			t.Errorf("at client %d: %+v", i, all)
		}
	}
	if len(n.lines)+len(n.clients)+len(n.sockets) != 0 {
		t.Errorf("left: %v, %v, %v", n.lines, n.clients, n.sockets)
	}
}

func TestNetworkRebind(t *testing.T) { synctest.Test(t, testNetworkRebind) }
func testNetworkRebind(t *testing.T) {
	n := NewNetwork(1)
	s := listen(t, n, "203.0.113.1:5080")
	l := dial(t, n, "198.51.100.1:1000", "203.0.113.1:5080", Profile{Delay: time.Millisecond}, Profile{})
	other := dial(t, n, "198.51.100.2:1000", "203.0.113.1:5080", Profile{}, Profile{})
	atServer, atClient := collect(t, s.ReceiveFrom), collectLink(t, l)

	send(t, l, numbered(1, 10))
	if err := l.Rebind(addr("198.51.100.1:2000")); err != nil {
		t.Fatal(err)
	}
	send(t, l, numbered(2, 10))
	if err := l.Rebind(addr("198.51.100.2:1000")); err == nil {
		t.Error("rebound to an address in use")
	}
	if err := l.Rebind(addr("198.51.100.1:2000")); err != nil {
		t.Errorf("rebind to its own address: %v", err)
	}
	if err := l.Rebind(netip.AddrPort{}); err == nil {
		t.Error("rebound to no address")
	}
	if local, _ := l.Addresses(); local != addr("198.51.100.1:2000") {
		t.Errorf("local address %v", local)
	}
	sendTo(t, s, link.Addr{Remote: addr("198.51.100.1:1000")}, numbered(3, 10))
	sendTo(t, s, link.Addr{Remote: addr("198.51.100.1:2000")}, numbered(4, 10))
	time.Sleep(time.Second)
	if err := l.Rebind(addr("[::ffff:198.51.100.1]:0")); err != nil {
		t.Error(err)
	}
	if local, _ := l.Addresses(); local != addr("198.51.100.1:49152") {
		t.Errorf("chosen address %v", local)
	}
	l.Close()
	if err := l.Rebind(addr("198.51.100.1:3000")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("rebind after Close: %v", err)
	}
	other.Close()
	s.Close()

	if all := <-atClient; len(all) != 1 || all[0].n != 4 {
		t.Errorf("at the client: %+v", all)
	}
	all := <-atServer
	if len(all) != 2 || all[0].from.Remote.Port() != 1000 || all[1].from.Remote.Port() != 2000 {
		t.Errorf("at the server: %+v", all)
	}
}

func TestNetworkSocketRestart(t *testing.T) { synctest.Test(t, testNetworkSocketRestart) }
func testNetworkSocketRestart(t *testing.T) {
	n := NewNetwork(1)
	l := dial(t, n, "198.51.100.1:1000", "203.0.113.1:5080", Profile{}, Profile{})
	defer l.Close()
	send(t, l, numbered(0, 10))
	for i := range 2 {
		s := listen(t, n, "203.0.113.1:5080")
		got := collect(t, s.ReceiveFrom)
		send(t, l, numbered(1+2*i, 10))
		synctest.Wait()
		s.Close()
		if all := <-got; len(all) != 1 || all[0].n != 1+2*i {
			t.Errorf("socket %d received %+v", i, all)
		}
		send(t, l, numbered(2+2*i, 10))
	}
	if s := l.Stats(); s.Delivered != 2 || s.Swallowed != 3 {
		t.Errorf("stats %+v", s)
	}
}

func TestNetworkErrors(t *testing.T) {
	n := NewNetwork(1)
	s := listen(t, n, "203.0.113.1:5080")
	if _, err := n.Listen(addr("[::ffff:203.0.113.1]:5080")); err == nil {
		t.Error("two sockets at one address")
	}
	if _, err := n.Listen(netip.AddrPort{}); err == nil {
		t.Error("socket without an address")
	}
	s.Close()
	s2 := listen(t, n, "203.0.113.1:5080")
	s.Close()
	if _, err := n.Listen(addr("203.0.113.1:5080")); err == nil {
		t.Error("the second Close of the old socket has freed the new one's address")
	}
	s2.Close()

	dial(t, n, "198.51.100.1:1000", "203.0.113.1:5080", Profile{}, Profile{})
	dial(t, n, "198.51.100.1:1000", "203.0.113.2:5080", Profile{}, Profile{})
	for _, c := range []struct {
		local, remote netip.AddrPort
		up, down      Profile
	}{
		{local: addr("198.51.100.1:1000"), remote: addr("203.0.113.1:5080")},
		{local: netip.AddrPort{}, remote: addr("203.0.113.1:5080")},
		{local: addr("198.51.100.1:2000"), remote: netip.AddrPort{}},
		{local: addr("198.51.100.1:2000"), remote: addr("203.0.113.1:0")},
		{local: addr("198.51.100.1:2000"), remote: addr("0.0.0.0:5080")},
		{local: addr("198.51.100.1:2000"), remote: addr("203.0.113.1:5080"), up: Profile{Loss: 2}},
		{local: addr("198.51.100.1:2000"), remote: addr("203.0.113.1:5080"), down: Profile{Loss: 2}},
	} {
		if _, err := n.Dial(c.local, c.remote, c.up, c.down); err == nil {
			t.Errorf("dialled %+v", c)
		}
	}
}

// What a line loses must depend neither on the other lines nor on when it is dialled,
// and a line dialled again must not lose the same again.
func TestNetworkLinesDrawForThemselves(t *testing.T) {
	const total = 1000
	fates := func(l *Link) string {
		var s []byte
		for range total {
			before := l.Stats().Lost
			send(t, l, []byte{1})
			s = append(s, '0'+byte(l.Stats().Lost-before))
		}
		l.Close()
		return string(s)
	}
	const a, b, server = "198.51.100.1:1000", "198.51.100.2:1000", "203.0.113.1:5080"
	p := Profile{Loss: 0.2}
	n := NewNetwork(7)
	a1 := fates(dial(t, n, a, server, p, p))
	b1 := fates(dial(t, n, b, server, p, p))
	a2 := fates(dial(t, n, a, server, p, p))

	n = NewNetwork(7)
	lb := dial(t, n, b, server, p, p)
	la := dial(t, n, a, server, p, p)
	if fates(la) != a1 || fates(lb) != b1 {
		t.Error("the order of dialling changes what is lost")
	}
	if a1 == b1 || a1 == a2 {
		t.Error("two lines, or two that follow each other, lose the same")
	}
	if fates(dial(t, n, a, server, p, p)) != a2 {
		t.Error("the second line from an address is not reproducible")
	}
	if fates(dial(t, NewNetwork(8), a, server, p, p)) == a1 {
		t.Error("the seed is without effect")
	}
}

func TestNetworkConcurrentUse(t *testing.T) {
	n := NewNetwork(1)
	s := listen(t, n, "203.0.113.1:5080")
	var wg sync.WaitGroup
	wg.Go(func() {
		bufs, sizes, from := [][]byte{make([]byte, 2000), make([]byte, 2000)}, make([]int, 2), make([]link.Addr, 2)
		for {
			k, err := s.ReceiveFrom(bufs, sizes, from)
			if err != nil {
				return
			}
			for i := range k {
				sendTo(t, s, from[i], bufs[i][:sizes[i]])
			}
		}
	})
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			local := fmt.Sprintf("198.51.100.%d:0", i+1)
			for range 20 {
				l := dial(t, n, local, "203.0.113.1:5080", Profile{Delay: 100 * time.Microsecond}, Profile{})
				bufs, sizes := [][]byte{make([]byte, 2000)}, make([]int, 1)
				send(t, l, numbered(i, 50))
				if k, err := l.Receive(bufs, sizes); k != 1 || err != nil || !slices.Equal(bufs[0][:sizes[0]], numbered(i, 50)) {
					t.Errorf("Receive = %d, %v", k, err)
				}
				if err := l.Rebind(addr(local)); err != nil {
					t.Error(err)
				}
				l.Cut()
				l.SetReceiveProfile(Profile{MTU: 1000 + i})
				s.MTU()
				l.Close()
			}
		})
	}
	clients.Wait()
	s.Close()
	wg.Wait()
}
