package mlvpn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/link/linksim"
	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// A world is a server and a client joined by simulated lines, in a synctest bubble.
type world struct {
	t      *testing.T
	net    *linksim.Network
	server *Server
	client *Client
	sdev   *tuntest.Device
	cdev   *tuntest.Device
	lines  []*linksim.Link
	ids    []LinkID
	log    *eventLog

	cfg                    worldConfig
	sc                     ServerConfig
	cc                     ClientConfig
	stopServer, stopClient func()
}

// line describes one line of a world.
type line struct {
	up, down linksim.Profile
	cfg      LinkConfig // of the client
	server   LinkConfig // of the server's socket
}

// mbit is a line of so many Mbit/s, in the units of linksim.
func mbit(rate float64, delay time.Duration) linksim.Profile {
	return linksim.Profile{Rate: uint64(rate * 1e6 / 8), Delay: delay, Overhead: linksim.OverheadUDP4}
}

var (
	serverHost = netip.MustParseAddr("10.0.0.1")
	clientHost = netip.MustParseAddr("10.0.0.2")
)

type worldConfig struct {
	lines  []line
	client func(*ClientConfig)
	server func(*ServerConfig)
	seed   uint64
}

// passwordKey is derived once: it takes a tenth of a second.
var passwordKey = sync.OnceValue(func() crypto.PresharedKey {
	k, err := crypto.PasswordKey("correct horse battery staple", "")
	if err != nil {
		panic(err)
	}
	return k
})

// weighted makes the scheduler of a world: which packet goes where is then easy to say.
func weighted() scheduler.Scheduler { return new(scheduler.Weighted) }

func newWorld(t *testing.T, cfg worldConfig) *world {
	t.Helper()
	w := &world{t: t, cfg: cfg, net: linksim.NewNetwork(cfg.seed), log: &eventLog{}}
	serverKey, clientKey := crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey()
	w.sc = ServerConfig{
		Config:  Config{Key: serverKey, Logger: testLogger(t, "server"), NewScheduler: weighted},
		Clients: []Peer{{Name: "alice", Key: clientKey.Public()}},
	}
	w.cc = ClientConfig{
		Config: Config{Key: clientKey, Logger: testLogger(t, "client"), OnEvent: w.log.add, NewScheduler: weighted},
		Server: serverKey.Public(),
	}
	if cfg.server != nil {
		cfg.server(&w.sc)
	}
	if cfg.client != nil {
		cfg.client(&w.cc)
	}
	w.restartServer()
	w.restartClient()
	return w
}

// restartServer starts a server on the world's sockets: the first, or one that takes
// over.
func (w *world) restartServer() {
	w.t.Helper()
	w.sdev = tuntest.New(tuntest.Config{Name: "srv0", MTU: 1400, Queue: 1 << 14})
	w.sc.Device = w.sdev
	var err error
	if w.server, err = NewServer(w.sc); err != nil {
		w.t.Fatal(err)
	}
	for i, l := range w.cfg.lines {
		w.listen(i, l)
	}
	w.stopServer = w.run("server", w.server.Run)
}

// restartClient starts a client on new lines.
func (w *world) restartClient() {
	w.t.Helper()
	w.cdev = tuntest.New(tuntest.Config{Name: "cli0", MTU: 1400, Queue: 1 << 14})
	w.cc.Device = w.cdev
	var err error
	if w.client, err = NewClient(w.cc); err != nil {
		w.t.Fatal(err)
	}
	w.lines, w.ids = nil, nil
	for i, l := range w.cfg.lines {
		w.dial(i, l)
	}
	w.stopClient = w.run("client", w.client.Run)
}

// addLine adds a line at both ends.
func (w *world) addLine(i int, l line) {
	w.t.Helper()
	w.listen(i, l)
	w.dial(i, l)
}

// listen gives the server the socket of line i.
func (w *world) listen(i int, l line) {
	w.t.Helper()
	sock, err := w.net.Listen(socketAddr(i))
	if err != nil {
		w.t.Fatal(err)
	}
	if l.server.Name == "" {
		l.server.Name = string(rune('a' + i))
	}
	if err := w.server.AddSocket(sock, l.server); err != nil {
		w.t.Fatal(err)
	}
}

// dial gives the client line i.
func (w *world) dial(i int, l line) {
	w.t.Helper()
	if l.cfg.Name == "" {
		l.cfg.Name = string(rune('a' + i))
	}
	local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}), 0)
	ln, err := w.net.Dial(local, socketAddr(i), l.up, l.down)
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := w.client.AddLink(ln, l.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.lines = append(w.lines, ln)
	w.ids = append(w.ids, id)
}

// socketAddr is where the server listens for line i.
func socketAddr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), uint16(5000+i))
}

var (
	zeroKey    crypto.PrivateKey
	zeroPublic crypto.PublicKey
)

// run starts a Run method and returns what stops it and waits.
func (w *world) run(who string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(ctx); !errors.Is(err, context.Canceled) {
			w.t.Errorf("%s: Run returned %v", who, err)
		}
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-ended
	})
}

func (w *world) close() {
	w.stopClient()
	w.stopServer()
}

// sleep lets d pass, and everything that is due in it happen.
func (w *world) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// udp is a packet of size bytes from the client's host or the server's, whose payload
// says its flow (the source port) and its number.
func udp(fromClient bool, flow uint16, n uint64, size int) []byte {
	src, dst := netip.AddrPortFrom(clientHost, flow), netip.AddrPortFrom(serverHost, 9)
	if !fromClient {
		src, dst = netip.AddrPortFrom(serverHost, flow), netip.AddrPortFrom(clientHost, 9)
	}
	payload := bytes.Repeat([]byte{byte(n)}, size-28)
	binary.BigEndian.PutUint64(payload, n)
	return tuntest.UDP4(src, dst, payload)
}

// number returns what udp was given.
func number(t *testing.T, pkt []byte) (flow uint16, n uint64) {
	t.Helper()
	if err := tuntest.Check(pkt); err != nil {
		t.Fatalf("the tunnel delivered a damaged packet: %v", err)
	}
	payload, err := tuntest.Payload(pkt)
	if err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint16(pkt[20:]), binary.BigEndian.Uint64(payload)
}

// receive returns the numbers of the packets that a device has delivered so far.
func receive(t *testing.T, dev *tuntest.Device) (numbers []uint64) {
	t.Helper()
	buf := make([]byte, 2048)
	for {
		n, ok := dev.TryReceive(buf)
		if !ok {
			return numbers
		}
		_, x := number(t, buf[:n])
		numbers = append(numbers, x)
	}
}

// eventLog collects events.
type eventLog struct {
	mu  sync.Mutex
	all []Event
}

func (l *eventLog) add(ev Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, ev)
}

// take returns the events since the last call, as "kind link".
func (l *eventLog) take() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range l.all {
		s := ev.Kind.String()
		if ev.Link != "" {
			s += " " + ev.Link
		}
		out = append(out, s)
	}
	l.all = nil
	return out
}

// testLogger logs to the test when it runs verbosely.
func testLogger(t testing.TB, who string) *slog.Logger {
	if !testing.Verbose() {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("who", who)
}
