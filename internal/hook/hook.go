// Package hook runs MLVPN's status command: the script that the administrator names
// to be told when the tunnel or one of its links goes up or down.
//
// The script's arguments are MLVPN's: $1 is the name of the virtual interface, $2 the
// event, and $3, for the events of a link only, the name of the link. Its environment
// is IP4, IP6, IP4_GATEWAY, IP6_GATEWAY, IP4_ROUTES, IP6_ROUTES, DEVICE, MTU and a
// fixed PATH, and nothing else. All of these come from the local configuration, never
// from the network.
//
// On Linux the file that was checked is run by its descriptor, so that a script sees
// /proc/self/fd/3 as its $0.
//
// Scripts run one at a time, in the order of the events, in a process group of their
// own, which is killed as a whole when the script takes too long.
package hook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Type is the kind of an event, spelt as in the script's $2.
type Type string

const (
	TuntapUp   Type = "tuntap_up"   // the tunnel came up
	TuntapDown Type = "tuntap_down" // the tunnel went down
	RtunUp     Type = "rtun_up"     // a link came up
	RtunDown   Type = "rtun_down"   // a link went down
)

// An Event is something to tell the script.
type Event struct {
	Type Type

	// Link is the name of the link of RtunUp and RtunDown. It is not used for the
	// other types.
	Link string
}

func (e Event) aboutLink() bool { return e.Type == RtunUp || e.Type == RtunDown }

// maxLink is the length in bytes of the longest name of a link.
const maxLink = 63

// check returns why the event cannot be one of a daemon whose configuration is good: the
// script runs as root, and the daemon that reports the event may not.
func (e Event) check() error {
	switch e.Type {
	case TuntapUp, TuntapDown, RtunUp, RtunDown:
	default:
		return fmt.Errorf("there is no event %q", e.Type)
	}
	if !e.aboutLink() {
		return nil
	}
	bad := func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`[]"=#`, r) }
	if e.Link == "" || len(e.Link) > maxLink || e.Link[0] == '-' || strings.ContainsFunc(e.Link, bad) {
		return fmt.Errorf("no link can be called %q", e.Link)
	}
	return nil
}

// subject is what the event is about: a link, or "" for the tunnel.
func (e Event) subject() string {
	if e.aboutLink() {
		return "link " + e.Link
	}
	return ""
}

// A Config is the configuration of a Runner. New does not modify it.
type Config struct {
	// Path is the absolute path of the script. The file must be regular and
	// executable, belong to root or this process's user, and be writable by nobody
	// else; so must the directories above it, where sticky ones such as /tmp are
	// accepted, too. This is checked by New and at each run.
	Path string

	// Interface is $1 and DEVICE.
	Interface string

	// The values of the environment, as in the configuration file. An empty one is
	// set to the empty string.
	IP4, IP6               string
	IP4Gateway, IP6Gateway string
	IP4Routes, IP6Routes   string

	// MTU is the interface's MTU in bytes. SetMTU changes it.
	MTU int

	// Log receives the scripts' output and failures. Nil: they are discarded.
	Log *slog.Logger `json:"-"`

	// Timeout is how long a script may run before it is killed. 0: 30 s.
	Timeout time.Duration
}

func (c *Config) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

func (c *Config) timeout() time.Duration {
	if c.Timeout <= 0 {
		return 30 * time.Second
	}
	return c.Timeout
}

const (
	// longQueue is the number of waiting events from which on only the latest of
	// each subject is kept.
	longQueue = 16

	// maxOutput is the number of bytes of one script's output that are logged.
	maxOutput = 64 << 10

	// path is the scripts' PATH.
	path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// A Runner runs a script for events. Its methods may be called concurrently.
type Runner struct {
	cfg Config
	mtu atomic.Int64

	wake chan struct{} // capacity 1: queue or closed changed
	done chan struct{} // closed when Run returns

	mu      sync.Mutex // guards the following
	queue   []Event
	last    map[string]Type // the event of each subject that was started last
	started bool            // Run was called
	cancel  func()          // ends Run, which has started
	closed  bool            // Drain was called: no more events are taken
	aborted bool            // Drain gave up
}

// ErrStopped is the error of Drain when events were left unrun.
var ErrStopped = errors.New("status command stopped before all events were run")

// New checks the configuration and the script. It starts nothing: call Run.
func New(cfg Config) (*Runner, error) {
	for _, v := range []string{cfg.Interface, cfg.IP4, cfg.IP6, cfg.IP4Gateway, cfg.IP6Gateway, cfg.IP4Routes, cfg.IP6Routes} {
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, fmt.Errorf("status command %s: the value %q has a character that is not printable ASCII", cfg.Path, v)
		}
	}
	f, err := open(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("status command: %w", err)
	}
	f.Close()
	r := &Runner{
		cfg:  cfg,
		wake: make(chan struct{}, 1),
		done: make(chan struct{}),
		last: make(map[string]Type),
	}
	r.SetMTU(cfg.MTU)
	return r, nil
}

// SetMTU sets the MTU, in bytes, that later runs see.
func (r *Runner) SetMTU(mtu int) { r.mtu.Store(int64(mtu)) }

// Post queues e to be run after all earlier events. It never blocks. After Drain it
// does nothing.
//
// When scripts are so slow that many events wait, only the latest event of each link
// and of the tunnel is kept, and none if the script was told the same last.
func (r *Runner) Post(e Event) {
	r.mu.Lock()
	if !r.closed {
		r.enqueueLocked(e)
	}
	r.mu.Unlock()
	r.signal()
}

func (r *Runner) enqueueLocked(e Event) {
	r.queue = append(r.queue, e)
	if len(r.queue) <= longQueue {
		return
	}
	latest := make(map[string]int)
	for i, e := range r.queue {
		latest[e.subject()] = i
	}
	kept := r.queue[:0]
	for i, e := range r.queue {
		if latest[e.subject()] == i && r.last[e.subject()] != e.Type {
			kept = append(kept, e)
		}
	}
	r.queue = kept
}

func (r *Runner) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run runs the script for the events, until ctx is done or Drain has finished. When
// ctx is done it kills the script that is running and drops the events that wait. It
// must be called once.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	if r.started {
		r.mu.Unlock()
		return errors.New("status command: Run was called twice")
	}
	r.started = true
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if r.aborted {
		cancel()
	}
	r.cancel = cancel
	r.mu.Unlock()
	defer close(r.done)

	for ctx.Err() == nil {
		e, ok, closed := r.next()
		switch {
		case ok:
			r.runScript(ctx, e)
		case closed:
			return nil
		default:
			select {
			case <-r.wake:
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// next takes the first event from the queue.
func (r *Runner) next() (e Event, ok, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return Event{}, false, r.closed
	}
	e = r.queue[0]
	r.queue = r.queue[1:]
	r.last[e.subject()] = e.Type
	return e, true, r.closed
}

// Drain makes Post do nothing and waits until Run, which may start later, has run the
// events that wait and has returned. When ctx is done first, it has the running script killed and the
// other events dropped, and returns an error that matches ErrStopped.
func (r *Runner) Drain(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.signal()
	select {
	case <-r.done:
		return r.leftover()
	case <-ctx.Done():
	}
	r.mu.Lock()
	r.aborted = true
	started := r.started
	if started {
		r.cancel()
	}
	r.mu.Unlock()
	if started {
		<-r.done
	}
	if err := r.leftover(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrStopped, context.Cause(ctx))
}

// leftover returns an error if events were never run.
func (r *Runner) leftover() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.queue); n > 0 {
		return fmt.Errorf("%w: %d left", ErrStopped, n)
	}
	return nil
}

// args returns the script's arguments from $1 on.
func (r *Runner) args(e Event) []string {
	args := []string{r.cfg.Interface, string(e.Type)}
	if e.aboutLink() {
		args = append(args, e.Link)
	}
	return args
}

// env returns the script's whole environment.
func (r *Runner) env() []string {
	return []string{
		"PATH=" + path,
		"IP4=" + r.cfg.IP4,
		"IP6=" + r.cfg.IP6,
		"IP4_GATEWAY=" + r.cfg.IP4Gateway,
		"IP6_GATEWAY=" + r.cfg.IP6Gateway,
		"IP4_ROUTES=" + r.cfg.IP4Routes,
		"IP6_ROUTES=" + r.cfg.IP6Routes,
		"DEVICE=" + r.cfg.Interface,
		"MTU=" + strconv.FormatInt(r.mtu.Load(), 10),
	}
}
