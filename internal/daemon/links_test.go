package daemon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/fib"
	"github.com/multilink-vpn/multilink/mlvpn"
	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// A rig is a client and a server as the daemon runs them, on the loopback, with devices
// in memory.
type rig struct {
	t              *testing.T
	server, client *reloader
	sdev, cdev     *tuntest.Device
	mserver        *mlvpn.Server
	mclient        *mlvpn.Client
	events         *events
	stop           func()
}

// settingsOf parses a configuration, with the keys of another that is the same in that.
func settingsOf(t *testing.T, text string, keys keyring) *settings {
	t.Helper()
	return &settings{conf: parse(t, text), keys: keys}
}

// newRig starts both ends. The caller stops it.
func newRig(t *testing.T, serverText, clientText string) *rig {
	t.Helper()
	keys, err := parseKeys(parse(t, clientText))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t}
	r.sdev = tuntest.New(tuntest.Config{Name: "srv0", MTU: 1400, Queue: 1 << 14})
	r.cdev = tuntest.New(tuntest.Config{Name: "cli0", MTU: 1400, Queue: 1 << 14})
	ss, cs := settingsOf(t, serverText, keys), settingsOf(t, clientText, keys)

	slinks, err := openServerLinks(ss.conf, new(fib.Tables), discard)
	if err != nil {
		t.Fatal(err)
	}
	if r.mserver, err = mlvpn.NewServer(serverConfig(ss, mlvpn.Config{Device: r.sdev, PasswordKey: keys.password, NewScheduler: weighted})); err != nil {
		t.Fatal(err)
	}
	if err := slinks.begin(r.mserver); err != nil {
		t.Fatal(err)
	}
	if r.events, err = newEvents(cs.conf, discard); err != nil {
		t.Fatal(err)
	}
	client, err := newClient(cs.conf, keys, mlvpn.Config{Device: r.cdev, PasswordKey: keys.password, OnEvent: r.events.handle, NewScheduler: weighted}, "rig")
	if err != nil {
		t.Fatal(err)
	}
	r.mclient = client.(*mlvpn.Client)
	ctx, cancel := context.WithCancel(context.Background())
	clinks := startClientLinks(ctx, r.mclient, cs.conf, r.events, new(fib.Tables), discard)
	r.server = &reloader{opts: Options{Log: discard}, now: ss, parts: []part{slinks}}
	r.client = &reloader{opts: Options{Log: discard}, now: cs, parts: []part{clinks}}
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{r.mserver.Run, r.mclient.Run} {
		running.Go(func() {
			if err := run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Run returned %v", err)
			}
		})
	}
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		clinks.close()
		slinks.close()
	})
	t.Cleanup(r.stop)
	return r
}

// weighted makes a scheduler that uses all links alike, however little there is to send.
func weighted() scheduler.Scheduler { return new(scheduler.Weighted) }

// reload gives an end another configuration.
func (r *rig) reload(end *reloader, text string) {
	r.t.Helper()
	if _, err := end.apply(settingsOf(r.t, text, end.now.keys)); err != nil {
		r.t.Fatal(err)
	}
}

// links returns the names of the client's links that are up.
func (r *rig) up() (names []string) {
	st := r.mclient.Stats()
	if len(st.Sessions) == 0 {
		return nil
	}
	for _, l := range st.Sessions[0].Links {
		if l.State == mlvpn.LinkIsUp {
			names = append(names, l.Name)
		}
	}
	return names
}

// waitUp waits until exactly these links of the client are up, in any order.
func (r *rig) waitUp(want ...string) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := r.up()
		if len(got) == len(want) && !strings.ContainsFunc(strings.Join(want, ""), func(c rune) bool {
			return !strings.Contains(strings.Join(got, ""), string(c))
		}) {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("links %q are up, want %q", got, want)
		}
	}
}

// A stream sends numbered packets both ways through the rig until it is stopped, and
// counts what arrives.
type stream struct {
	sent, received [2]atomic.Uint64
	stop           func()
}

func (r *rig) stream(pause time.Duration) *stream {
	s := &stream{}
	var running, reading sync.WaitGroup
	done := make(chan struct{})
	a, b := netip.MustParseAddrPort("10.42.0.2:1"), netip.MustParseAddrPort("10.42.0.1:2")
	for i, way := range []struct {
		from, to *tuntest.Device
		src, dst netip.AddrPort
	}{{r.cdev, r.sdev, a, b}, {r.sdev, r.cdev, b, a}} {
		running.Go(func() {
			payload := make([]byte, 500)
			for tick := time.NewTicker(pause); ; {
				select {
				case <-tick.C:
				case <-done:
					tick.Stop()
					return
				}
				binary.BigEndian.PutUint64(payload, s.sent[i].Add(1))
				if err := way.from.Inject(tuntest.UDP4(way.src, way.dst, payload)); err != nil {
					return
				}
			}
		})
		reading.Go(func() {
			buf := make([]byte, 2048)
			for quiet := 0; quiet < 50; {
				if _, ok := way.to.TryReceive(buf); ok {
					s.received[i].Add(1)
					quiet = 0
					continue
				}
				time.Sleep(10 * time.Millisecond)
				select {
				case <-done:
					quiet++
				default:
				}
			}
		})
	}
	s.stop = sync.OnceFunc(func() {
		close(done)
		running.Wait()
		reading.Wait()
	})
	r.t.Cleanup(s.stop)
	return s
}

func (s *stream) wantAll(t *testing.T) {
	t.Helper()
	s.stop()
	for i, name := range []string{"upstream", "downstream"} {
		if sent, received := s.sent[i].Load(), s.received[i].Load(); sent != received || sent == 0 {
			t.Errorf("%s: %d of %d packets arrived", name, received, sent)
		}
	}
}

// freePort returns a port that nobody has, of UDP and TCP.
func freePort(t *testing.T) uint16 {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		c, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		l.Close()
		if err == nil {
			c.Close()
			return uint16(port)
		}
	}
}

const rigGeneral = "password = \"a very long random string, really\"\ntimeout = 10\n"

func serverConf(sections ...string) string {
	return "[general]\nmode = \"server\"\n" + rigGeneral + "ip4 = \"10.42.0.1/24\"\n" + strings.Join(sections, "")
}

func clientConf(sections ...string) string {
	return "[general]\nmode = \"client\"\n" + rigGeneral + "ip4 = \"10.42.0.2/24\"\n" + strings.Join(sections, "")
}

func serverLink(name string, port uint16, more string) string {
	return fmt.Sprintf("[%s]\nbindhost = \"127.0.0.1\"\nbindport = %d\n%s", name, port, more)
}

func clientLink(name string, port uint16, more string) string {
	return fmt.Sprintf("[%s]\nremotehost = \"127.0.0.1\"\nremoteport = %d\n%s", name, port, more)
}

// fds returns the number of open files of this process, or 0 where that is not known.
func fds() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// TestReloadUnderLoad reloads both ends again and again while packets flow: links are
// added, removed, moved and changed. No packet is lost on the others, and nothing is
// left of the links that went.
func TestReloadUnderLoad(t *testing.T) {
	reloads := 100
	if os.Getenv("MULTILINK_LONG") == "1" {
		reloads = 1000
	}
	p1, p2, p3, p4 := freePort(t), freePort(t), freePort(t), freePort(t)
	const idle = "fallback_only = 1\n"
	a, ca := serverLink("a", p1, ""), clientLink("a", p1, "")
	steps := []struct{ server, client string }{
		{serverConf(a), clientConf(ca)},
		{serverConf(a, serverLink("b", p2, idle)), clientConf(ca, clientLink("b", p2, idle))},
		{serverConf(a, serverLink("b", p2, idle+"timeout = 5\n")), clientConf(ca, clientLink("b", p2, idle+"bandwidth_upload = 1000000\n"))},
		{serverConf(a, serverLink("b", p3, idle)), clientConf(ca, clientLink("b", p3, idle))},
		{serverConf(serverLink("c", p4, idle), a), clientConf(clientLink("c", p4, idle), ca)},
	}
	r := newRig(t, steps[0].server, steps[0].client)
	r.waitUp("a")
	load := r.stream(time.Millisecond)
	measure := func() (goroutines, files int, heap uint64) {
		time.Sleep(1500 * time.Millisecond) // links that go take a little
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), fds(), m.HeapAlloc
	}
	run := func(n int) {
		for i := range n {
			step := steps[(i+1)%len(steps)]
			r.reload(r.server, step.server)
			r.reload(r.client, step.client)
			time.Sleep(10 * time.Millisecond)
		}
		r.reload(r.server, steps[0].server)
		r.reload(r.client, steps[0].client)
	}
	run(20)
	g0, f0, h0 := measure()
	run(reloads)
	g1, f1, h1 := measure()
	t.Logf("%d reloads: goroutines %d, %d; files %d, %d; heap %d KiB, %d KiB", reloads, g0, g1, f0, f1, h0>>10, h1>>10)
	if g1 > g0+2 || f1 > f0+2 {
		t.Errorf("goroutines %d after %d, open files %d after %d: reloads leak", g1, g0, f1, f0)
	}
	if h1 > h0+4<<20 {
		t.Errorf("the heap grew from %d to %d bytes", h0, h1)
	}
	load.wantAll(t)
	r.stop()
}

// TestReloadUsesLinks checks that links that a reload adds, changes and moves do work.
func TestReloadUsesLinks(t *testing.T) {
	p1, p2, p3 := freePort(t), freePort(t), freePort(t)
	a, ca := serverLink("a", p1, ""), clientLink("a", p1, "")
	r := newRig(t, serverConf(a), clientConf(ca))
	r.waitUp("a")
	load := r.stream(time.Millisecond)
	r.reload(r.server, serverConf(a, serverLink("b", p2, "")))
	r.reload(r.client, clientConf(ca, clientLink("b", p2, "")))
	r.waitUp("a", "b")
	r.reload(r.server, serverConf(a, serverLink("b", p3, "")))
	r.reload(r.client, clientConf(ca, clientLink("b", p3, "")))
	time.Sleep(100 * time.Millisecond)
	r.waitUp("a", "b")
	// The port of the one that goes is the port of the one that comes.
	r.reload(r.server, serverConf(a, serverLink("c", p3, "")))
	r.reload(r.client, clientConf(ca, clientLink("c", p3, "")))
	r.waitUp("a", "c")
	sent := func() map[string]uint64 {
		by := make(map[string]uint64)
		for _, l := range r.mserver.Traffic() {
			by[l.Name] = l.SentPackets
		}
		return by
	}
	before := sent()
	time.Sleep(500 * time.Millisecond)
	after := sent()
	for _, name := range []string{"a", "c"} {
		if n := after[name] - before[name]; n < 10 { // more than probes
			t.Errorf("the server sent %d packets on %s", n, name)
		}
	}
	load.stop()
	for i := range load.sent {
		sent, received := load.sent[i].Load(), load.received[i].Load()
		t.Logf("%d of %d packets arrived", received, sent)
		if received < sent*9/10 {
			t.Errorf("%d of %d packets arrived", received, sent)
		}
	}
}

// TestReloadRefusesBusyPort has a server refuse a port that another program has, and
// keep all that it had.
func TestReloadRefusesBusyPort(t *testing.T) {
	p1, p2 := freePort(t), freePort(t)
	a, ca := serverLink("a", p1, ""), clientLink("a", p1, "")
	r := newRig(t, serverConf(a), clientConf(ca))
	r.waitUp("a")
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	busy := uint16(other.LocalAddr().(*net.UDPAddr).Port)
	bad := serverConf(serverLink("b", p2, ""), serverLink("c", busy, ""))
	_, err = r.server.apply(settingsOf(t, bad, r.server.now.keys))
	if err == nil || !strings.Contains(err.Error(), "mlvpn.conf:9: link c") {
		t.Errorf("error %v, want one that names the file, the line and the link", err)
	}
	load := r.stream(time.Millisecond)
	time.Sleep(200 * time.Millisecond)
	load.wantAll(t)
	free, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", p2))
	if err != nil {
		t.Fatalf("the port that was opened for nothing is still open: %v", err)
	}
	free.Close()
}

// TestTransports connects by each transport, with one of UDP beside it.
func TestTransports(t *testing.T) {
	for _, transport := range []conf.Transport{conf.TCP, conf.TLS, conf.WebSocket} {
		for _, more := range []string{"", "websocket_path = \"/t\"\nwebsocket_tls = 0\n"} {
			if more != "" && transport != conf.WebSocket {
				continue
			}
			t.Run(string(transport), func(t *testing.T) {
				p1, p2 := freePort(t), freePort(t)
				section := fmt.Sprintf("transport = %q\n%s", transport, more)
				r := newRig(t, serverConf(serverLink("a", p1, ""), serverLink("b", p2, section)),
					clientConf(clientLink("a", p1, ""), clientLink("b", p2, section)))
				r.waitUp("a", "b")
				load := r.stream(time.Millisecond)
				time.Sleep(300 * time.Millisecond)
				load.wantAll(t)
				up, down := load.sent[0].Load(), load.sent[1].Load()
				for _, l := range r.mserver.Traffic() {
					if l.Name == "b" && (l.SentPackets < down/5 || l.ReceivedPackets < up/5) {
						t.Errorf("of %d packets up and %d down the link carried %+v", up, down, l)
					}
				}
			})
		}
	}
}

// TestAddresses connects by every way to name an address: of both families, by name, and
// any address of either family at both ends.
func TestAddresses(t *testing.T) {
	if c, err := net.ListenPacket("udp", "[::1]:0"); err != nil {
		t.Skip("there is no IPv6 here")
	} else {
		c.Close()
	}
	type end struct{ server, client, remote string }
	for _, transport := range []conf.Transport{conf.UDP, conf.TCP} {
		var server, client []string
		var names []string
		for i, e := range []end{
			{"", "", "127.0.0.1"},
			{"::", "", "::1"},
			{"::", "", "127.0.0.1"},
			{"0.0.0.0", "0.0.0.0", "localhost"},
			{"::1", "::", "::1"},
			{"::", "::", "127.0.0.1"}, // as in MLVPN's sample
			{"::", "0.0.0.0", "::1"},
			{"localhost", "::1", "::1"},
			{"::", "127.0.0.1", "localhost"},
		} {
			if e.server == "localhost" {
				a, err := resolve(t.Context(), "localhost")
				if err != nil {
					t.Fatal(err)
				}
				e.client, e.remote = a.String(), a.String()
			}
			name, port := string(rune('a'+i)), freePort(t)
			names = append(names, name)
			section := func(host string, more string) string {
				if host != "" {
					more += fmt.Sprintf("bindhost = %q\n", host)
				}
				return fmt.Sprintf("[%s]\ntransport = %q\n%s", name, transport, more)
			}
			server = append(server, section(e.server, fmt.Sprintf("bindport = %d\n", port)))
			client = append(client, section(e.client, fmt.Sprintf("remotehost = %q\nremoteport = %d\n", e.remote, port)))
		}
		r := newRig(t, serverConf(server...), clientConf(client...))
		r.waitUp(names...)
		r.stop()
	}
}

// TestKeeperKeepsItsPort has a link with a port of its own move to another server port:
// its old socket must make room.
func TestKeeperKeepsItsPort(t *testing.T) {
	p1, p2, own := freePort(t), freePort(t), freePort(t)
	both := serverConf(serverLink("a", p1, ""), serverLink("b", p2, ""))
	bind := fmt.Sprintf("bindhost = \"127.0.0.1\"\nbindport = %d\n", own)
	r := newRig(t, both, clientConf(clientLink("a", p1, bind)))
	r.waitUp("a")
	r.reload(r.client, clientConf(clientLink("a", p2, bind)))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		st := r.mserver.Stats()
		if len(st.Sessions) == 1 && slices.ContainsFunc(st.Sessions[0].Links, func(l mlvpn.LinkStats) bool {
			return l.Name == "b" && l.State == mlvpn.LinkIsUp && l.Remote.Remote.Port() == own
		}) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the link does not move: %+v", st)
		}
	}
	r.waitUp("a")
	load := r.stream(time.Millisecond)
	time.Sleep(200 * time.Millisecond)
	load.wantAll(t)
}
