package main

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multilink-vpn/multilink/internal/bench/report"
	"github.com/multilink-vpn/multilink/internal/netlab"
)

const (
	// watchStep is the time between two samples of a flow, and so the resolution of gaps.
	watchStep = 5 * time.Millisecond
	// searchStep is the time between two looks at all sockets, which cost more.
	searchStep = 20 * time.Millisecond
	// leap is more than a flow receives between two looks: MPTCP's sequence number leaps
	// from zero to where it begins.
	leap = 1 << 32
	// controlBytes is more than either side of iperf3's control connection receives
	// before the end of a test.
	controlBytes = 4096
	// watchNice lets the watcher look in time on a busy machine.
	watchNice = -15
)

// watch follows a flow at the receiver's socket: how much it has in order. iperf3 itself
// tells only of every 100 ms, and of what it got to read.
type watch struct {
	receiver *netlab.Host
	listens  bool // the receiver is iperf3's server
	mptcp    bool

	began    time.Time
	progress report.Progress
}

// run watches until the end of ctx or of the flow.
func (w *watch) run(ctx context.Context) error {
	return w.receiver.Do(func() error {
		d, err := openDiag(w.mptcp)
		if err != nil {
			return err
		}
		defer d.close()
		// Without the priority the samples are less regular, no more.
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), watchNice)
		defer unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 0)
		s, first, err := w.search(ctx, d)
		if err != nil || ctx.Err() != nil {
			return err
		}
		w.follow(ctx, d, s, first)
		return nil
	})
}

// search waits for the socket of the flow. It returns the socket and what it had
// received when it was first seen.
func (w *watch) search(ctx context.Context, d *diag) (s diagSocket, first uint64, err error) {
	seen := make(map[[diagIDLen]byte]diagSocket)
	for ctx.Err() == nil {
		sockets, err := d.all(flowPort, !w.listens)
		if err != nil {
			return s, 0, err
		}
		w.began = time.Now()
		for _, s := range sockets {
			before, ok := seen[s.id]
			switch growth := s.received - before.received; {
			case !ok || growth > leap:
				seen[s.id] = s
			case growth > controlBytes:
				return s, before.received, nil
			}
		}
		sleep(ctx, w.began.Add(searchStep))
	}
	return s, 0, nil
}

// follow takes samples. The first one's bytes count from first on.
func (w *watch) follow(ctx context.Context, d *diag, s diagSocket, first uint64) {
	for next := w.began; ctx.Err() == nil; next = next.Add(watchStep) {
		w.progress = append(w.progress, report.Sample{At: time.Since(w.began), Bytes: s.received - first})
		if now := time.Now(); next.Before(now.Add(-watchStep)) {
			next = now
		}
		sleep(ctx, next.Add(watchStep))
		now, err := d.one(s)
		if err != nil {
			return // the connection has ended
		}
		s = now
	}
}
