package mlvpn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/link/linksim"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// A site is one client of a server with many.
type site struct {
	client *Client
	dev    *tuntest.Device
	key    crypto.PrivateKey
	host   netip.Addr
	stop   func()
}

// many is a server with one socket and several clients of two lines each.
type many struct {
	t      *testing.T
	net    *linksim.Network
	server *Server
	dev    *tuntest.Device
	key    crypto.PrivateKey
	sites  []*site
	stop   func()
}

func newMany(t *testing.T, n int, password, ethernet bool) *many {
	m := &many{t: t, net: linksim.NewNetwork(1), key: crypto.GeneratePrivateKey()}
	m.dev = tuntest.New(tuntest.Config{MTU: 1400, TAP: ethernet, Queue: 1 << 14})
	cfg := ServerConfig{Config: Config{Device: m.dev, Ethernet: ethernet, Logger: testLogger(t, "server")}}
	for i := range n {
		s := &site{key: crypto.GeneratePrivateKey(), host: netip.AddrFrom4([4]byte{10, 1, byte(i), 1})}
		m.sites = append(m.sites, s)
		p := Peer{Name: fmt.Sprint("site", i), Key: s.key.Public()}
		if !ethernet {
			p.Prefixes = []netip.Prefix{netip.PrefixFrom(s.host, 24).Masked()}
		}
		cfg.Clients = append(cfg.Clients, p)
	}
	if password {
		cfg.PasswordKey, cfg.Clients = passwordKey(), nil
	} else {
		cfg.Key = m.key
	}
	var err error
	if m.server, err = NewServer(cfg); err != nil {
		t.Fatal(err)
	}
	sock, err := m.net.Listen(socketAddr(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.server.AddSocket(sock, LinkConfig{Name: "wan"}); err != nil {
		t.Fatal(err)
	}
	for _, s := range m.sites {
		m.connect(s, password, ethernet)
	}
	m.stop = start(t, m.server.Run)
	return m
}

func (m *many) connect(s *site, password, ethernet bool) {
	s.dev = tuntest.New(tuntest.Config{MTU: 1400, TAP: ethernet})
	cfg := ClientConfig{Config: Config{Device: s.dev, Ethernet: ethernet}, Name: s.host.String()}
	if password {
		cfg.PasswordKey = passwordKey()
	} else {
		cfg.Key, cfg.Server = s.key, m.key.Public()
	}
	var err error
	if s.client, err = NewClient(cfg); err != nil {
		m.t.Fatal(err)
	}
	for i := range 2 {
		a := s.host.As4()
		a[0], a[3] = 198, byte(i)
		l, err := m.net.Dial(netip.AddrPortFrom(netip.AddrFrom4(a), 0), socketAddr(0), mbit(20, 10*time.Millisecond), mbit(20, 10*time.Millisecond))
		if err != nil {
			m.t.Fatal(err)
		}
		if _, err := s.client.AddLink(l, LinkConfig{Name: fmt.Sprint("line", i)}); err != nil {
			m.t.Fatal(err)
		}
	}
	s.stop = start(m.t, s.client.Run)
}

func (m *many) close() {
	for _, s := range m.sites {
		s.stop()
	}
	m.stop()
}

func start(t *testing.T, run func(context.Context) error) (stop func()) {
	w := &world{t: t}
	return w.run(t.Name(), run)
}

func TestManyClients(t *testing.T) { synctest.Test(t, testManyClients) }

func testManyClients(t *testing.T) {
	m := newMany(t, 20, false, false)
	defer m.close()
	time.Sleep(time.Second)
	m.everyoneTalks()
	t.Log("# a client that uses another's address is not believed")
	m.sites[0].dev.Inject(tuntest.UDP4(netip.AddrPortFrom(m.sites[1].host, 1), netip.AddrPortFrom(serverHost, 2), make([]byte, 400)))
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	if _, ok := m.dev.TryReceive(make([]byte, 2048)); ok {
		t.Error("a packet with another client's address was delivered")
	}
	spoofed := uint64(0)
	for _, s := range m.server.Stats().Sessions {
		spoofed += s.Spoofed
	}
	if spoofed != 1 {
		t.Errorf("%d spoofed packets counted, want 1", spoofed)
	}
	t.Log("# a client that is shut out loses its session, and gets no other")
	if err := m.server.RemoveClient(m.sites[3].key.Public()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	synctest.Wait()
	if m.sites[3].client.Stats().Sessions != nil && m.sites[3].client.Stats().Sessions[0].Up {
		t.Error("the removed client's session is up")
	}
	if n := len(m.server.Stats().Sessions); n != len(m.sites)-1 {
		t.Errorf("%d sessions, want %d", n, len(m.sites)-1)
	}
}

// everyoneTalks sends a packet from each site and an answer to each.
func (m *many) everyoneTalks() {
	m.t.Helper()
	for i, s := range m.sites {
		s.dev.Inject(tuntest.UDP4(netip.AddrPortFrom(s.host, 1), netip.AddrPortFrom(serverHost, 2), numbered(i)))
	}
	time.Sleep(200 * time.Millisecond)
	synctest.Wait()
	if got := receive(m.t, m.dev); len(got) != len(m.sites) {
		m.t.Fatalf("the server got packets of %d sites", len(got))
	}
	for i, s := range m.sites {
		m.dev.Inject(tuntest.UDP4(netip.AddrPortFrom(serverHost, 2), netip.AddrPortFrom(s.host, 1), numbered(i)))
	}
	time.Sleep(200 * time.Millisecond)
	synctest.Wait()
	for i, s := range m.sites {
		if got := receive(m.t, s.dev); !slices.Equal(got, []uint64{uint64(i)}) {
			m.t.Errorf("site %d got %v", i, got)
		}
	}
}

func numbered(i int) []byte {
	payload := make([]byte, 400)
	binary.BigEndian.PutUint64(payload, uint64(i))
	return payload
}

// TestPasswordClients has several clients with one password and without announced
// addresses: the server learns who is where from their packets.
func TestPasswordClients(t *testing.T) { synctest.Test(t, testPasswordClients) }

func testPasswordClients(t *testing.T) {
	m := newMany(t, 5, true, false)
	defer m.close()
	time.Sleep(time.Second)
	m.everyoneTalks()
}

// TestListener has a client with one link over a stream, accepted by a listener, and
// one over datagrams.
func TestListener(t *testing.T) { synctest.Test(t, testListener) }

func testListener(t *testing.T) {
	w := newWorld(t, worldConfig{lines: twoLines()[:1]})
	defer w.close()
	l := &pipeListener{links: make(chan link.Link), closed: make(chan struct{})}
	if err := w.server.AddListener(l, LinkConfig{Name: "tcp"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.AddLink(l.dial(), LinkConfig{Name: "tcp", PeerBandwidth: 1e6}); err != nil {
		t.Fatal(err)
	}
	w.sleep(time.Second)
	w.wantEvents("link up a", "link up tcp", "session up")
	w.exchange(100, time.Second)
	t.Log("# the stream ends: the other line goes on")
	l.cut()
	w.sleep(100 * time.Millisecond)
	w.wantEvents("link down tcp")
	w.exchange(100, time.Second)
	t.Log("# a new stream takes its place")
	if err := w.client.ReplaceLink(2, l.dial()); err != nil {
		t.Fatal(err)
	}
	w.sleep(5 * time.Second)
	w.wantEvents("link up tcp")
	w.exchange(100, time.Second)
	for _, x := range w.server.Stats().Sessions[0].Links {
		if x.Name == "tcp" && x.Bandwidth != 1e6 {
			t.Errorf("the server takes the new stream's bandwidth for %d, want what the client has told", x.Bandwidth)
		}
	}
}

// pipeListener accepts streams made by dial.
type pipeListener struct {
	links  chan link.Link
	closed chan struct{}
	once   sync.Once
	last   net.Conn
}

func (l *pipeListener) dial() link.Link {
	a, b := net.Pipe()
	l.last = a
	go func() {
		select {
		case l.links <- link.NewStream(b, link.StreamConfig{}):
		case <-l.closed:
			b.Close()
		}
	}()
	return link.NewStream(a, link.StreamConfig{})
}

func (l *pipeListener) cut() { l.last.Close() }

func (l *pipeListener) Accept() (link.Link, error) {
	select {
	case x := <-l.links:
		return x, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func TestConfigErrors(t *testing.T) {
	dev := tuntest.New(tuntest.Config{})
	key := crypto.GeneratePrivateKey()
	for name, make := range map[string]func() error{
		"no device": func() error {
			_, err := NewClient(ClientConfig{Config: Config{Key: key}, Server: key.Public()})
			return err
		},
		"no key":        func() error { _, err := NewServer(ServerConfig{Config: Config{Device: dev}}); return err },
		"no server key": func() error { _, err := NewClient(ClientConfig{Config: Config{Device: dev, Key: key}}); return err },
		"key and password": func() error {
			_, err := NewServer(ServerConfig{Config: Config{Device: dev, Key: key, PasswordKey: passwordKey()}})
			return err
		},
		"nameless client": func() error {
			_, err := NewServer(ServerConfig{Config: Config{Device: dev, Key: key}, Clients: []Peer{{Key: key.Public()}}})
			return err
		},
		"keyless client": func() error {
			_, err := NewServer(ServerConfig{Config: Config{Device: dev, Key: key}, Clients: []Peer{{Name: "x"}}})
			return err
		},
		"same client twice": func() error {
			p := Peer{Name: "x", Key: key.Public()}
			_, err := NewServer(ServerConfig{Config: Config{Device: dev, Key: key}, Clients: []Peer{p, p}})
			return err
		},
		"client list and password": func() error {
			_, err := NewServer(ServerConfig{Config: Config{Device: dev, PasswordKey: passwordKey()}, Clients: []Peer{{Name: "x", Key: key.Public()}}})
			return err
		},
	} {
		if make() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, cfg := range []LinkConfig{
		{},
		{Name: "a name that is much longer than thirty-two bytes"},
		{Name: "a", Pace: true},
		{Name: "a", LossTolerance: 1.5},
		{Name: "a", Timeout: -1},
	} {
		if cfg.validate() == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
}

func TestDuplicateLinkName(t *testing.T) {
	dev := tuntest.New(tuntest.Config{})
	key := crypto.GeneratePrivateKey()
	c, err := NewClient(ClientConfig{Config: Config{Device: dev, Key: key}, Server: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	a, b := linksim.Pair(linksim.Profile{}, linksim.Profile{}, 1)
	if _, err := c.AddLink(a, LinkConfig{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddLink(b, LinkConfig{Name: "x"}); err == nil {
		t.Error("two links of one name")
	}
	if _, err := b.Send([][]byte{{1}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the refused link is still open: %v", err)
	}
}
