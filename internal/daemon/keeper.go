package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/fib"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// A goal is what a client's link is to be.
type goal struct {
	link conf.Link
	cfg  mlvpn.LinkConfig
	way  fib.Way
}

// A keeper keeps one link of a client open: it looks the server's name up and opens
// the transport, as often as it takes, and does so anew when the link is dead, because
// the host's address or the server's may have changed, or a NAT may have forgotten the
// old socket. It follows a configuration that changes; a link that is to go another way
// goes the old one until the new one is open.
type keeper struct {
	client  clientTunnel
	log     *slog.Logger
	down    <-chan bool   // told when the link goes down (true) or up
	news    chan struct{} // capacity 1: goal has changed
	cancel  func()
	stopped atomic.Bool

	mu   sync.Mutex // guards the following
	goal goal

	// The following is owned by run.
	have goal
	id   mlvpn.LinkID // 0 while the client has no such link
	open link.Link    // the transport in use
	up   bool         // what down has told last
}

const (
	// A link that cannot be opened is tried again at these intervals.
	firstReopen = 500 * time.Millisecond
	maxReopen   = 10 * time.Second
	// A link that has failed gets a new socket after reopenFailed, and one that does not
	// come up after reopenDown, again and again.
	reopenFailed = time.Second
	reopenDown   = 5 * time.Second
)

func newKeeper(client clientTunnel, want goal, down <-chan bool, log *slog.Logger) *keeper {
	return &keeper{client: client, log: log, down: down, news: make(chan struct{}, 1), goal: want}
}

// start runs the keeper until ctx ends or stop is called.
func (k *keeper) start(ctx context.Context, running *sync.WaitGroup) {
	ctx, k.cancel = context.WithCancel(ctx)
	running.Go(func() {
		k.run(ctx)
		if k.stopped.Load() {
			k.remove()
		}
	})
}

// stop has the keeper take its link away. It does not wait for that.
func (k *keeper) stop() {
	k.stopped.Store(true)
	k.cancel()
}

// emptyTime is how long a link that is about to go may still bring what the server has
// sent on it, which has been asked not to.
const emptyTime = 500 * time.Millisecond

// remove takes the link away.
func (k *keeper) remove() {
	if k.id == 0 {
		return
	}
	idle := k.have.cfg
	idle.Fallback, idle.Cost, idle.Overflow = true, mlvpn.MaxCost, false
	err := k.client.UpdateLink(k.id, idle)
	if err == nil {
		time.Sleep(emptyTime)
		err = k.client.RemoveLink(k.id)
	}
	if err != nil && !errors.Is(err, mlvpn.ErrClosed) {
		k.log.Warn("cannot remove a link", "link", k.have.link.Name, "err", err)
	}
}

// follow makes want the goal.
func (k *keeper) follow(want goal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if want == k.goal {
		return
	}
	k.goal = want
	select {
	case k.news <- struct{}{}:
	default:
	}
}

func (k *keeper) wanted() goal {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.goal
}

func (k *keeper) run(ctx context.Context) {
	defer k.cancel()
	pause, reopen := firstReopen, true
	var dead <-chan time.Time // when a link that is down gets a new transport
	for {
		want := k.wanted()
		var retry <-chan time.Time
		if reopen || !sameWay(&k.have.link, &want.link) {
			err := k.reach(ctx, want)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				k.log.Warn("cannot open a link, trying again", "link", want.link.Name, "err", err, "after", pause)
				retry = time.After(pause)
				pause = min(2*pause, maxReopen)
			} else {
				reopen, pause = false, firstReopen
				if !k.up {
					dead = time.After(reopenDown)
				}
			}
		}
		k.update(want)
		select {
		case down := <-k.down:
			k.up, dead = !down, nil
			if down {
				dead = time.After(reopenFailed)
			}
		case <-dead:
			k.log.Debug("opening a dead link anew", "link", want.link.Name)
			reopen, dead = true, nil
		case <-retry:
		case <-k.news:
			pause = firstReopen
		case <-ctx.Done():
			return
		}
	}
}

// reach opens the link's transport and hands it to the client.
func (k *keeper) reach(ctx context.Context, want goal) error {
	l, err := dial(ctx, &want.link, want.way)
	if k.open != nil && errors.Is(err, syscall.EADDRINUSE) {
		// It is the link's own old socket that has the port.
		k.open.Close()
		l, err = dial(ctx, &want.link, want.way)
	}
	if err != nil {
		return err
	}
	if k.id == 0 {
		k.id, err = k.client.AddLink(l, want.cfg)
		k.have.cfg = want.cfg
	} else {
		err = k.client.ReplaceLink(k.id, l)
	}
	if err != nil {
		return err
	}
	k.open, k.have.link = l, want.link
	return nil
}

// update tells the client what else has changed.
func (k *keeper) update(want goal) {
	if k.id == 0 || k.have.cfg == want.cfg {
		return
	}
	if err := k.client.UpdateLink(k.id, want.cfg); err != nil && !errors.Is(err, mlvpn.ErrClosed) {
		k.log.Error("cannot change a link", "link", want.link.Name, "err", err)
		return
	}
	k.have.cfg = want.cfg
}
