package link_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

func listenUDP(t testing.TB, local string) *link.UDPSocket {
	t.Helper()
	cfg := link.UDPConfig{}
	if local != "" {
		cfg.Local = netip.MustParseAddrPort(local)
	}
	s, err := link.ListenUDP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func dialUDP(t testing.TB, cfg link.UDPConfig) *link.UDP {
	t.Helper()
	l, err := link.DialUDP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// receiveOne is ReceiveFrom with a time limit.
func receiveOne(t testing.TB, s *link.UDPSocket) (data []byte, from link.Addr) {
	t.Helper()
	watchdog := time.AfterFunc(5*time.Second, func() { s.Close() })
	defer watchdog.Stop()
	bufs, sizes, addrs := [][]byte{make([]byte, 2000)}, make([]int, 1), make([]link.Addr, 1)
	if _, err := s.ReceiveFrom(bufs, sizes, addrs); err != nil {
		t.Fatal(err)
	}
	return bufs[0][:sizes[0]], addrs[0]
}

// Every address of 127.0.0.0/8 is local on Linux, so that loopback is multi-homed there.
func TestUDPSocketStickySource(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs several local addresses")
	}
	for _, local := range []string{"", "[::]:0", "0.0.0.0:0"} {
		t.Run(local, func(t *testing.T) {
			s := listenUDP(t, local)
			for _, dst := range []string{"127.0.0.1", "127.0.0.2", "127.1.2.3", "::1"} {
				remote := netip.AddrPortFrom(netip.MustParseAddr(dst), s.LocalAddr().Port())
				if remote.Addr().Is6() && s.LocalAddr().Addr().Is4() {
					continue
				}
				l := dialUDP(t, link.UDPConfig{Remote: remote})
				if _, err := l.Send([][]byte{[]byte("question")}); err != nil {
					t.Fatal(err)
				}
				_, from := receiveOne(t, s)
				if from.Local != remote.Addr() || from.Interface == 0 {
					t.Errorf("a datagram to %v has the origin %+v", dst, from)
				}
				if local, _ := l.Addresses(); from.Remote != local {
					t.Errorf("a datagram from %v has the origin %+v", local, from)
				}
				if _, err := s.SendTo([][]byte{[]byte("answer")}, from); err != nil {
					t.Fatal(err)
				}
				// The connected socket takes answers from dst only.
				watchdog := time.AfterFunc(5*time.Second, func() { l.Close() })
				sizes := make([]int, 1)
				if _, err := l.Receive([][]byte{make([]byte, 100)}, sizes); err != nil {
					t.Errorf("no answer from %v: %v", dst, err)
				}
				watchdog.Stop()

				// An interface that has gone is no reason not to answer.
				from.Interface = 1 << 20
				if _, err := s.SendTo([][]byte{[]byte("answer")}, from); err != nil {
					t.Errorf("answer on an interface that is gone: %v", err)
				}
				from.Local = netip.MustParseAddr("192.0.2.1")
				if _, err := s.SendTo([][]byte{[]byte("answer")}, from); err == nil {
					t.Error("an answer left from an address that the host does not have")
				}
			}
		})
	}
}

func TestUDPRefused(t *testing.T) {
	l := dialUDP(t, link.UDPConfig{Remote: freePort(t, loopback4)})
	if runtime.GOOS != "linux" {
		t.Skip("ICMP errors differ")
	}
	// Nobody listens. Each datagram is handed on, although the one before was refused.
	const sent = 5
	for range sent {
		if n, err := l.Send([][]byte{[]byte("hello")}); n != 1 {
			t.Fatal(err)
		}
	}
	errs := make(chan error)
	go func() {
		defer close(errs)
		for {
			_, err := l.Receive([][]byte{make([]byte, 100)}, make([]int, 1))
			if errors.Is(err, net.ErrClosed) {
				return
			}
			errs <- err
		}
	}()
	refused := 0
	for timeout := time.After(200 * time.Millisecond); ; {
		select {
		case err := <-errs:
			if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("Receive: %v", err)
			}
			if refused++; refused > sent {
				t.Fatal("Receive keeps failing: a caller that tries again would spin")
			}
			continue
		case <-timeout:
		}
		break
	}
	if refused == 0 {
		t.Error("Receive has not reported that nobody listens")
	}
	l.Close()
	for range errs {
		t.Error("an error after Close")
	}
}

// A burst is received in few calls, with datagrams dropped that do not fit.
func TestUDPDrain(t *testing.T) {
	s := listenUDP(t, "127.0.0.1:0")
	l := dialUDP(t, link.UDPConfig{Remote: s.LocalAddr()})
	var pkts [][]byte
	for i := range 40 {
		pkts = append(pkts, bytes.Repeat([]byte{byte(i)}, 10+i%3*100))
	}
	if n, err := l.Send(pkts); n != len(pkts) {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	bufs, sizes, from := make([][]byte, 64), make([]int, 64), make([]link.Addr, 64)
	for i := range bufs {
		bufs[i] = make([]byte, 150)
	}
	n, err := s.ReceiveFrom(bufs, sizes, from)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" && n != 27 {
		t.Errorf("one call received %d of 27 datagrams", n)
	}
	next := 0
	for i := range n {
		if next%3 == 2 {
			next++
		}
		if !bytes.Equal(bufs[i][:sizes[i]], pkts[next]) {
			t.Errorf("datagram %d is not the one sent", i)
		}
		next++
	}
}

func TestUDPAllocs(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems receive through the net package")
	}
	for _, network := range []struct {
		name string
		addr netip.Addr
	}{{"IPv4", loopback4}, {"IPv6", loopback6}} {
		t.Run(network.name, func(t *testing.T) {
			s := listenUDP(t, netip.AddrPortFrom(network.addr, 0).String())
			l := dialUDP(t, link.UDPConfig{Remote: s.LocalAddr()})
			pkts := make([][]byte, 8)
			bufs, sizes, from := make([][]byte, 8), make([]int, 8), make([]link.Addr, 8)
			for i := range bufs {
				pkts[i], bufs[i] = make([]byte, 1400), make([]byte, 1500)
			}
			var err error
			if n := testing.AllocsPerRun(200, func() {
				if _, e := l.Send(pkts); e != nil {
					err = e
				}
				got := 0
				for got < len(pkts) {
					n, e := s.ReceiveFrom(bufs, sizes, from)
					if e != nil {
						err = e
						return
					}
					got += n
				}
				if _, e := s.SendTo(pkts, from[0]); e != nil {
					err = e
				}
				for got = 0; got < len(pkts); {
					n, e := l.Receive(bufs, sizes)
					if e != nil {
						err = e
						return
					}
					got += n
				}
			}); n != 0 {
				t.Errorf("a batch there and back makes %v allocations", n)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestUDPMTU(t *testing.T) {
	for _, tc := range []struct {
		remote string
		mtu    int
		want   int
	}{
		{"127.0.0.1:1", 0, 1472},
		{"[::1]:1", 0, 1452},
		{"[::ffff:127.0.0.1]:1", 0, 1472},
		{"127.0.0.1:1", 1200, 1200},
	} {
		l := dialUDP(t, link.UDPConfig{Remote: netip.MustParseAddrPort(tc.remote), MTU: tc.mtu})
		if got := l.MTU(); got != tc.want {
			t.Errorf("to %s with MTU %d: %d, want %d", tc.remote, tc.mtu, got, tc.want)
		}
	}
	if got := listenUDP(t, "").MTU(); got != 1452 {
		t.Errorf("a socket for both families has an MTU of %d", got)
	}
}

func TestUDPErrors(t *testing.T) {
	used := listenUDP(t, "127.0.0.1:0").LocalAddr()
	one := netip.MustParseAddrPort("127.0.0.1:1")
	for _, tc := range []struct {
		name string
		open func() error
		want []string
	}{
		{"no such address", func() error {
			_, err := link.ListenUDP(link.UDPConfig{Local: netip.MustParseAddrPort("192.0.2.1:5080")})
			return err
		}, []string{"listen", "192.0.2.1:5080", "no interface has"}},
		{"port in use", func() error {
			_, err := link.ListenUDP(link.UDPConfig{Local: used})
			return err
		}, []string{used.String(), "another port"}},
		{"local of dial", func() error {
			_, err := link.DialUDP(link.UDPConfig{Local: netip.MustParseAddrPort("192.0.2.1:0"), Remote: one})
			return err
		}, []string{"dial", "from 192.0.2.1", "to 127.0.0.1:1", "no interface has"}},
		{"no such interface", func() error {
			_, err := link.DialUDP(link.UDPConfig{Interface: "nosuch0", Remote: one})
			return err
		}, []string{"nosuch0", "to 127.0.0.1:1"}},
		{"no remote", func() error { _, err := link.DialUDP(link.UDPConfig{}); return err }, []string{"Remote"}},
		{"two families", func() error {
			_, err := link.DialUDP(link.UDPConfig{Local: netip.MustParseAddrPort("[::1]:0"), Remote: one})
			return err
		}, []string{"same family"}},
		{"remote of a listener", func() error {
			_, err := link.ListenUDP(link.UDPConfig{Remote: one})
			return err
		}, []string{"DialUDP"}},
		{"MTU", func() error { _, err := link.ListenUDP(link.UDPConfig{MTU: 70000}); return err }, []string{"70000", "65507"}},
	} {
		err := tc.open()
		if err == nil {
			t.Errorf("%s: no error", tc.name)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q lacks %q", tc.name, err, want)
			}
		}
	}
}

func TestUDPInterfaceAndMark(t *testing.T) {
	if runtime.GOOS != "linux" || syscall.Geteuid() != 0 {
		t.Skip("needs root on Linux")
	}
	s := listenUDP(t, "127.0.0.1:0")
	l := dialUDP(t, link.UDPConfig{Remote: s.LocalAddr(), Interface: "lo", Mark: 0xfffffff0})
	if _, err := l.Send([][]byte{[]byte("hello")}); err != nil {
		t.Fatal(err)
	}
	if data, _ := receiveOne(t, s); string(data) != "hello" {
		t.Errorf("received %q", data)
	}
}

func ExampleDialUDP() {
	server, err := link.ListenUDP(link.UDPConfig{Local: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client, err := link.DialUDP(link.UDPConfig{Remote: server.LocalAddr()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	if _, err := client.Send([][]byte{[]byte("hello"), []byte("world")}); err != nil {
		fmt.Println(err)
		return
	}
	bufs, sizes, from := [][]byte{make([]byte, 1500)}, make([]int, 1), make([]link.Addr, 1)
	for range 2 {
		if _, err := server.ReceiveFrom(bufs, sizes, from); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s at %v\n", bufs[0][:sizes[0]], from[0].Local)
	}
	// Output:
	// hello at 127.0.0.1
	// world at 127.0.0.1
}
