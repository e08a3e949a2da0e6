package simnet

import (
	"errors"
	"fmt"
	"time"

	"github.com/multilink-vpn/multilink/link/linksim"
)

// A Config says what to run.
type Config struct {
	Profile Profile
	Tunnel  Tunnel
	Flows   []Flow

	// Duration is how long to run. It must be positive.
	Duration time.Duration

	// Warmup is how much of it comes before anything is measured.
	Warmup time.Duration

	// PingEvery is the time between two echo requests from the client. 0 is 50 ms,
	// negative is no ping.
	PingEvery time.Duration

	// Seed is behind all that is random.
	Seed uint64
}

// settleLimit is how many rounds of polling one instant may take. Only a tunnel that asks
// to be polled again at once, for ever, gets there.
const settleLimit = 100_000

// Run runs a simulation. It fails if the Config makes no sense, and if the tunnel damages
// packets or never comes to rest.
func Run(c Config) (*Result, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	r := newRun(c)
	if err := r.loop(); err != nil {
		return nil, fmt.Errorf("simnet: %s over %s: %w", c.Profile.Name, c.Tunnel.Name, err)
	}
	return r.result(), nil
}

func (c Config) check() error {
	switch {
	case c.Tunnel.New == nil:
		return errors.New("simnet: Config.Tunnel.New is nil; use RoundRobin to have one")
	case len(c.Profile.Lines) == 0:
		return errors.New("simnet: Config.Profile has no lines")
	case c.Duration <= c.Warmup:
		return fmt.Errorf("simnet: Config.Duration is %v; it must be longer than Warmup, %v", c.Duration, c.Warmup)
	}
	for i, l := range c.Profile.Lines {
		if l.Behind < 0 || l.Behind > i {
			return fmt.Errorf("simnet: line %d: Behind is %d; use the number plus 1 of an earlier line", i, l.Behind)
		}
	}
	for i, ch := range c.Profile.Changes {
		if ch.Line < 0 || ch.Line >= len(c.Profile.Lines) || i > 0 && ch.At < c.Profile.Changes[i-1].At {
			return fmt.Errorf("simnet: change %d of line %d at %v: no such line, or out of order", i, ch.Line, ch.At)
		}
	}
	return nil
}

// run is a simulation in progress.
type run struct {
	config Config
	now    time.Duration
	ends   [sides]*endState
	hosts  [sides]*host
	wires  [2][]*wire // by Direction, then line; lines that share a wire have it twice
	pool   pool
	polls  uint64
	events uint64
}

// endState is an End and when it wants to be polled.
type endState struct {
	End
	next    time.Duration
	send    func(line int, datagram []byte)
	deliver func(pkt []byte)
}

func newRun(c Config) *run {
	r := &run{config: c}
	overhead := c.Tunnel.Overhead
	if overhead == 0 {
		overhead = linksim.OverheadUDP4
	}
	for i, l := range c.Profile.Lines {
		if l.Behind > 0 {
			r.wires[Down] = append(r.wires[Down], r.wires[Down][l.Behind-1])
			r.wires[Up] = append(r.wires[Up], r.wires[Up][l.Behind-1])
			continue
		}
		r.wires[Down] = append(r.wires[Down], newWire(l.Down, overhead, c.Seed, uint64(2*i)))
		r.wires[Up] = append(r.wires[Up], newWire(l.Up, overhead, c.Seed, uint64(2*i+1)))
	}
	client, server := c.Tunnel.New(Env{Now: epoch, Seed: c.Seed, Lines: len(c.Profile.Lines)})
	for side, end := range [sides]End{client, server} {
		h := newHost(c, side)
		out := r.wires[Up]
		if side == Server {
			out = r.wires[Down]
		}
		r.hosts[side] = h
		r.ends[side] = &endState{
			End: end,
			send: func(line int, datagram []byte) {
				out[line].push(r.now, line, datagram, &r.pool)
			},
			deliver: func(pkt []byte) { h.deliver(r.now, pkt) },
		}
	}
	return r
}

// loop lets things happen, in order of time; at the same time in a fixed order.
func (r *run) loop() error {
	changes := r.config.Profile.Changes
	for {
		r.now = r.nextEvent(changes)
		if r.now > r.config.Duration {
			r.now = r.config.Duration
			return nil
		}
		for len(changes) > 0 && changes[0].At <= r.now {
			r.apply(changes[0])
			changes = changes[1:]
		}
		r.arrivals(Down, r.ends[Client])
		r.arrivals(Up, r.ends[Server])
		if err := r.settle(); err != nil {
			return err
		}
	}
}

func (r *run) nextEvent(changes []Change) time.Duration {
	next := never
	if len(changes) > 0 {
		next = changes[0].At
	}
	for side := range sides {
		next = min(next, r.ends[side].next, r.hosts[side].next)
	}
	for _, wires := range r.wires {
		for _, w := range wires {
			next = min(next, w.next())
		}
	}
	return max(next, r.now)
}

func (r *run) apply(c Change) {
	down, up := r.wires[Down][c.Line].line, r.wires[Up][c.Line].line
	d, u := down.Profile(), up.Profile()
	c.Apply(&d, &u)
	down.SetProfile(d)
	up.SetProfile(u)
}

func (r *run) arrivals(d Direction, to *endState) {
	for _, w := range r.wires[d] {
		for w.next() <= r.now {
			t := w.take()
			r.events++
			to.Arrive(epoch.Add(r.now), t.line, t.data)
			to.next = r.now
			r.pool.put(t.data)
		}
	}
}

// settle lets hosts and ends work until nothing is due.
func (r *run) settle() error {
	for range settleLimit {
		busy := false
		for side := range sides {
			h, e := r.hosts[side], r.ends[side]
			if h.next <= r.now {
				busy = true
				if h.work(r.now, e) {
					e.next = r.now
				}
			}
			if h.err != nil {
				return h.err
			}
			if e.next <= r.now {
				busy = true
				r.poll(e)
			}
		}
		if !busy {
			return nil
		}
	}
	return fmt.Errorf("at %v an end asks to be polled again at once, for ever", r.now)
}

func (r *run) poll(e *endState) {
	r.polls++
	next := e.Poll(epoch.Add(r.now), e.send, e.deliver)
	e.next = never
	if !next.IsZero() {
		e.next = next.Sub(epoch)
	}
}
