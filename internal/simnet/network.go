package simnet

import (
	"errors"
	"fmt"
	"time"

	"github.com/multilink-vpn/multilink/link/linksim"
)

// settleLimit is how often one end may ask to be polled again at once. Only one that asks
// for ever gets there.
const settleLimit = 100_000

// A NetworkConfig says what a Network consists of.
type NetworkConfig struct {
	Profile Profile
	Tunnel  Tunnel

	// Seed is behind all that is random.
	Seed uint64

	// ServerClock is how the server's clock differs from the client's.
	ServerClock Clock

	// Deliver gets the inner packets that come out at a side, and copies what it keeps.
	Deliver func(side int, pkt []byte)
}

// A Network is the lines and the two ends of a tunnel, without hosts. Run uses one in
// virtual time; a program that has real hosts may drive one by the clock.
//
// Times are since the network began, and may not decrease from call to call. A Network
// is not safe for concurrent use.
type Network struct {
	now     time.Duration
	ends    [sides]*endState
	wires   [2][]*wire // by Direction, then line; lines that share a wire have it twice
	changes []Change   // still to come
	pool    pool

	polls, datagrams uint64
}

// A Clock is how the clock of one host differs from another's. The zero Clock does not.
type Clock struct {
	// Ahead is by how much it is at the beginning.
	Ahead time.Duration
	// Drift is how much faster it runs, in millionths. It must be larger than -1e6.
	Drift int64
}

// at returns what the clock shows at a time since the beginning.
func (c Clock) at(now time.Duration) time.Time {
	return epoch.Add(c.Ahead + now + now/1e6*time.Duration(c.Drift))
}

// when returns the first time at which the clock shows t or later.
func (c Clock) when(t time.Time) time.Duration {
	shown := t.Sub(epoch) - c.Ahead
	now := time.Duration(float64(shown) / (1 + float64(c.Drift)/1e6))
	for c.at(now).Before(t) {
		now += max(1, t.Sub(c.at(now))/2)
	}
	return now
}

// endState is an End and when it wants to be polled.
type endState struct {
	End
	clock   Clock
	next    time.Duration
	send    func(line int, datagram []byte)
	deliver func(pkt []byte)
}

// NewNetwork returns an idle network.
func NewNetwork(c NetworkConfig) (*Network, error) {
	if c.Tunnel.New == nil {
		return nil, errors.New("simnet: Tunnel.New is nil; use RoundRobin to have one")
	}
	if err := c.Profile.check(); err != nil {
		return nil, err
	}
	n := &Network{changes: c.Profile.Changes}
	overhead := c.Tunnel.Overhead
	if overhead == 0 {
		overhead = linksim.OverheadUDP4
	}
	for i, l := range c.Profile.Lines {
		if l.Behind > 0 {
			n.wires[Down] = append(n.wires[Down], n.wires[Down][l.Behind-1])
			n.wires[Up] = append(n.wires[Up], n.wires[Up][l.Behind-1])
			continue
		}
		n.wires[Down] = append(n.wires[Down], newWire(l.Down, overhead, c.Seed, uint64(2*i)))
		n.wires[Up] = append(n.wires[Up], newWire(l.Up, overhead, c.Seed, uint64(2*i+1)))
	}
	client, server := c.Tunnel.New(Env{
		Now:       epoch,
		ServerNow: c.ServerClock.at(0),
		Seed:      c.Seed,
		Lines:     len(c.Profile.Lines),
	})
	clocks := [sides]Clock{Server: c.ServerClock}
	for side, end := range [sides]End{client, server} {
		out := n.wires[Up]
		if side == Server {
			out = n.wires[Down]
		}
		n.ends[side] = &endState{
			End:     end,
			clock:   clocks[side],
			send:    func(line int, datagram []byte) { out[line].push(n.now, line, datagram, &n.pool) },
			deliver: func(pkt []byte) { c.Deliver(side, pkt) },
		}
	}
	return n, nil
}

// check says what is wrong with a profile.
func (p Profile) check() error {
	if len(p.Lines) == 0 {
		return fmt.Errorf("simnet: profile %q has no lines", p.Name)
	}
	for i, l := range p.Lines {
		if l.Behind < 0 || l.Behind > i {
			return fmt.Errorf("simnet: profile %q: line %d: Behind is %d; use the number plus 1 of an earlier line", p.Name, i, l.Behind)
		}
	}
	for i, ch := range p.Changes {
		if ch.Line < 0 || ch.Line >= len(p.Lines) || i > 0 && ch.At < p.Changes[i-1].At {
			return fmt.Errorf("simnet: profile %q: change %d, at %v: line %d does not exist, or it is out of order", p.Name, i, ch.At, ch.Line)
		}
	}
	return nil
}

// Ingress gives a packet of the host at a side to the tunnel. Advance to the same time
// afterwards.
func (n *Network) Ingress(now time.Duration, side int, pkt []byte) {
	n.now = now
	e := n.ends[side]
	e.Ingress(e.clock.at(now), pkt)
	e.next = now
}

// Next returns when something happens if Ingress does not come before. The largest
// Duration is never.
func (n *Network) Next() time.Duration {
	next := never
	if len(n.changes) > 0 {
		next = n.changes[0].At
	}
	for _, e := range n.ends {
		next = min(next, e.next)
	}
	for _, wires := range n.wires {
		for _, w := range wires {
			next = min(next, w.next())
		}
	}
	return next
}

// Advance lets everything happen that is due. It fails if an end never comes to rest.
func (n *Network) Advance(now time.Duration) error {
	n.now = now
	for len(n.changes) > 0 && n.changes[0].At <= now {
		n.apply(n.changes[0])
		n.changes = n.changes[1:]
	}
	n.arrivals(Down, n.ends[Client])
	n.arrivals(Up, n.ends[Server])
	for _, e := range n.ends {
		for polls := 0; e.next <= now; polls++ {
			if polls == settleLimit {
				return fmt.Errorf("at %v an end asks to be polled again at once, for ever", now)
			}
			n.poll(e)
		}
	}
	return nil
}

func (n *Network) apply(c Change) {
	down, up := n.wires[Down][c.Line].line, n.wires[Up][c.Line].line
	d, u := down.Profile(), up.Profile()
	c.Apply(&d, &u)
	down.SetProfile(d)
	up.SetProfile(u)
}

func (n *Network) arrivals(d Direction, to *endState) {
	for _, w := range n.wires[d] {
		for w.next() <= n.now {
			t := w.take()
			n.datagrams++
			to.Arrive(to.clock.at(n.now), t.line, t.data)
			to.next = n.now
			n.pool.put(t.data)
		}
	}
}

func (n *Network) poll(e *endState) {
	n.polls++
	next := e.Poll(e.clock.at(n.now), e.send, e.deliver)
	e.next = never
	if !next.IsZero() {
		e.next = e.clock.when(next)
	}
}

// Lines returns the counters of the lines.
func (n *Network) Lines() []LineResult {
	var lines []LineResult
	for i := range n.wires[Down] {
		lines = append(lines, LineResult{Down: n.wires[Down][i].stats, Up: n.wires[Up][i].stats})
	}
	return lines
}
