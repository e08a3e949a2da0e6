package mlvpn

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/simnet"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/link/linksim"
	"github.com/multilink-vpn/multilink/tun"
)

// multilink is a simnet.Tunnel of a real Client and a real Server. Their loops do not
// run: a simEnd takes the turns of both, so that a simulation has one goroutine and one
// outcome.
func multilink(name string, set func(*Config)) simnet.Tunnel {
	return simnet.Tunnel{Name: name, New: func(env simnet.Env) (client, server simnet.End) {
		password := crypto.PresharedKey{1}
		c, s := newSimEnd(env), newSimEnd(env)
		cfg := func(e *simEnd) Config {
			var lg *slog.Logger
			if os.Getenv("LANELOG") != "" {
				lg = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
			}
			out := Config{Logger: lg, Device: (*simDevice)(e), PasswordKey: password}
			if set != nil {
				set(&out)
			}
			return out
		}
		cl, err := NewClient(ClientConfig{Config: cfg(c), Name: "client"})
		must(err)
		sv, err := NewServer(ServerConfig{Config: cfg(s)})
		must(err)
		c.begin(env, cl.e)
		s.begin(env, sv.e)
		for line := range env.Lines {
			name := string(rune('a' + line))
			_, err := cl.AddLink(&simLink{end: c, line: line}, LinkConfig{Name: name})
			must(err)
			must(sv.AddSocket(&simSocket{end: s, line: line}, LinkConfig{Name: name}))
			c.addPort(cl.links[line])
		}
		for p := range sv.e.life.ports {
			s.addPort(p)
		}
		c.client, s.server = cl, sv
		lastEnds = [2]*simEnd{c, s}
		return c, s
	}}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// simEnd is one end: an engine whose turns it takes.
type simEnd struct {
	client  *Client
	server  *Server
	shift   time.Duration // from the simulation's time to the engine's, which has read the clock
	e       *engine
	ports   []*port // by line
	in      *deviceBatch
	batches []*portBatch // by line
	sink    chan *deviceBatch
	done    chan *portBatch
	send    func(line int, datagram []byte)
	deliver func(pkt []byte)
}

func newSimEnd(env simnet.Env) *simEnd {
	return &simEnd{
		ports:   make([]*port, env.Lines),
		batches: make([]*portBatch, env.Lines),
		sink:    make(chan *deviceBatch, 1),
		done:    make(chan *portBatch, 1),
	}
}

func (x *simEnd) begin(env simnet.Env, e *engine) {
	x.e = e
	x.shift = time.Since(env.Now)
	e.born = env.Now.Add(x.shift)
	x.in = e.newDeviceBatch(64, x.sink)
}

func (x *simEnd) addPort(p *port) {
	line := -1
	if l, ok := p.link.(*simLink); ok {
		line = l.line
	} else {
		line = p.sock.(*simSocket).line
	}
	x.ports[line] = p
	b := x.e.newPortBatch(p, x.done)
	if p.sock != nil {
		for i := range b.from {
			b.from[i].Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(line)}), 5080)
		}
	}
	x.batches[line] = b
}

func (x *simEnd) Ingress(now time.Time, pkt []byte) {
	now = now.Add(x.shift)
	b := x.in
	if b.n == len(b.bufs) {
		x.forward(now)
	}
	b.sizes[b.n] = copy(b.bufs[b.n][tun.Headroom:], pkt)
	b.n++
}

// forward lets the sender take its turn.
func (x *simEnd) forward(now time.Time) time.Time {
	if x.in.n == 0 {
		return x.e.sender.turn(now, nil)
	}
	next := x.e.sender.turn(now, x.in)
	<-x.sink
	x.in.n = 0
	return next
}

func (x *simEnd) Arrive(now time.Time, line int, datagram []byte) {
	now = now.Add(x.shift)
	b := x.batches[line]
	if b.n == len(b.bufs) {
		x.receive(now, b)
	}
	b.sizes[b.n] = copy(b.bufs[b.n], datagram)
	b.n++
}

func (x *simEnd) receive(now time.Time, b *portBatch) {
	x.e.receiver.turn(now, b)
	<-x.done
	b.n = 0
}

func (x *simEnd) Poll(now time.Time, send func(int, []byte), deliver func([]byte)) time.Time {
	now = now.Add(x.shift)
	x.send, x.deliver = send, deliver
	for _, b := range x.batches {
		if b != nil && b.n > 0 {
			x.receive(now, b)
		}
	}
	x.e.receiver.turn(now, nil)
	next := x.forward(now)
	// What the sender has told the receiver is done at once.
	if at := x.e.receiver.turn(now, nil); next.IsZero() || !at.IsZero() && at.Before(next) {
		next = at
	}
	if len(x.e.sender.box.wake) > 0 {
		<-x.e.sender.box.wake
		next = now
	}
	if next.IsZero() {
		return next
	}
	return next.Add(-x.shift)
}

// simDevice is the device of a simEnd.
type simDevice simEnd

func (d *simDevice) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		d.deliver(b[offset:])
	}
	return len(bufs), nil
}

func (d *simDevice) Read([][]byte, []int, int) (int, error) { return 0, net.ErrClosed }
func (d *simDevice) MTU() (int, error)                      { return simnet.DefaultMTU, nil }
func (d *simDevice) Name() (string, error)                  { return "sim", nil }
func (d *simDevice) BatchSize() int                         { return 64 }
func (d *simDevice) Close() error                           { return nil }

// simLink is a client's link.
type simLink struct {
	end  *simEnd
	line int
}

func (l *simLink) Send(pkts [][]byte) (int, error) {
	for _, p := range pkts {
		l.end.send(l.line, p)
	}
	return len(pkts), nil
}

func (l *simLink) Receive([][]byte, []int) (int, error) { return 0, net.ErrClosed }
func (l *simLink) MTU() int                             { return 1472 }
func (l *simLink) Close() error                         { return nil }

// simSocket is a server's socket.
type simSocket struct {
	end  *simEnd
	line int
}

func (s *simSocket) SendTo(pkts [][]byte, _ link.Addr) (int, error) {
	return (&simLink{s.end, s.line}).Send(pkts)
}

func (s *simSocket) ReceiveFrom([][]byte, []int, []link.Addr) (int, error) { return 0, net.ErrClosed }
func (s *simSocket) LocalAddr() netip.AddrPort                             { return netip.AddrPort{} }
func (s *simSocket) MTU() int                                              { return 1472 }
func (s *simSocket) Close() error                                          { return nil }

var lastEnds [2]*simEnd

func dump(t *testing.T, x *simEnd) {
	for ses := range x.e.sender.sessions {
		ep := ses.tx.current
		if ep == nil {
			continue
		}
		t.Logf("   hold %+v repaired %d copied %d full %d", ep.tx.even.hold, ep.tx.count.repaired, ep.tx.count.copied, ses.tx.count.queueFull)
		for i, p := range ep.tx.active {
			v := ep.tx.views[i]
			l := p.tx.lane
			t.Logf("   %s cap %.1f pace %.1f q %v noise %v boost %.2f started %v delay %v equal %v rtt %v ack %v loss %.4f sent %d lost %d spurious %d drains %d stuck %d", p.tx.cfg.Name, float64(l.rate.Capacity())*8/1e6, float64(l.rate.Rate())*8/1e6, l.rate.Queue(), l.rate.Noise(), l.rate.Boost(), l.rate.Found(), v.Delay, v.Equal, v.RTT, l.ack.Smoothed(), v.Loss, p.tx.count.packets, p.tx.count.lost, p.tx.count.spurious, l.rate.Drains, l.rate.Stuck)
		}
		for _, y := range x.e.receiver.paths {
			t.Logf("   rx reorder %+v", y.epoch.rx.buffer.Stats())
			break
		}
	}
}

func TestLaneTry(t *testing.T) {
	mbit := func(v float64) uint64 { return uint64(v * 1e6 / 8) }
	ms := time.Millisecond
	line := func(rate float64, delay, jitter int, loss float64) simnet.Line {
		p := linksim.Profile{Rate: mbit(rate), Delay: time.Duration(delay) * ms, Jitter: time.Duration(jitter) * ms, Loss: loss, Queue: 100 * ms}
		return simnet.Line{Down: p, Up: p}
	}
	profiles := []simnet.Profile{
		{Name: "equal", Lines: []simnet.Line{line(50, 10, 0, 0), line(50, 10, 0, 0)}},
		{Name: "rate", Lines: []simnet.Line{line(50, 10, 0, 0), line(12, 10, 0, 0)}},
		{Name: "rtt", Lines: []simnet.Line{line(50, 10, 0, 0), line(50, 60, 0, 0)}},
		{Name: "fibre_lte", Lines: []simnet.Line{line(100, 4, 0, 0), line(30, 20, 8, .005)}},
		{Name: "lte_starlink", Lines: []simnet.Line{line(40, 17, 8, 0), line(100, 25, 25, .01)}},
		{Name: "lossy", Lines: []simnet.Line{line(50, 10, 0, .02), line(50, 10, 0, .02)}},
		{Name: "congested", Lines: []simnet.Line{line(20, 25, 20, .02), line(15, 30, 25, .02)}},
		{Name: "three", Lines: []simnet.Line{line(30, 12, 0, 0), line(12, 45, 8, 0), line(8, 90, 0, .005)}},
	}
	seed, _ := strconv.ParseUint(os.Getenv("SEED"), 10, 64)
	only := os.Getenv("LANE")
	for _, p := range profiles {
		if only != "" && only != p.Name {
			continue
		}
		sum := 0.0
		for _, l := range p.Lines {
			sum += float64(l.Down.Rate) * 8 / 1e6
		}
		cubic, bbr := simnet.CUBIC(simnet.Down), simnet.BBR(simnet.Down)
		cubic.Start, bbr.Start = 2*time.Second, 2*time.Second
		for _, f := range []simnet.Flow{cubic, bbr} {
			start := time.Now()
			r, err := simnet.Run(simnet.Config{Profile: p, Tunnel: multilink("ml", nil), Flows: []simnet.Flow{f}, Duration: 17 * time.Second, Warmup: 7 * time.Second, Seed: seed})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%-12s %v: %6.1f of %.0f share %.3f ping %v/%v gap %v wall %v", p.Name, f.Control, r.Down/1e6, sum, r.Down/1e6/(sum*1388/1538), r.Ping.Median, r.Ping.P99, r.Gap, time.Since(start).Round(ms))
			if only != "" {
				var bins []string
				for i := 0; i+5 <= len(r.Flows[0].Bins); i += 5 {
					n := uint64(0)
					for _, b := range r.Flows[0].Bins[i : i+5] {
						n += b
					}
					bins = append(bins, strconv.Itoa(int(n*16/1e6)))
				}
				t.Logf("  bins %v sender %+v", bins, r.Flows[0].Sender)
				t.Log(" server:")
				dump(t, lastEnds[1])
				t.Log(" client:")
				dump(t, lastEnds[0])
			}
		}
	}
}
