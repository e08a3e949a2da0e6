package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/hook"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// events passes what happens to the status command, in MLVPN's terms, and to the
// keepers of a client's links.
type events struct {
	log    *slog.Logger
	hook   hook.Config  // without a path if there is no status command
	runner *hook.Runner // of hook, when this process runs it
	script script       // nil until begin, and without a status command

	mu      sync.Mutex // guards the following
	watches map[string]chan bool

	// The following is only accessed by handle.
	up       map[linkKey]bool // links that work
	sessions int              // that are up
}

// script is what runs the status command, in this process or another.
type script interface {
	Post(hook.Event)
	Drain(context.Context) error
}

// linkKey names a link: on a server, each client has links of the same names.
type linkKey struct{ peer, link string }

func newEvents(c *conf.Config, log *slog.Logger) (*events, error) {
	e := &events{log: log, watches: make(map[string]chan bool), up: make(map[linkKey]bool)}
	if c.StatusCommand == "" {
		return e, nil
	}
	e.hook = hook.Config{
		Path:       c.StatusCommand,
		Interface:  c.Interface,
		IP4:        prefixText(c.IP4),
		IP6:        prefixText(c.IP6),
		IP4Gateway: addrText(c.IP4Gateway),
		IP6Gateway: addrText(c.IP6Gateway),
		IP4Routes:  routesText(c.IP4Routes),
		IP6Routes:  routesText(c.IP6Routes),
		MTU:        tunnelMTU(c),
		Log:        log,
	}
	var err error
	e.runner, err = hook.New(e.hook)
	return e, err
}

// watch returns where the link called name reports that it went down or up, until
// unwatch: only the latest news is kept.
func (e *events) watch(name string) <-chan bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	ch := make(chan bool, 1)
	e.watches[name] = ch
	return ch
}

func (e *events) unwatch(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.watches, name)
}

// begin gets the status command ready to run: in another process, which stays root, if
// this one is about to become user.
func (e *events) begin(user string, background *sync.WaitGroup) error {
	switch {
	case e.hook.Path == "":
	case user == "":
		e.script = e.runner
		background.Go(func() { e.runner.Run(context.Background()) })
	default:
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("status command: %w", err)
		}
		cmd := exec.Command(self, HookCommand)
		cmd.Env, cmd.Stderr = []string{}, os.Stderr
		remote, err := hook.StartRemote(e.hook, cmd)
		if err != nil {
			return err
		}
		e.script = remote
	}
	return nil
}

// HookCommand is the argument that makes the program run status commands for a daemon
// without privileges: it calls hook.Serve.
const HookCommand = "run-status-command"

// end reports the links and sessions that are still up as down and waits for the status
// command.
func (e *events) end(grace time.Duration) {
	if e.script == nil {
		return
	}
	for k := range e.up {
		e.post(hook.Event{Type: hook.RtunDown, Link: k.link})
	}
	if e.sessions > 0 {
		e.post(hook.Event{Type: hook.TuntapDown})
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := e.script.Drain(ctx); err != nil {
		e.log.Warn("the status command did not finish", "err", err)
	}
}

// handle is the tunnel's OnEvent.
func (e *events) handle(ev mlvpn.Event) {
	key := linkKey{ev.Peer, ev.Link}
	switch ev.Kind {
	case mlvpn.LinkUp, mlvpn.LinkDegraded:
		e.tell(ev.Link, false)
		if !e.up[key] {
			e.up[key] = true
			e.post(hook.Event{Type: hook.RtunUp, Link: ev.Link})
		}
	case mlvpn.LinkDown:
		e.tell(ev.Link, true)
		if e.up[key] {
			delete(e.up, key)
			e.post(hook.Event{Type: hook.RtunDown, Link: ev.Link})
		}
	case mlvpn.SessionUp:
		if e.sessions++; e.sessions == 1 {
			e.post(hook.Event{Type: hook.TuntapUp})
		}
	case mlvpn.SessionDown:
		if e.sessions--; e.sessions == 0 {
			e.post(hook.Event{Type: hook.TuntapDown})
		}
	}
}

func (e *events) post(ev hook.Event) {
	if e.script != nil {
		e.script.Post(ev)
	}
}

// tell gives a link's keeper the latest news.
func (e *events) tell(link string, down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ch := e.watches[link]
	if ch == nil {
		return
	}
	select {
	case <-ch:
	default:
	}
	ch <- down
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func routesText(routes []netip.Prefix) string {
	text := make([]string, len(routes))
	for i, r := range routes {
		text[i] = r.String()
	}
	return strings.Join(text, " ")
}
