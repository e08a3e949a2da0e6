package probe

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// A Line is what a probe goes through: it is sent from the address and with the mark
// that lead into the line's routing table.
type Line struct {
	Addr netip.Addr
	Mark uint32
}

// Run probes a line until ctx is done, and tells whenever it dies or comes back.
func Run(ctx context.Context, cfg Config, l Line, tell func(dead bool)) {
	cfg = cfg.WithDefaults()
	var targets []Target
	for _, t := range cfg.Targets {
		if t.Addr.Addr().Is4() == l.Addr.Is4() {
			targets = append(targets, t)
		}
	}
	if len(targets) == 0 {
		return
	}
	var running sync.WaitGroup
	defer running.Wait()
	outcomes := make(chan bool)
	tick := time.NewTicker(cfg.Interval)
	defer tick.Stop()
	var health Health
	for {
		select {
		case <-tick.C:
			// Probes overlap where answers take longer than the interval.
			running.Go(func() {
				ok := answered(ctx, cfg, l, targets)
				select {
				case outcomes <- ok:
				case <-ctx.Done():
				}
			})
		case ok := <-outcomes:
			if health.Result(cfg, ok) {
				tell(health.Dead())
			}
		case <-ctx.Done():
			return
		}
	}
}

// answered reports whether one of the targets answers in time.
func answered(ctx context.Context, cfg Config, l Line, targets []Target) bool {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	answers := make(chan bool, len(targets))
	for _, t := range targets {
		go func() { answers <- once(ctx, l, t) == nil }()
	}
	for range targets {
		if <-answers {
			return true
		}
	}
	return false
}
