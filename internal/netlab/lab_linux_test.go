package netlab

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multilink-vpn/multilink/internal/netlab/netns"
)

// sound fails the test if the bridge lost frames on its own, and logs how late it was.
func sound(t *testing.T, lab *Lab) {
	t.Helper()
	soundOr(t.Errorf, t, lab)
}

func soundOr(fail func(string, ...any), t *testing.T, lab *Lab) {
	t.Helper()
	for k, s := range lab.Stats() {
		for i, d := range []DirectionStats{s.Up, s.Down} {
			if d.Overruns+d.Unsent > 0 {
				fail("line %d direction %d: bridge lost frames: %+v", k, i, d)
			}
			t.Logf("line %d direction %d: %d packets, late by %v on average, %v at most", k, i, d.Packets, d.Late/time.Duration(max(d.Delivered, 1)), d.MaxLate)
		}
	}
}

func within(got, want, share float64) bool {
	return math.Abs(got-want) <= share*want
}

func mustPing(t *testing.T, h *Host, cfg PingConfig, dst netip.Addr, n int) PingResult {
	t.Helper()
	r, err := h.PingWith(cfg, dst, n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDelay(t *testing.T) {
	Require(t)
	lab := New(t, Config{Lines: []Line{{Up: 20e6, Down: 20e6, Delay: 10 * time.Millisecond}, {Delay: 30 * time.Millisecond}}})
	lab.SetLine(1, Down, func(p *LineParams) { p.Delay = 5 * time.Millisecond })
	for _, c := range []struct {
		from *Host
		cfg  PingConfig
		to   netip.Addr
		want time.Duration
	}{
		{lab.Client, PingConfig{}, lab.ServerAddr(0), 20 * time.Millisecond},
		{lab.Server, PingConfig{}, lab.ClientAddr(1), 35 * time.Millisecond},
		{lab.Client, PingConfig{}, lab.PublicAddr(), 20 * time.Millisecond},
		{lab.Client, PingConfig{Source: lab.ClientAddr(1)}, lab.PublicAddr(), 35 * time.Millisecond},
	} {
		c.cfg.Interval = 5 * time.Millisecond
		steadily(t, func(fail func(string, ...any)) {
			r := mustPing(t, c.from, c.cfg, c.to, 40)
			if r.Loss() != 0 || r.Min() < c.want || r.Median() > c.want+2*time.Millisecond {
				fail("ping %v from %v: loss %v, min %v, median %v, max %v; want %v", c.to, c.cfg.Source, r.Loss(), r.Min(), r.Median(), r.Max(), c.want)
			}
		})
	}
	sound(t, lab)
}

// TestDelayOfStream checks that the delay counts from the arrival of a frame, although
// the bridge looks for frames at intervals while they keep coming.
func TestDelayOfStream(t *testing.T) {
	Require(t)
	lab := New(t, Config{Lines: []Line{{Delay: 5 * time.Millisecond}}})
	steadily(t, func(fail func(string, ...any)) {
		r := mustPing(t, lab.Client, PingConfig{Interval: 1300 * time.Microsecond}, lab.ServerAddr(0), 300)
		if r.Median() > 10*time.Millisecond+400*time.Microsecond {
			fail("min %v, median %v, max %v; want 10ms", r.Min(), r.Median(), r.Max())
		}
	})
}

func TestSerialization(t *testing.T) {
	Require(t)
	lab := New(t, Config{Lines: []Line{{Up: 1e6, Down: 1e6}}})
	// 1472 bytes of payload make a full packet, 12.3 ms at 1 Mbit/s each way.
	want := 2 * 1538 * 8 * time.Microsecond
	steadily(t, func(fail func(string, ...any)) {
		r := mustPing(t, lab.Client, PingConfig{Size: 1472, Interval: 30 * time.Millisecond}, lab.ServerAddr(0), 10)
		if r.Min() < want || r.Median() > want+2*time.Millisecond {
			fail("min %v, median %v; want %v", r.Min(), r.Median(), want)
		}
	})
}

func TestLoss(t *testing.T) {
	Require(t)
	const n = 1000
	// The same seed loses the same frames, however they are timed.
	var before []DirectionStats
	for _, interval := range []time.Duration{time.Millisecond / 2, time.Millisecond} {
		lab := New(t, Config{Lines: []Line{{Loss: 0.1}}, Seed: 42})
		r := mustPing(t, lab.Client, PingConfig{Interval: interval, Timeout: 200 * time.Millisecond}, lab.ServerAddr(0), n)
		s := lab.Stats()[0]
		if !within(float64(s.Up.Lost), 0.1*n, 0.35) || !within(float64(s.Down.Lost), 0.09*n, 0.35) {
			t.Errorf("lost %d up, %d down; want about 100 and 90", s.Up.Lost, s.Down.Lost)
		}
		if lost := n - r.Received; uint64(lost) != s.Up.Lost+s.Down.Lost || s.Up.Packets != n {
			t.Errorf("%d replies missing, counters %+v", lost, s)
		}
		before = append(before, s.Up, s.Down)
		sound(t, lab)
	}
	if before[0].Lost != before[2].Lost || before[1].Lost != before[3].Lost {
		t.Errorf("two labs of one seed lost %d, %d and %d, %d frames", before[0].Lost, before[1].Lost, before[2].Lost, before[3].Lost)
	}
}

func TestBlackhole(t *testing.T) {
	Require(t)
	lab := New(t, Config{Lines: []Line{{}, {}}})
	ping := func(k int) int {
		t.Helper()
		r := mustPing(t, lab.Client, PingConfig{Interval: time.Millisecond, Timeout: 100 * time.Millisecond}, lab.ServerAddr(k), 5)
		return r.Received
	}
	lab.Blackhole(0, true)
	if got := [2]int{ping(0), ping(1)}; got != [2]int{0, 5} {
		t.Errorf("line 0 in a blackhole: %v replies, want 0 and 5", got)
	}
	if s := lab.Stats()[0]; s.Up.Swallowed != 5 || s.Down.Packets != 0 {
		t.Errorf("counters %+v, want 5 swallowed up and none down", s)
	}
	lab.Blackhole(0, false)
	lab.SetLine(0, Down, func(p *LineParams) { p.Blackhole = true })
	if got := ping(0); got != 0 {
		t.Errorf("%d replies through a blackhole down", got)
	}
	if s := lab.Stats()[0]; s.Up.Delivered != 5 || s.Down.Swallowed != 5 {
		t.Errorf("counters %+v, want 5 delivered up and 5 swallowed down", s)
	}
	lab.Blackhole(0, false)
	if got := ping(0); got != 5 {
		t.Errorf("%d of 5 replies after the blackhole", got)
	}
}

func TestMTU(t *testing.T) {
	Require(t)
	lab := New(t, Config{Lines: []Line{{MTU: 1400}}})
	for size, want := range map[int]int{1372: 3, 1373: 0} { // 28 bytes of headers
		r := mustPing(t, lab.Client, PingConfig{Size: size, Interval: time.Millisecond, Timeout: 100 * time.Millisecond}, lab.ServerAddr(0), 3)
		if r.Received != want {
			t.Errorf("payload of %d bytes: %d of 3 replies, want %d", size, r.Received, want)
		}
	}
}

func TestSetLineRejects(t *testing.T) {
	Require(t)
	lab := New(t, Config{Lines: []Line{{}}})
	if err := lab.Shape(1, Both, func(*LineParams) {}); err == nil {
		t.Error("set a line that is not there")
	}
	if err := lab.Shape(0, Up, func(p *LineParams) { p.Loss = 2 }); err == nil || !strings.Contains(err.Error(), "loss") {
		t.Errorf("loss of 2: %v", err)
	}
	if r := mustPing(t, lab.Client, PingConfig{}, lab.ServerAddr(0), 1); r.Received != 1 {
		t.Error("the line is dead after a bad parameter")
	}
}

func TestProcess(t *testing.T) {
	Require(t)
	lab := New(t, Config{Lines: []Line{{}}})
	out, err := lab.Server.Run("cat", "/proc/net/fib_trie")
	if err != nil || !strings.Contains(out, "10.91.1.2") || strings.Contains(out, "10.91.1.1\n") {
		t.Errorf("addresses of the server: %v\n%s", err, out)
	}
	if _, err := lab.Client.Run("sh", "-c", "echo why >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("error of a program that failed: %v", err)
	}
	if _, err := lab.Client.Run("no-such-program"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("error of a program that does not exist: %v", err)
	}

	p := lab.Client.Start(t, "sh", "-c", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done")
	p.WaitOutput(t, "ready", 5*time.Second)
	if pids, err := netns.Processes(lab.Client.Name); err != nil || len(pids) == 0 {
		t.Errorf("processes on the client: %v, %v; want %d", pids, err, p.Pid())
	}
	var exit *exec.ExitError
	if err := p.Stop(); !errors.As(err, &exit) || exit.ExitCode() != 7 || !strings.Contains(p.Output(), "bye") {
		t.Errorf("stopped with %v after %q; want status 7 after bye", err, p.Output())
	}
	if err := p.Stop(); !errors.As(err, &exit) {
		t.Errorf("stopped again with %v, want the same status", err)
	}
}

func TestSocketsStay(t *testing.T) {
	Require(t)
	lab := New(t, Config{Lines: []Line{{}}})
	l, err := lab.Server.Listen("tcp", netip.AddrPortFrom(lab.PublicAddr(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Write([]byte(c.RemoteAddr().(*net.TCPAddr).IP.String()))
			c.Close()
		}
	}()
	c, err := lab.Client.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 64)
	n, _ := c.Read(buf)
	if got := string(buf[:n]); got != lab.ClientAddr(0).String() {
		t.Errorf("server saw %q, want %v", got, lab.ClientAddr(0))
	}
}

// TestEnd checks that a lab takes everything with it, and that labs do not meet.
func TestEnd(t *testing.T) {
	Require(t)
	cfg := Config{Lines: []Line{{}, {}}}
	other := New(t, cfg)
	var names []string
	var stray *exec.Cmd
	t.Run("lab", func(t *testing.T) {
		lab := New(t, cfg)
		names = []string{lab.Client.Name, lab.Server.Name}
		if lab.Client.Name == other.Client.Name {
			t.Fatal("two labs share a host")
		}
		stray = lab.Client.Command("sleep", "60")
		if err := stray.Start(); err != nil {
			t.Fatal(err)
		}
		for start := time.Now(); ; {
			if pids, _ := netns.Processes(lab.Client.Name); len(pids) == 1 {
				break
			}
			if time.Since(start) > 5*time.Second {
				t.Fatal("the program does not start")
			}
		}
	})
	if err := stray.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("program left behind ended with %v, want it killed", err)
	}
	for _, name := range names {
		if _, err := os.Stat(netns.Path(name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("namespace %s is still there: %v", name, err)
		}
	}
	if r := mustPing(t, other.Client, PingConfig{}, other.ServerAddr(1), 1); r.Received != 1 {
		t.Error("the end of one lab broke the other")
	}
}

// TestCrash kills a process that has a lab, which must leave nothing behind.
func TestCrash(t *testing.T) {
	Require(t)
	if os.Getenv("NETLAB_CRASH") != "" {
		lab := New(t, Config{Lines: []Line{{}}})
		lab.Server.Start(t, "sleep", "60")
		os.Stdout.WriteString("name:" + lab.Client.Name + "\ndir:" + builds.dir + "\n")
		unix.Kill(os.Getpid(), syscall.SIGKILL)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$")
	cmd.Env = append(os.Environ(), "NETLAB_CRASH=1")
	out, err := cmd.Output()
	field := func(key string) string {
		_, s, ok := strings.Cut(string(out), key+":")
		s, _, _ = strings.Cut(s, "\n")
		if !ok {
			t.Fatalf("no %s from the process to be killed: %v\n%s", key, err, out)
		}
		return s
	}
	base, dir := strings.TrimSuffix(field("name"), "cl"), field("dir")
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		left, err := netns.List(base)
		_, dirErr := os.Stat(dir)
		if err == nil && len(left) == 0 && errors.Is(dirErr, os.ErrNotExist) {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("left behind: %v, %s (%v)", left, dir, dirErr)
		}
	}
}
