package netlab

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

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
		r, err := c.x.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("goodput %.0f, steady %.0f bit/s, gap %v, %d retransmits", r.Goodput, r.Steady(time.Second), r.LongestGap, r.Retransmits)
		if got := r.Steady(time.Second); !within(got, c.want, 0.03) {
			t.Errorf("%.0f bit/s, want %.0f; series %v", got, c.want, r.Series)
		}
	}
	sound(t, lab)
}

// TestFullLoad has both directions of two lines at 50 Mbit/s full at once.
func TestFullLoad(t *testing.T) {
	Require(t)
	l := Line{Up: 50e6, Down: 50e6, Delay: 10 * time.Millisecond}
	lab := New(t, Config{Lines: []Line{l, l}})
	var wg sync.WaitGroup
	for k := range 2 {
		for _, x := range []Transfer{
			{From: lab.Client, To: lab.Server, Addr: lab.ServerAddr(k), Source: lab.ClientAddr(k)},
			{From: lab.Server, To: lab.Client, Addr: lab.ClientAddr(k), Source: lab.ServerAddr(k)},
		} {
			x.Duration = 4 * time.Second
			wg.Go(func() {
				r, err := x.Run(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				t.Logf("to %v: steady %.0f bit/s, gap %v, %d retransmits", x.Addr, r.Steady(time.Second), r.LongestGap, r.Retransmits)
			})
		}
	}
	time.Sleep(time.Second)
	before, start := lab.Stats(), time.Now()
	time.Sleep(2 * time.Second)
	after, elapsed := lab.Stats(), time.Since(start).Seconds()
	wg.Wait()
	// The data of one direction and the acknowledgements of the other share the rate, and
	// how TCP fills it is not the lab's business.
	for k := range 2 {
		for i, d := range [][2]DirectionStats{{before[k].Up, after[k].Up}, {before[k].Down, after[k].Down}} {
			got := float64(d[1].DeliveredBytes-d[0].DeliveredBytes) * 8 / elapsed
			if got < 0.9*50e6 || got > 1.01*50e6 {
				t.Errorf("line %d direction %d: %.0f bit/s, want 50e6", k, i, got)
			}
		}
	}
	sound(t, lab)
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
