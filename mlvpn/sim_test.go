package mlvpn

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/simnet"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/tun"
)

// A simTunnel makes the ends of simulated tunnels, each a real Client and a real Server.
// Their loops do not run: a simEnd takes the turns of both, so that a simulation has one
// goroutine. Within a synctest bubble, where the clock stands still meanwhile, it is a
// function of the seed: keys come from that, too.
type simTunnel struct {
	t   *testing.T
	set func(*Config) // edits the configuration of both ends; may be nil

	// heard, if not nil, is told of each datagram of the session that arrives at a side,
	// at a time since the beginning.
	heard func(side int, now time.Duration, line, size int, in *inbound)

	ends [2]*simEnd // of the latest run, by side
}

// multilink returns the tunnel under test.
func multilink(t *testing.T) *simTunnel { return &simTunnel{t: t} }

func (m *simTunnel) tunnel() simnet.Tunnel {
	return simnet.Tunnel{Name: "multilink", New: func(env simnet.Env) (client, server simnet.End) {
		m.begin(env)
		return m.ends[simnet.Client], m.ends[simnet.Server]
	}}
}

func (m *simTunnel) begin(env simnet.Env) {
	cryptotest.SetGlobalRandom(m.t, env.Seed)
	c, s := m.newEnd(simnet.Client, env.Lines), m.newEnd(simnet.Server, env.Lines)
	cl, err := NewClient(ClientConfig{Config: m.config(c), Name: "client"})
	m.must(err)
	sv, err := NewServer(ServerConfig{Config: m.config(s)})
	m.must(err)
	c.begin(env.Now, cl.e)
	s.begin(env.ServerNow, sv.e)
	for line := range env.Lines {
		cfg := LinkConfig{Name: string(rune('a' + line))}
		_, err := cl.AddLink(&simLink{end: c, line: line}, cfg)
		m.must(err)
		m.must(sv.AddSocket(&simSocket{end: s, line: line}, cfg))
		c.addPort(line, cl.links[line])
	}
	for p := range sv.e.life.ports {
		s.addPort(p.sock.(*simSocket).line, p)
	}
	c.client = cl
	m.ends = [2]*simEnd{simnet.Client: c, simnet.Server: s}
}

func (m *simTunnel) config(x *simEnd) Config {
	cfg := Config{
		Device:      (*simDevice)(x),
		PasswordKey: crypto.PresharedKey{1},
		OnEvent:     func(Event) {}, // for simEnd.events
	}
	if m.set != nil {
		m.set(&cfg)
	}
	return cfg
}

func (m *simTunnel) must(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

// A simEnd is one end: an engine whose turns it takes.
type simEnd struct {
	of      *simTunnel
	side    int
	client  *Client // at the client's side
	began   time.Time
	shift   time.Duration // from the simulation's time to the engine's, which has read the clock
	e       *engine
	in      *deviceBatch
	batches []*portBatch // by line
	sink    chan *deviceBatch
	done    chan *portBatch
	send    func(line int, datagram []byte)
	deliver func(pkt []byte)
}

func (m *simTunnel) newEnd(side, lines int) *simEnd {
	return &simEnd{
		of:      m,
		side:    side,
		batches: make([]*portBatch, lines),
		sink:    make(chan *deviceBatch, 1),
		done:    make(chan *portBatch, 1),
	}
}

// begin takes over an engine when the end's clock shows now.
func (x *simEnd) begin(now time.Time, e *engine) {
	x.e = e
	x.began = now
	x.shift = time.Since(now)
	e.born = now.Add(x.shift)
	awake := e.sender.slept
	e.suspended = func() time.Duration { return awake }
	x.in = e.newDeviceBatch(64, x.sink)
}

func (x *simEnd) addPort(line int, p *port) {
	b := x.e.newPortBatch(p, x.done)
	if p.sock != nil {
		for i := range b.from {
			b.from[i].Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(line)}), 5080)
		}
	}
	x.batches[line] = b
}

// events returns what has been reported since it was last asked.
func (x *simEnd) events() []Event { return x.e.notifier.box.take(nil) }

// session returns the end's only session.
func (x *simEnd) session() *Session {
	for ses := range x.e.sender.sessions {
		return ses
	}
	x.of.t.Fatal("there is no session")
	return nil
}

func (x *simEnd) Ingress(now time.Time, pkt []byte) {
	b := x.in
	if b.n == len(b.bufs) {
		x.forward(now.Add(x.shift))
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
	b := x.batches[line]
	b.sizes[b.n] = copy(b.bufs[b.n], datagram)
	b.n++
	heard := x.of.heard
	if b.n < len(b.bufs) && heard == nil {
		return
	}
	known := b.n == 1 && binary.BigEndian.Uint32(datagram) != 0 // no handshake
	x.receive(now.Add(x.shift), b)
	if heard != nil && known {
		heard(x.side, now.Sub(x.began), line, len(datagram), &x.e.receiver.in)
	}
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
		if b.n > 0 {
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
