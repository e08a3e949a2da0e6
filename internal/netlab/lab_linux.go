package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/netlab/netns"
	"github.com/multilink-vpn/multilink/internal/netlab/wan"
)

// maxLines is bounded by the third octet of a line's addresses.
const maxLines = 250

// The zero Seed of a Config means this one.
const defaultSeed = 1

// Config describes a lab. New does not change it.
type Config struct {
	// Lines join the two hosts; there must be at least one.
	Lines []Line
	// Seed chooses all random draws of the lines. Zero means 1.
	Seed uint64
}

// Line is an internet line as seen from the client. Everything but the rates applies to
// both directions; [Lab.SetLine] sets them apart. The fields mean the same as in
// [LineParams].
type Line struct {
	Up, Down float64 // bits per second, client to server and back; zero is no limit
	Queue    time.Duration
	Delay    time.Duration // one way
	Jitter   time.Duration
	Reorder  bool
	Loss     float64
	Burst    Burst
	MTU      int
}

// The parameters and counters of a line's direction are those of the bridge.
type (
	LineParams     = wan.Params
	Burst          = wan.Burst
	DirectionStats = wan.Counters
)

// Direction selects directions of a line.
type Direction int

const (
	Up   Direction = 1 << iota // client to server
	Down                       // server to client
	Both = Up | Down
)

// LineStats are the counters of a line since the lab began.
type LineStats struct {
	Up, Down DirectionStats
}

// Lab is a running network. Its methods are safe for concurrent use. Those that return no
// error fail the test that New was called with, so they must be called from its goroutine
// or before it ends; a lab of Open does not have them.
type Lab struct {
	Client, Server *Host

	tb    testing.TB // nil in a lab of Open
	lines int
	names []string // of the namespaces

	mu     sync.Mutex
	params [][2]LineParams
	bridge *bridge
}

// Require skips the test if a lab cannot run here, saying why. With the environment
// variable MULTILINK_REQUIRE_ROOT=1 it fails the test instead, so that a machine meant
// to run these tests cannot skip them unnoticed.
func Require(tb testing.TB) {
	tb.Helper()
	err := Supported()
	switch {
	case err == nil:
	case os.Getenv("MULTILINK_REQUIRE_ROOT") == "1":
		tb.Fatalf("netlab: %v, and MULTILINK_REQUIRE_ROOT=1 forbids skipping", err)
	default:
		tb.Skipf("netlab: %v; run the test as root on Linux", err)
	}
}

// Supported reports why a lab cannot run here, if so.
func Supported() error {
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("user %d is not root", uid)
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("no TUN devices: %w", err)
	}
	f.Close()
	if _, err := exec.LookPath("go"); err != nil {
		return fmt.Errorf("cannot build the bridge: %w", err)
	}
	return netns.Supported()
}

// New starts a lab that ends with the test. It fails the test if it cannot; call
// [Require] first.
func New(tb testing.TB, cfg Config) *Lab {
	tb.Helper()
	lab, err := Open(cfg)
	if err != nil {
		tb.Fatalf("netlab: start: %v", err)
	}
	lab.tb = tb
	tb.Cleanup(lab.end)
	return lab
}

// end closes the lab of a test.
func (l *Lab) end() {
	if l.tb.Failed() {
		if stats, err := l.Counters(); err == nil {
			for k, s := range stats {
				l.tb.Logf("netlab: line %d up:   %+v", k, s.Up)
				l.tb.Logf("netlab: line %d down: %+v", k, s.Down)
			}
		}
	}
	if err := l.Close(); err != nil {
		l.tb.Errorf("netlab: %v", err)
	}
}

// Open starts a lab that is no test's. The caller must close it.
func Open(cfg Config) (_ *Lab, err error) {
	if n := len(cfg.Lines); n == 0 || n > maxLines {
		return nil, fmt.Errorf("%d lines: want 1 to %d", n, maxLines)
	}
	tool, err := buildTool()
	if err != nil {
		return nil, err
	}
	b, err := startBridge(tool)
	if err != nil {
		return nil, err
	}
	base, err := claim()
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	names := []string{base + "-cl", base + "-sv", base + "-wan"}
	lab := &Lab{
		lines:  len(cfg.Lines),
		names:  names,
		Client: &Host{Name: names[0], tool: tool},
		Server: &Host{Name: names[1], tool: tool},
		bridge: b,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lab.Close())
		}
	}()
	if _, err := b.call(wan.Request{Guard: names}); err != nil {
		return nil, err
	}
	for _, name := range names[1:] {
		if err := netns.Create(name); err != nil {
			return nil, err
		}
	}
	if err := buildTopology(names[0], names[1], names[2], len(cfg.Lines)); err != nil {
		return nil, err
	}
	open := &wan.Open{Netns: netns.Path(names[2]), Seed: cfg.Seed}
	if open.Seed == 0 {
		open.Seed = defaultSeed
	}
	for k := range cfg.Lines {
		open.Lines = append(open.Lines, wan.Ports{A: portName("a", k), B: portName("b", k)})
	}
	if _, err := lab.bridge.call(wan.Request{Open: open}); err != nil {
		return nil, err
	}
	for _, l := range cfg.Lines {
		up := LineParams{Rate: l.Up, Queue: l.Queue, Delay: l.Delay, Jitter: l.Jitter, Reorder: l.Reorder, Loss: l.Loss, Burst: l.Burst, MTU: l.MTU}
		down := up
		down.Rate = l.Down
		lab.params = append(lab.params, [2]LineParams{up, down})
	}
	var set []wan.Set
	for k, p := range lab.params {
		set = append(set, wan.Set{Line: k, Direction: 0, Params: p[0]}, wan.Set{Line: k, Direction: 1, Params: p[1]})
	}
	if _, err := lab.bridge.call(wan.Request{Set: set}); err != nil {
		return nil, err
	}
	return lab, nil
}

// claim makes the client's namespace under the first free name of this process and
// returns what the names of the lab have in common.
func claim() (base string, err error) {
	for i := 0; ; i++ {
		base := fmt.Sprintf("ml-%d-%d", os.Getpid(), i)
		err := netns.Create(base + "-cl")
		if err == nil {
			return base, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
}

// Close ends the lab. The bridge removes the namespaces when it ends, with what runs in
// them; if it died before, they are removed here.
func (l *Lab) Close() error {
	var errs []error
	if err := l.bridge.close(); err != nil {
		errs = append(errs, fmt.Errorf("bridge: %w", err))
	}
	for _, name := range l.names {
		errs = append(errs, netns.Remove(name))
	}
	return errors.Join(errs...)
}

// ClientAddr returns the client's address on line k, an index into Config.Lines.
func (l *Lab) ClientAddr(k int) netip.Addr {
	return lineAddr(k, clientSide)
}

// ServerAddr returns the server's address on line k, an index into Config.Lines.
func (l *Lab) ServerAddr(k int) netip.Addr {
	return lineAddr(k, serverSide)
}

// PublicAddr returns the server's address that every line reaches.
func (l *Lab) PublicAddr() netip.Addr {
	return publicAddr
}

// SetLine changes the parameters of line k, an index into Config.Lines. It calls edit
// with the present ones of each direction in d, Up first, and applies both at once. The
// frames on their way keep their due times.
func (l *Lab) SetLine(k int, d Direction, edit func(*LineParams)) {
	l.tb.Helper()
	if err := l.Shape(k, d, edit); err != nil {
		l.tb.Fatalf("netlab: %v", err)
	}
}

// Shape is [Lab.SetLine] for any lab.
func (l *Lab) Shape(k int, d Direction, edit func(*LineParams)) error {
	if k < 0 || k >= l.lines {
		return fmt.Errorf("set line %d: the lab has %d lines", k, l.lines)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	params := l.params[k]
	var set []wan.Set
	for i, dir := range []Direction{Up, Down} {
		if d&dir != 0 {
			edit(&params[i])
			set = append(set, wan.Set{Line: k, Direction: i, Params: params[i]})
		}
	}
	if _, err := l.bridge.call(wan.Request{Set: set}); err != nil {
		return fmt.Errorf("set line %d: %w", k, err)
	}
	l.params[k] = params
	return nil
}

// Blackhole makes line k swallow everything in both directions, silently, or stop
// doing so. Use [Lab.SetLine] for one direction.
func (l *Lab) Blackhole(k int, on bool) {
	l.tb.Helper()
	l.SetLine(k, Both, func(p *LineParams) { p.Blackhole = on })
}

// Stats returns the counters of each line.
func (l *Lab) Stats() []LineStats {
	l.tb.Helper()
	stats, err := l.Counters()
	if err != nil {
		l.tb.Fatalf("netlab: %v", err)
	}
	return stats
}

// Counters is [Lab.Stats] for any lab.
func (l *Lab) Counters() ([]LineStats, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	reply, err := l.bridge.call(wan.Request{Stats: true})
	if err != nil {
		return nil, fmt.Errorf("statistics: %w", err)
	}
	stats := make([]LineStats, len(reply.Stats))
	for k, s := range reply.Stats {
		stats[k] = LineStats{Up: s[0], Down: s[1]}
	}
	return stats, nil
}
