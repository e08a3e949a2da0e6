package mlvpn

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// A server with a thousand clients of two links each, over real sockets on loopback. The
// clients are in a process of their own, so that memory and time are the server's.

const scaleRole = "MULTILINK_TEST_SCALE"

// scaleKey is the private key of a client, or of the server (-1).
func scaleKey(i int) crypto.PrivateKey {
	return crypto.PrivateKey(sha256.Sum256(fmt.Appendf(nil, "scale %d", i)))
}

// TestScaleClients is not a test: it is what TestScale starts.
func TestScaleClients(t *testing.T) {
	server, ok := os.LookupEnv(scaleRole)
	if !ok {
		t.Skip("run by TestScale")
	}
	debug.SetGCPercent(400)
	addr := netip.MustParseAddrPort(server)
	n := times(scaleOrdinary, scaleLong)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for i := range n {
		c, err := NewClient(ClientConfig{
			Config: Config{Device: tuntest.New(tuntest.Config{MTU: 1400}), Key: scaleKey(i)},
			Server: scaleKey(-1).Public(),
		})
		if err != nil {
			t.Fatal(err)
		}
		for j := range 2 {
			local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, byte(10 + j), byte(i >> 8), byte(i)}), 0)
			l, err := link.DialUDP(link.UDPConfig{Local: local, Remote: addr})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.AddLink(l, LinkConfig{Name: fmt.Sprint("line", j)}); err != nil {
				t.Fatal(err)
			}
		}
		running.Go(func() { c.Run(ctx) })
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin) // until the parent ends it
	cancel()
	running.Wait()
}

const (
	scaleOrdinary = 20
	scaleLong     = 1000
)

// A scaleServer is a server for the clients of TestScaleClients.
type scaleServer struct {
	*Server
	stop func()
}

func newScaleServer(t *testing.T, addr netip.AddrPort, n int) (*scaleServer, netip.AddrPort) {
	t.Helper()
	cfg := ServerConfig{Config: Config{Device: tuntest.New(tuntest.Config{MTU: 1400}), Key: scaleKey(-1)}}
	for i := range n {
		cfg.Clients = append(cfg.Clients, Peer{Name: fmt.Sprint("client", i), Key: scaleKey(i).Public()})
	}
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	sock, err := link.ListenUDP(link.UDPConfig{Local: addr})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddSocket(sock, LinkConfig{Name: "wan"}); err != nil {
		t.Fatal(err)
	}
	return &scaleServer{s, start(t, s.Run)}, sock.LocalAddr()
}

// wait returns how long it takes until all links of n clients are up.
func (s *scaleServer) wait(t *testing.T, n int, limit time.Duration) time.Duration {
	t.Helper()
	begin := time.Now()
	for {
		links := 0
		for _, ses := range s.Stats().Sessions {
			for _, l := range ses.Links {
				if l.State == LinkIsUp {
					links++
				}
			}
		}
		took := time.Since(begin)
		if links == 2*n {
			return took
		}
		if took > limit {
			t.Fatalf("after %v only %d of %d links are up", took, links, 2*n)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// cpuTime returns what this process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestScale needs MULTILINK_LONG=1 for a thousand clients, and then measures what a
// client costs.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("uses real time")
	}
	n := times(scaleOrdinary, scaleLong)
	base := heap()
	s, addr := newScaleServer(t, netip.MustParseAddrPort("127.0.0.1:0"), n)
	defer func() { s.stop() }()
	empty := heap()

	clients := exec.Command(os.Args[0], "-test.run", "^TestScaleClients$", "-test.timeout", "10m")
	clients.Env = append(os.Environ(), scaleRole+"="+addr.String())
	clients.Stderr = os.Stderr
	stdin, err := clients.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := clients.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := clients.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		if err := clients.Wait(); err != nil {
			t.Errorf("the clients: %v", err)
		}
	}()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.Contains(lines.Text(), "ready") {
	}
	go io.Copy(io.Discard, stdout)

	t.Logf("%d clients are up after %v", n, s.wait(t, n, time.Minute).Round(10*time.Millisecond))
	idle := time.Second
	if longTests() {
		time.Sleep(quietAfter + 2*time.Second) // until all paths rest
		idle = 10 * time.Second
	}
	full := heap()
	each := (int64(full) - int64(empty)) / int64(n)
	before := cpuTime(t)
	time.Sleep(idle)
	used := cpuTime(t) - before
	t.Logf("%.1f KiB of heap for each idle client, %.1f MiB for the server without any; %.1f %% of a core for all",
		float64(each)/1024, float64(empty-base)/(1<<20), 100*used.Seconds()/idle.Seconds())
	if share := used.Seconds() / idle.Seconds(); longTests() && share > 0.05 {
		t.Errorf("idle clients cost %.1f %% of a core, want less than 5", 100*share)
	}
	if each > 150<<10 {
		t.Errorf("an idle client costs %d KiB, want at most 150", each>>10)
	}

	for _, graceful := range []bool{true, false}[:times(1, 2)] {
		if !graceful {
			s.e.call(func(time.Time) { clear(s.e.sender.sessions) }) // it says goodbye to nobody
		}
		s.stop()
		s, _ = newScaleServer(t, addr, n)
		t.Logf("back after %v, graceful: %v", s.wait(t, n, 30*time.Second).Round(10*time.Millisecond), graceful)
	}
}
