package wan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// never is a due time that does not come.
const never = time.Duration(1<<63 - 1)

// retry is how long to wait when an interface has no room for a frame.
const retry = 200 * time.Microsecond

// path is one direction of a line: from a socket, through a shaper, to a socket.
type path struct {
	in, out int
	shaper  Shaper
	flight  flight
	arrived time.Duration // arrival of the last frame
}

// bridge is the state of Serve. One OS thread owns it.
type bridge struct {
	clock   clock
	control control
	paths   []path // two per line
	pool    pool
	polls   []unix.PollFd // the control channel, then the inputs of paths
	rx, tx  vector
	slots   [batch]int32 // where rx receives
	rest    rest
}

// control is the bridge's end of the control channel.
type control struct {
	in, out int
	buf     []byte
}

// Serve bridges the interfaces that a Request on in names, until in ends, and replies on
// out. It returns the namespaces that requests put under guard.
//
// It must own its process: it never yields its thread to the Go scheduler while there
// are frames, turns the garbage collector off, and asks for the processor in time.
// inside calls a function in the network namespace at a path, on the calling thread.
func Serve(in, out int, inside func(netns string, f func() error) error) (guard []string, err error) {
	debug.SetGCPercent(-1)
	punctual()

	b := &bridge{clock: clock{time.Now()}, control: control{in: in, out: out}}
	b.rx.init()
	b.tx.init()
	for i := range b.slots {
		b.slots[i], _ = b.pool.get()
		b.rx.set(i, b.pool.bytes(b.slots[i]))
		b.rx.expectStamp(i)
	}
	if err := unix.SetNonblock(in, true); err != nil {
		return nil, fmt.Errorf("wan: control channel: %w", err)
	}
	b.polls = []unix.PollFd{{Fd: int32(in), Events: unix.POLLIN}}
	handle := func(req Request) Reply {
		guard = append(guard, req.Guard...)
		if req.Open != nil {
			// The sockets stay in the namespace, this thread does not: the namespace can be
			// removed with all that runs in it.
			if err := inside(req.Open.Netns, func() error { return b.open(req.Open) }); err != nil {
				return Reply{Error: err.Error()}
			}
		}
		return b.handle(req)
	}
	for {
		next := b.deliver()
		now, _ := b.clock.now()
		receive, resting := b.rest.until(now)
		polls := b.polls
		if resting {
			polls = polls[:1]
			next = min(next, receive)
		}
		if err := b.wait(polls, next); err != nil {
			return guard, err
		}
		if resting {
			now, _ = b.clock.now()
		}
		for i := range b.paths {
			if resting && now >= receive || b.polls[1+i].Revents != 0 {
				b.receive(&b.paths[i])
			}
		}
		if resting && now >= receive {
			b.rest.received(now)
		}
		if b.polls[0].Revents != 0 {
			if done, err := b.control.serve(handle); done || err != nil {
				return guard, err
			}
		}
	}
}

// punctual asks the kernel to run this thread when its timers fire. It does not insist:
// without, the bridge is later on a busy machine, which Counters.MaxLate tells.
func punctual() {
	// A coarse timer would quantize departures.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	// SCHED_FIFO and SCHED_RR are worse than nothing beside busy programs: the kernel
	// lets those run for 50 ms on end to save them from starving (sched_deadline(7), fair
	// server). A deadline of our own comes before that.
	err := unix.SchedSetAttr(0, &unix.SchedAttr{
		Size:     unix.SizeofSchedAttr,
		Policy:   unix.SCHED_DEADLINE,
		Flags:    unix.SCHED_FLAG_RESET_ON_FORK,
		Runtime:  uint64(1600 * time.Microsecond),
		Deadline: uint64(2 * time.Millisecond),
		Period:   uint64(2 * time.Millisecond),
	}, 0)
	if err != nil {
		// The deadlines of other labs have taken all that may be promised.
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	}
}

func (b *bridge) open(o *Open) error {
	if len(b.paths) > 0 {
		return errors.New("wan: the bridge is already open")
	}
	for i, l := range o.Lines {
		a, err := openPort(l.A)
		if err != nil {
			return err
		}
		z, err := openPort(l.B)
		if err != nil {
			return err
		}
		b.paths = append(b.paths,
			path{in: a, out: z, shaper: NewShaper(o.Seed, i, 0, Params{})},
			path{in: z, out: a, shaper: NewShaper(o.Seed, i, 1, Params{})})
	}
	for i := range b.paths {
		b.polls = append(b.polls, unix.PollFd{Fd: int32(b.paths[i].in), Events: unix.POLLIN})
	}
	return nil
}

func (b *bridge) handle(req Request) (r Reply) {
	for _, s := range req.Set {
		if s.Line < 0 || 2*s.Line >= len(b.paths) || s.Direction&^1 != 0 {
			return Reply{Error: fmt.Sprintf("wan: set line %d, direction %d: no such line", s.Line, s.Direction)}
		}
		if err := s.Params.Validate(); err != nil {
			return Reply{Error: err.Error()}
		}
	}
	for _, s := range req.Set {
		b.paths[2*s.Line+s.Direction].shaper.Set(s.Params)
	}
	delay := never
	for i := range b.paths {
		delay = min(delay, b.paths[i].shaper.params.Delay)
	}
	b.rest.setDelay(delay)
	if req.Stats {
		for i := 0; i < len(b.paths); i += 2 {
			r.Stats = append(r.Stats, [2]Counters{b.paths[i].counters(), b.paths[i+1].counters()})
		}
	}
	return r
}

func (p *path) counters() Counters {
	p.shaper.count.Overruns += overruns(p.in)
	return p.shaper.Counters()
}

// wait sleeps until one of polls is ready, or until next.
func (b *bridge) wait(polls []unix.PollFd, next time.Duration) error {
	var ts *unix.Timespec
	if next != never {
		now, _ := b.clock.now()
		t := unix.NsecToTimespec(int64(max(next-now, 0)))
		ts = &t
	}
	for i := range b.polls {
		b.polls[i].Revents = 0
	}
	if _, err := unix.Ppoll(polls, ts, nil); err != nil && err != unix.EINTR {
		return fmt.Errorf("wan: poll: %w", err)
	}
	return nil
}

// receive admits the frames that p's socket holds.
func (b *bridge) receive(p *path) {
	for {
		n, errno := b.rx.recv(p.in)
		if errno != 0 {
			return
		}
		now, wall := b.clock.now()
		b.rest.seen(now)
		for i := range n {
			// The kernel's stamp says when the frame came, however late this thread woke.
			// Stamps are of the wall clock, which may step, and may be slightly out of
			// order between processors.
			at := now
			if t, ok := b.rx.arrived(i); ok && t <= wall && wall-t < int64(time.Second) {
				at = now - time.Duration(wall-t)
			}
			at = max(at, p.arrived)
			p.arrived = at
			size := int(b.rx.msgs[i].len)
			if due, ok := p.shaper.Admit(at, size); ok {
				b.launch(p, i, due, size)
			}
			b.rx.expectStamp(i)
		}
		if n < batch {
			return
		}
	}
}

// launch puts the frame in entry i of rx on its way, and a new slot in its place.
func (b *bridge) launch(p *path, i int, due time.Duration, size int) {
	slot, ok := b.pool.get()
	if !ok {
		p.shaper.count.QueueDrops++
		return
	}
	p.flight.push(frame{due: due, slot: b.slots[i], size: int32(size)})
	b.slots[i] = slot
	b.rx.set(i, b.pool.bytes(slot))
}

// deliver sends all frames that are due and returns when the next one is.
func (b *bridge) deliver() (next time.Duration) {
	next = never
	for i := range b.paths {
		p := &b.paths[i]
		for p.flight.len() > 0 {
			now, _ := b.clock.now()
			if due := p.flight.at(0).due; due > now {
				next = min(next, due)
				break
			}
			n := 0
			for n < min(batch, p.flight.len()) && p.flight.at(n).due <= now {
				f := p.flight.at(n)
				b.tx.set(n, b.pool.bytes(f.slot)[:f.size])
				n++
			}
			sent, errno := b.tx.send(p.out, n)
			if errno == unix.EAGAIN || errno == unix.ENOBUFS {
				next = min(next, now+retry)
				break
			}
			if errno != 0 {
				// The interface refuses the first frame of the batch for good.
				p.shaper.count.Unsent++
				b.pool.put(p.flight.at(0).slot)
				p.flight.drop(1)
				continue
			}
			for j := range sent {
				f := p.flight.at(j)
				p.shaper.delivered(int(f.size), now-f.due)
				b.pool.put(f.slot)
			}
			p.flight.drop(sent)
		}
	}
	return next
}

// serve answers the requests that have arrived. It reports true at the end of the
// channel.
func (c *control) serve(handle func(Request) Reply) (done bool, err error) {
	var chunk [4096]byte
	n, err := unix.Read(c.in, chunk[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("wan: read request: %w", err)
	}
	if n == 0 {
		return true, nil
	}
	c.buf = append(c.buf, chunk[:n]...)
	for {
		line, rest, ok := bytes.Cut(c.buf, []byte("\n"))
		if !ok {
			return false, nil
		}
		var reply Reply
		var req Request
		if err := json.Unmarshal(line, &req); err != nil {
			reply.Error = fmt.Sprintf("wan: request: %v", err)
		} else {
			reply = handle(req)
		}
		c.buf = rest
		out, err := json.Marshal(reply)
		if err != nil {
			return false, fmt.Errorf("wan: reply: %w", err)
		}
		for out = append(out, '\n'); len(out) > 0; {
			n, err := unix.Write(c.out, out)
			if err != nil {
				return false, fmt.Errorf("wan: write reply: %w", err)
			}
			out = out[n:]
		}
	}
}
