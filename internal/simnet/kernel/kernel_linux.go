package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multilink-vpn/multilink/internal/netlab"
	"github.com/multilink-vpn/multilink/internal/simnet"
)

// A Config says what to measure: one TCP flow of the kernel's.
type Config struct {
	Profile   simnet.Profile
	Tunnel    simnet.Tunnel
	Direction simnet.Direction
	Control   string // as the kernel calls it: "cubic" or "bbr"

	// Duration is how long the flow sends, of which Warmup is not measured.
	Duration, Warmup time.Duration

	// Seed is that of the lines.
	Seed uint64
}

// A Result is what was measured.
type Result struct {
	Goodput     float64 // bits per second
	Retransmits uint32

	// Late is the 99th percentile of how late things happened in the network, Stalled the
	// time in which it stood still for longer than stallMin. What was measured on a
	// machine that was busy is worth nothing.
	Late, Stalled time.Duration
}

// Measure measures one flow between the hosts of a lab, which must have no other use for
// the addresses 10.42.0.1 and 10.42.0.2.
func Measure(tb testing.TB, lab *netlab.Lab, c Config) Result {
	tb.Helper()
	r, err := measure(lab, c)
	if err != nil {
		tb.Fatalf("measure %s over %s: %v", c.Control, c.Profile.Name, err)
	}
	return r
}

func measure(lab *netlab.Lab, c Config) (r Result, err error) {
	hosts := [2]*netlab.Host{simnet.Client: lab.Client, simnet.Server: lab.Server}
	b := &bridge{buf: make([]byte, 65536), lags: make([]time.Duration, 0, 1<<20)}
	defer b.close()
	// A collection stops the bridge until all threads have noticed.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	// Nor may it wait behind the hosts' goroutines when it comes back from the kernel.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(spareProcs))
	mtu := c.Tunnel.MTU
	if mtu == 0 {
		mtu = simnet.DefaultMTU
	}
	for side, host := range hosts {
		if b.tuns[side], err = openTUN(host, addrs[side], mtu); err != nil {
			return r, fmt.Errorf("open a TUN device on %s: %w", host.Name, err)
		}
	}
	b.network, err = simnet.NewNetwork(simnet.NetworkConfig{Profile: c.Profile, Tunnel: c.Tunnel, Seed: c.Seed, Deliver: b.deliver})
	if err != nil {
		return r, err
	}
	done := make(chan error, 1)
	go func() { done <- b.run() }()

	from, to := simnet.Server, simnet.Client
	if c.Direction == simnet.Up {
		from, to = to, from
	}
	transfer, err := netlab.Transfer{From: hosts[from], To: hosts[to], Addr: addrs[to], Duration: c.Duration, Congestion: c.Control}.Run(context.Background())
	b.stop.Store(true)
	err = errors.Join(err, <-done)
	late, stalled := b.late()
	return Result{Goodput: transfer.Steady(c.Warmup), Retransmits: transfer.Retransmits, Late: late, Stalled: stalled}, err
}

var addrs = [2]netip.Addr{
	simnet.Client: netip.AddrFrom4([4]byte{10, 42, 0, 1}),
	simnet.Server: netip.AddrFrom4([4]byte{10, 42, 0, 2}),
}

// A bridge carries packets between two TUN devices through a network.
type bridge struct {
	network *simnet.Network
	tuns    [2]*os.File
	fds     [2]int
	buf     []byte
	stop    atomic.Bool
	lags    []time.Duration
}

func (b *bridge) close() {
	for _, f := range b.tuns {
		if f != nil {
			f.Close()
		}
	}
}

func (b *bridge) deliver(side int, pkt []byte) {
	// A device that takes no packet drops it, as a network card would.
	_, _ = unix.Write(b.fds[side], pkt)
}

// spareProcs is more than there are goroutines with something to do.
const spareProcs = 16

// maxWait bounds the time in which stop is not looked at.
const maxWait = 20 * time.Millisecond

// run moves packets until stop is set. It has a thread of its own, and waits in the
// kernel: the timers of the Go runtime are late by too much.
func (b *bridge) run() error {
	runtime.LockOSThread() // not unlocked: the thread ends with the goroutine, its slack with it
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set the timer slack: %w", err)
	}
	// Ahead of whatever else the machine does. Where that is forbidden, the result says
	// how late things were.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 10}, 0)
	var polled [2]unix.PollFd
	for side, f := range b.tuns {
		b.fds[side] = int(f.Fd())
		if err := unix.SetNonblock(b.fds[side], true); err != nil {
			return err
		}
		polled[side] = unix.PollFd{Fd: int32(b.fds[side]), Events: unix.POLLIN}
	}
	start := time.Now()
	for !b.stop.Load() {
		now := time.Since(start)
		if due := b.network.Next(); due <= now {
			b.lags = append(b.lags, now-due)
		}
		for side := range b.fds {
			b.ingress(now, side)
		}
		if err := b.network.Advance(now); err != nil {
			return err
		}
		wait := min(b.network.Next()-time.Since(start), maxWait)
		if wait <= 0 {
			continue
		}
		timeout := unix.NsecToTimespec(int64(wait))
		if _, err := unix.Ppoll(polled[:], &timeout, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("poll: %w", err)
		}
	}
	return nil
}

// ingress takes what the kernel sends, a bounded number of packets.
func (b *bridge) ingress(now time.Duration, side int) {
	for range 64 {
		n, err := unix.Read(b.fds[side], b.buf)
		if err != nil {
			return // nothing left
		}
		if pkt := b.buf[:n]; n > 0 && pkt[0]>>4 == 4 { // not the kernel's IPv6 chatter
			b.network.Ingress(now, side, pkt)
		}
	}
}

// stallMin is how late something must happen to count as a stall.
const stallMin = 3 * time.Millisecond

func (b *bridge) late() (p99, stalled time.Duration) {
	for _, d := range b.lags {
		if d >= stallMin {
			stalled += d
		}
	}
	slices.Sort(b.lags)
	if n := len(b.lags); n > 0 {
		p99 = b.lags[n*99/100]
	}
	return p99, stalled
}
