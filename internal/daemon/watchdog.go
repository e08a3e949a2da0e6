package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/multilink-vpn/multilink/internal/sdnotify"
)

// feedWatchdog tells the service manager that the daemon makes progress, at twice the
// rate that it wants to hear it, until ctx is done. Each time both loops of the data path
// have to answer: when one of them is stuck, nothing is said any more, and the manager
// starts the daemon anew.
func feedWatchdog(ctx context.Context, m sdnotify.Manager, t measured, log *slog.Logger) {
	if m.Watchdog <= 0 {
		return
	}
	tick := time.NewTicker(max(m.Watchdog/2, time.Millisecond))
	defer tick.Stop()
	for {
		answered := make(chan struct{})
		go func() {
			t.Stats()
			close(answered)
		}()
		select {
		case <-answered:
		case <-ctx.Done():
			return
		}
		if err := m.Notify(sdnotify.Alive); err != nil {
			log.Warn("the watchdog was not fed", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
