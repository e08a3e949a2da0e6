package manage

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"
)

// A Remote is a daemon's end of a process that manages the network for it and keeps the
// privileges that the daemon gives up. Its methods may be called concurrently.
type Remote struct {
	log   *slog.Logger
	uid   uint32
	ended chan struct{}

	mu      sync.Mutex // guards the following, and one request and its reply
	in, out *os.File
	lines   *json.Encoder // to in
	replies *json.Decoder // from out
}

// The other process answers within these times, or is given up.
const (
	writeTimeout = time.Second
	replyTimeout = 20 * time.Second
)

// Start starts the other process: cmd, which must call Serve on its standard input and
// output, and must get no signals that are for the daemon. The daemon's user is uid.
func Start(cmd *exec.Cmd, uid uint32, log *slog.Logger) (*Remote, error) {
	fail := func(err error) (*Remote, error) {
		return nil, fmt.Errorf("start the process that manages the network: %w", err)
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer theirIn.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		in.Close()
		return fail(err)
	}
	defer theirOut.Close()
	cmd.Stdin, cmd.Stdout = theirIn, theirOut
	if err := cmd.Start(); err != nil {
		in.Close()
		out.Close()
		return fail(err)
	}
	r := &Remote{log: log, uid: uid, ended: make(chan struct{}), in: in, out: out, lines: json.NewEncoder(in), replies: json.NewDecoder(out)}
	go func() {
		if err := cmd.Wait(); err != nil {
			log.Error("the process that manages the network has ended: routes and rules stay as they are", "err", err)
		}
		close(r.ended)
	}()
	return r, nil
}

// Prepare has the configuration read. The error says why it cannot be put into force.
func (r *Remote) Prepare() error { return r.ask(request{Do: "prepare", UID: r.uid}) }

// Commit puts what was prepared into force.
func (r *Remote) Commit() error { return r.ask(request{Do: "commit"}) }

// Abort forgets what was prepared.
func (r *Remote) Abort() { r.tell(request{Do: "abort"}) }

// Tunnel says whether the tunnel has a peer.
func (r *Remote) Tunnel(up bool) { r.tell(request{Do: "tunnel", Up: up}) }

// Rates says what the links have been measured to carry, in bytes per second, by name.
func (r *Remote) Rates(rates map[string]uint64) { r.tell(request{Do: "rates", Rates: rates}) }

// Ended is closed when the process has ended, by Stop or by itself.
func (r *Remote) Ended() <-chan struct{} { return r.ended }

// Alive returns when the process has answered, or an error.
func (r *Remote) Alive() error { return r.ask(request{Do: "alive"}) }

// Stop has everything undone and ends the process. It may be called once.
func (r *Remote) Stop() error {
	err := r.ask(request{Do: "stop"})
	r.mu.Lock()
	r.in.Close()
	r.mu.Unlock()
	select {
	case <-r.ended:
	case <-time.After(replyTimeout):
		err = errors.Join(err, errors.New("the process that manages the network does not end"))
	}
	r.out.Close()
	return err
}

func (r *Remote) tell(q request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.write(q); err != nil && !errors.Is(err, os.ErrClosed) {
		r.log.Error("the process that manages the network does not listen", "err", err)
	}
}

func (r *Remote) write(q request) error {
	r.in.SetWriteDeadline(time.Now().Add(writeTimeout))
	return r.lines.Encode(q)
}

func (r *Remote) ask(q request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.write(q); err != nil {
		return fmt.Errorf("the process that manages the network does not listen: %w", err)
	}
	r.out.SetReadDeadline(time.Now().Add(replyTimeout))
	var a reply
	if err := r.replies.Decode(&a); err != nil {
		return fmt.Errorf("the process that manages the network does not answer: %w", err)
	}
	if a.Err != "" {
		return errors.New(a.Err)
	}
	return nil
}
