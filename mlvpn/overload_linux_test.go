package mlvpn

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// A flooder sends garbage to an address over loopback, at a rate that can be changed.
type flooder struct {
	rate atomic.Int64 // datagrams a second; negative is as fast as it can
	sent atomic.Int64
}

func (f *flooder) run(t *testing.T, to netip.AddrPort, done <-chan struct{}) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	data := make([]byte, 600)
	for n := uint64(1); ; n++ {
		select {
		case <-done:
			return
		default:
		}
		rate := f.rate.Load()
		batch := rate / 1000
		if rate < 0 {
			batch = 64
		}
		for range batch {
			n++
			binary.BigEndian.PutUint64(data, n*0x9e3779b97f4a7c15)
			conn.Write(data)
		}
		f.sent.Add(batch)
		if rate >= 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// TestOverload floods a server with garbage over loopback while a client talks to it.
// It needs MULTILINK_LONG=1 and a machine that does nothing else.
func TestOverload(t *testing.T) {
	if !longTests() {
		t.Skip("measures real time: MULTILINK_LONG=1")
	}
	serverKey, clientKey := crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey()
	sdev := tuntest.New(tuntest.Config{MTU: 1400, Queue: 1 << 15})
	cdev := tuntest.New(tuntest.Config{MTU: 1400, Queue: 1 << 15})
	server, err := NewServer(ServerConfig{Config: Config{Device: sdev, Key: serverKey}, Clients: []Peer{{Name: "alice", Key: clientKey.Public()}}})
	if err != nil {
		t.Fatal(err)
	}
	sock, err := link.ListenUDP(link.UDPConfig{Local: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.AddSocket(sock, LinkConfig{Name: "wan"}); err != nil {
		t.Fatal(err)
	}
	defer start(t, server.Run)()
	client, err := NewClient(ClientConfig{Config: Config{Device: cdev, Key: clientKey}, Server: serverKey.Public()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := link.DialUDP(link.UDPConfig{Remote: sock.LocalAddr()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.AddLink(l, LinkConfig{Name: "line"}); err != nil {
		t.Fatal(err)
	}
	defer start(t, client.Run)()
	time.Sleep(time.Second)

	var f flooder
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { f.run(t, sock.LocalAddr(), done) })
	defer running.Wait()
	defer close(done)

	dropped := func() uint64 { d := server.Stats().Drops; return d.UnknownIndex + d.Malformed + d.BadHandshakes }
	// exchange returns the share of 1000 packets a second that does not arrive.
	exchange := func(d time.Duration) float64 {
		receive(t, sdev)
		sent := 0
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if err := cdev.Inject(udp(true, 1, uint64(sent), 600)); err == nil {
				sent++
			}
		}
		time.Sleep(300 * time.Millisecond)
		return 1 - float64(len(receive(t, sdev)))/float64(sent)
	}

	f.rate.Store(-1)
	time.Sleep(500 * time.Millisecond)
	before := dropped()
	time.Sleep(3 * time.Second)
	saturation := int64(float64(dropped()-before) / 3)
	f.rate.Store(saturation * 8 / 10)
	time.Sleep(time.Second)
	lost := exchange(5 * time.Second)
	t.Logf("the server takes in %d datagrams of garbage a second; with 80 %% of that the client loses %.2f %%", saturation, 100*lost)
	if lost > 0.01 {
		t.Errorf("the client loses %.2f %% of its packets, want less than 1", 100*lost)
	}
	f.rate.Store(-1)
	time.Sleep(5 * time.Second)
	f.rate.Store(0)
	time.Sleep(time.Second)
	if lost := exchange(2 * time.Second); lost > 0.01 {
		t.Errorf("a second after a flood the client loses %.2f %% of its packets", 100*lost)
	}
}
