package linksim

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// A socket with an unspecified address receives for all addresses, and answers from
// the one that Addr.Local names.
func TestSocketOfAllAddresses(t *testing.T) { synctest.Test(t, testSocketOfAllAddresses) }
func testSocketOfAllAddresses(t *testing.T) {
	n := NewNetwork(1)
	any4, own := listen(t, n, "0.0.0.0:5080"), listen(t, n, "203.0.113.9:5080")
	any6 := listen(t, n, "[::]:5081")
	const client = "198.51.100.1:1000"
	l1 := dial(t, n, client, "203.0.113.1:5080", Profile{}, Profile{})
	l2 := dial(t, n, client, "203.0.113.2:5080", Profile{}, Profile{})
	l9 := dial(t, n, client, "203.0.113.9:5080", Profile{}, Profile{})
	l4 := dial(t, n, client, "203.0.113.1:5081", Profile{}, Profile{})
	l6 := dial(t, n, "[2001:db8::2]:1000", "[2001:db8::1]:5081", Profile{}, Profile{})
	lost := dial(t, n, "[2001:db8::2]:1000", "[2001:db8::1]:5080", Profile{}, Profile{})
	links := []*Link{l1, l2, l9, l4, l6, lost}
	var atClient []<-chan []received
	for i, l := range links {
		send(t, l, numbered(i, 10))
		atClient = append(atClient, collectLink(t, l))
	}

	bufs, sizes, from := make([][]byte, 8), make([]int, 8), make([]link.Addr, 8)
	for i := range bufs {
		bufs[i] = make([]byte, 100)
	}
	want := map[*Socket][]string{any4: {"203.0.113.1", "203.0.113.2"}, own: {"203.0.113.9"}, any6: {"203.0.113.1", "2001:db8::1"}}
	for s, locals := range want {
		k, err := s.ReceiveFrom(bufs, sizes, from)
		if k != len(locals) || err != nil {
			t.Fatalf("%v: ReceiveFrom = %d, %v", s.LocalAddr(), k, err)
		}
		for i := range k {
			if from[i].Local != netip.MustParseAddr(locals[i]) {
				t.Errorf("%v: datagram %d was sent to %v, want %v", s.LocalAddr(), i, from[i].Local, locals[i])
			}
			sendTo(t, s, from[i], numbered(100, 10))
		}
	}
	to := link.Addr{Remote: addr(client)}
	sendTo(t, any4, to, numbered(101, 10)) // no Local: the line dialled first
	sendTo(t, own, to, numbered(102, 10))
	to.Remote = addr("[::ffff:198.51.100.1]:1000")
	sendTo(t, own, to, numbered(103, 10))
	to.Local = netip.MustParseAddr("203.0.113.1")
	sendTo(t, own, to, numbered(104, 10)) // not its address
	to.Local = netip.MustParseAddr("203.0.113.9")
	sendTo(t, any4, to, numbered(105, 10)) // another socket's
	to.Local = netip.MustParseAddr("203.0.113.8")
	sendTo(t, any4, to, numbered(106, 10)) // nobody's
	time.Sleep(time.Second)

	for i, want := range [][]int{{100, 101}, {100}, {100, 102, 103}, {100}, {100}, nil} {
		links[i].Close()
		var got []int
		for _, r := range <-atClient[i] {
			got = append(got, r.n)
		}
		if len(got) != len(want) {
			t.Errorf("line %d received %v, want %v", i, got, want)
			continue
		}
		for j := range got {
			if got[j] != want[j] {
				t.Errorf("line %d received %v, want %v", i, got, want)
			}
		}
	}
}

func TestSocketPort(t *testing.T) {
	n := NewNetwork(1)
	a, b := listen(t, n, "203.0.113.1:0"), listen(t, n, "203.0.113.1:0")
	if a.LocalAddr() != addr("203.0.113.1:49152") || b.LocalAddr() != addr("203.0.113.1:49153") {
		t.Errorf("addresses %v and %v", a.LocalAddr(), b.LocalAddr())
	}
}

func TestSocketMTU(t *testing.T) {
	n := NewNetwork(1)
	s := listen(t, n, "203.0.113.1:5080")
	if s.MTU() != DefaultMTU {
		t.Errorf("MTU %d without lines", s.MTU())
	}
	small := dial(t, n, "198.51.100.1:1000", "203.0.113.1:5080", Profile{}, Profile{MTU: 1200})
	if s.MTU() != 1200 {
		t.Errorf("MTU %d with a small line", s.MTU())
	}
	large := dial(t, n, "198.51.100.2:1000", "203.0.113.1:5080", Profile{}, Profile{MTU: 9000})
	if s.MTU() != 9000 {
		t.Errorf("MTU %d with a large line", s.MTU())
	}
	for _, c := range []struct {
		to   string
		size int
		want error
	}{
		{"198.51.100.1:1000", 1200, nil},
		{"198.51.100.1:1000", 1201, link.ErrTooLarge},
		{"198.51.100.2:1000", 9000, nil},
		{"198.51.100.2:1000", 9001, link.ErrTooLarge},
		{"198.51.100.3:1000", 9000, nil},
		{"198.51.100.3:1000", 9001, link.ErrTooLarge},
	} {
		k, err := s.SendTo([][]byte{{1}, make([]byte, c.size), {2}}, link.Addr{Remote: addr(c.to)})
		if want := 3; err != c.want || c.want == nil && k != want || c.want != nil && k != 1 {
			t.Errorf("%+v: SendTo = %d, %v", c, k, err)
		}
	}
	large.SetReceiveProfile(Profile{MTU: 8000})
	if s.MTU() != 8000 {
		t.Errorf("MTU %d after the profile changed", s.MTU())
	}
	large.Close()
	if s.MTU() != 1200 {
		t.Errorf("MTU %d after the large line closed", s.MTU())
	}
	small.Close()
	if s.MTU() != DefaultMTU {
		t.Errorf("MTU %d after all lines closed", s.MTU())
	}
}

func TestSocketClose(t *testing.T) { synctest.Test(t, testSocketClose) }
func testSocketClose(t *testing.T) {
	n := NewNetwork(1)
	s := listen(t, n, "203.0.113.1:5080")
	l := dial(t, n, "198.51.100.1:1000", "203.0.113.1:5080", Profile{Delay: time.Second}, Profile{Delay: time.Second})
	defer l.Close()
	bufs, sizes, from := [][]byte{make([]byte, 100)}, make([]int, 1), make([]link.Addr, 1)
	failed := make(chan error)
	go func() {
		_, err := s.ReceiveFrom(bufs, sizes, from)
		failed <- err
	}()
	synctest.Wait()
	to := link.Addr{Remote: addr("198.51.100.1:1000")}
	sendTo(t, s, to, []byte("bye"))
	send(t, l, []byte("hello"))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the waiting ReceiveFrom: %v", err)
	}
	if k, err := s.ReceiveFrom(bufs, sizes, from); k != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReceiveFrom = %d, %v", k, err)
	}
	if k, err := s.SendTo([][]byte{{1}}, to); k != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("SendTo = %d, %v", k, err)
	}
	if k, err := l.Receive(bufs, sizes); k != 1 || err != nil || string(bufs[0][:sizes[0]]) != "bye" {
		t.Errorf("Receive of the client = %d, %v", k, err)
	}
	synctest.Wait()
	if st := l.Stats(); st.Swallowed != 1 || st.Delivered != 0 {
		t.Errorf("stats of what was sent to the closed socket: %+v", st)
	}
}
