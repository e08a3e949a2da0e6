package netlab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// steadily makes a measurement up to three times, until it is as it should be: on a
// machine that does not give the lab the processor in time, what is measured is that. What
// is wrong with the lab is so each time.
func steadily(t *testing.T, measure func(fail func(format string, args ...any))) {
	t.Helper()
	for try := 1; ; try++ {
		var failures []string
		measure(func(format string, args ...any) { failures = append(failures, fmt.Sprintf(format, args...)) })
		if len(failures) == 0 {
			return
		}
		for _, f := range failures {
			if try == 3 {
				t.Error(f)
			} else {
				t.Logf("try %d does not count: %s", try, f)
			}
		}
		if try == 3 {
			return
		}
	}
}

// tcpShare is the payload of TCP with timestamps in a line's rate.
const tcpShare = 1448.0 / 1538

func TestRate(t *testing.T) {
	Require(t)
	lab := New(t, Config{Lines: []Line{{Up: 20e6, Down: 5e6, Delay: 10 * time.Millisecond}}})
	for _, c := range []struct {
		x    Transfer
		want float64
	}{
		{Transfer{From: lab.Client, To: lab.Server, Addr: lab.PublicAddr()}, 20e6 * tcpShare},
		{Transfer{From: lab.Server, To: lab.Client, Addr: lab.ClientAddr(0)}, 5e6 * tcpShare},
	} {
		c.x.Duration = 3 * time.Second
		steadily(t, func(fail func(string, ...any)) {
			r, err := c.x.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("goodput %.0f, steady %.0f bit/s, gap %v, %d retransmits", r.Goodput, r.Steady(time.Second), r.LongestGap, r.Retransmits)
			if got := r.Steady(time.Second); !within(got, c.want, 0.03) {
				fail("%.0f bit/s, want %.0f; series %v", got, c.want, r.Series)
			}
		})
	}
	sound(t, lab)
}

// TestFullLoad keeps both directions of two lines at 50 Mbit/s full at once.
func TestFullLoad(t *testing.T) {
	Require(t)
	steadily(t, func(fail func(string, ...any)) { fullLoad(t, fail) })
}

func fullLoad(t *testing.T, fail func(string, ...any)) {
	const rate = 50e6
	// The queue stands in for the senders while they do not get the processor.
	l := Line{Up: rate, Down: rate, Delay: 10 * time.Millisecond, Queue: backlog}
	lab := New(t, Config{Lines: []Line{l, l}})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for k := range 2 {
		wg.Go(func() { flood(t, ctx, lab.Client, lab.Server, lab.ClientAddr(k), lab.ServerAddr(k), 1.05*rate) })
		wg.Go(func() { flood(t, ctx, lab.Server, lab.Client, lab.ServerAddr(k), lab.ClientAddr(k), 1.05*rate) })
	}
	time.Sleep(500 * time.Millisecond)
	before, start := lab.Stats(), time.Now()
	time.Sleep(3 * time.Second)
	after, elapsed := lab.Stats(), time.Since(start).Seconds()
	cancel()
	wg.Wait()
	for k := range 2 {
		for i, d := range [][2]DirectionStats{{before[k].Up, after[k].Up}, {before[k].Down, after[k].Down}} {
			got := float64(d[1].DeliveredBytes-d[0].DeliveredBytes) * 8 / elapsed
			if !within(got, rate, 0.02) {
				fail("line %d direction %d: %.0f bit/s, want %.0f; %+v", k, i, got, rate, d[1])
			}
		}
	}
	if cpu, err := cpuTime(lab.bridge.cmd.Process.Pid); err == nil {
		t.Logf("bridge: %v of processor time", cpu)
	}
	soundOr(fail, t, lab)
}

// backlog is what flood sends in advance.
const backlog = 500 * time.Millisecond

// flood sends full packets at a rate until ctx is done.
func flood(t *testing.T, ctx context.Context, from, to *Host, src, dst netip.Addr, rate float64) {
	sink, err := to.ListenPacket("udp", netip.AddrPortFrom(dst, 0).String())
	if err != nil {
		t.Error(err)
		return
	}
	defer sink.Close()
	c, err := from.ListenPacket("udp", netip.AddrPortFrom(src, 0).String())
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	payload := make([]byte, 1472)
	start, sent := time.Now().Add(-backlog), 0
	for ctx.Err() == nil {
		for due := int(time.Since(start).Seconds() * rate / (1538 * 8)); sent < due; sent++ {
			if _, err := c.WriteTo(payload, sink.LocalAddr()); err != nil {
				t.Error(err)
				return
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestTransferHash(t *testing.T) {
	Require(t)
	lab := New(t, Config{Lines: []Line{{Loss: 0.005, Delay: time.Millisecond}}})
	const n = 3<<20 + 1
	r, err := TransferHash(lab.Client, lab.Server, lab.ServerAddr(0), n)
	if err != nil || r.Bytes != n {
		t.Fatalf("%d bytes, want %d: %v", r.Bytes, n, err)
	}
	if s := lab.Stats()[0]; r.Retransmits == 0 || s.Up.Lost == 0 {
		t.Errorf("%d retransmits, %d frames lost; want some", r.Retransmits, s.Up.Lost)
	}
}

// TestTransferGap checks that a pause of the line is seen by the transfer, and that one
// that never ends fails it.
func TestTransferGap(t *testing.T) {
	Require(t)
	lab := New(t, Config{Lines: []Line{{Up: 10e6, Down: 10e6, Delay: 5 * time.Millisecond}}})
	x := Transfer{From: lab.Client, To: lab.Server, Addr: lab.ServerAddr(0), Duration: 2 * time.Second}
	time.AfterFunc(600*time.Millisecond, func() { lab.Blackhole(0, true) })
	time.AfterFunc(1000*time.Millisecond, func() { lab.Blackhole(0, false) })
	r, err := x.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.LongestGap < 350*time.Millisecond || r.LongestGap > 1400*time.Millisecond {
		t.Errorf("longest gap %v, want 400ms and what TCP needs to notice", r.LongestGap)
	}

	time.AfterFunc(100*time.Millisecond, func() { lab.Blackhole(0, true) })
	x.Timeout = time.Second
	if _, err := x.Run(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("transfer into a blackhole: %v, want the deadline", err)
	}
}
