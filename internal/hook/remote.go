package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"
)

// A Remote runs a script in another process, which keeps the privileges that this one
// is about to give up: scripts set addresses and routes. What goes to the other process
// is the configuration, once, and then events: a compromised daemon can make the script
// run, but neither another program nor with another environment.
//
// Its methods may be called concurrently.
type Remote struct {
	log   *slog.Logger
	ended chan error // what became of the other process, once

	mu    sync.Mutex // guards the following
	in    *os.File
	lines *json.Encoder // to in
}

// postTimeout bounds a write to the other process, which reads all the time.
const postTimeout = time.Second

// StartRemote checks the configuration as New does, and starts the other process: cmd,
// which must call Serve on its standard input.
func StartRemote(cfg Config, cmd *exec.Cmd) (*Remote, error) {
	if _, err := New(cfg); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("status command: %w", err)
	}
	defer r.Close()
	cmd.Stdin = r
	Detach(cmd) // a signal from the terminal is for the daemon, which then drains
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("status command: starting the process that runs it: %w", err)
	}
	x := &Remote{log: cfg.log(), ended: make(chan error, 1), in: w, lines: json.NewEncoder(w)}
	go func() { x.ended <- cmd.Wait() }()
	x.send(cfg)
	return x, nil
}

// Post tells the other process of an event.
func (x *Remote) Post(e Event) { x.send(e) }

func (x *Remote) send(v any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.in.SetWriteDeadline(time.Now().Add(postTimeout))
	if err := x.lines.Encode(v); err != nil && !errors.Is(err, os.ErrClosed) {
		x.log.Error("the process that runs the status command does not listen", "err", err)
	}
}

// Drain makes the other process end when it has run the events that wait, and waits for
// that. It may be called once.
func (x *Remote) Drain(ctx context.Context) error {
	x.mu.Lock()
	x.in.Close()
	x.mu.Unlock()
	select {
	case err := <-x.ended:
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStopped, err)
		}
		return nil
	case <-ctx.Done():
		// It cannot be killed from here once this process has lost its privileges. It
		// gives up by itself, see serveGrace.
		return fmt.Errorf("%w: %w", ErrStopped, ctx.Err())
	}
}

// serveGrace is how long Serve goes on after the end of its input.
const serveGrace = 10 * time.Second

// Serve is the other process of a Remote: it runs the script for the events that come
// from in until that ends.
func Serve(in io.Reader, log *slog.Logger) error {
	lines := json.NewDecoder(in)
	var cfg Config
	if err := lines.Decode(&cfg); err != nil {
		return fmt.Errorf("status command: reading the configuration: %w", err)
	}
	cfg.Log = log
	r, err := New(cfg)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	running.Go(func() { r.Run(context.Background()) })
	defer running.Wait()
	for {
		var e Event
		err := lines.Decode(&e)
		if err == nil {
			if bad := e.check(); bad != nil {
				log.Error("the daemon asks for what it must not", "err", bad)
				continue
			}
			r.Post(e)
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), serveGrace)
		defer cancel()
		if drained := r.Drain(ctx); drained != nil || errors.Is(err, io.EOF) {
			return drained
		}
		return fmt.Errorf("status command: reading events: %w", err)
	}
}
