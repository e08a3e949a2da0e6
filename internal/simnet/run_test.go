package simnet

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/tcpmodel"
	"github.com/multilink-vpn/multilink/link/linksim"
)

const ms = time.Millisecond

// mbit is a rate in Mbit/s as a linksim.Profile has it.
func mbit(v float64) uint64 { return uint64(v * 1e6 / 8) }

// symmetric is a line that is the same in both directions.
func symmetric(p linksim.Profile) Line { return Line{Down: p, Up: p} }

func run1(t *testing.T, c Config) *Result {
	t.Helper()
	r, err := Run(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestIdlePing computes by hand what ping must show.
func TestIdlePing(t *testing.T) {
	line := symmetric(linksim.Profile{Rate: mbit(10), Delay: 15 * ms})
	r := run1(t, Config{Profile: Profile{Lines: []Line{line}}, Tunnel: RoundRobin(), Duration: time.Second})
	// 84 bytes and 66 of overhead take 120 µs each way.
	if want := 2 * (15*ms + 120*time.Microsecond); r.Ping.Median != want || r.Ping.P99 != want {
		t.Errorf("ping %+v, want %v", r.Ping, want)
	}
	if r.Ping.Answered != 19 || r.Ping.Lost != 1 { // the last is still on its way
		t.Errorf("%d answers, %d lost, want 19 and 1", r.Ping.Answered, r.Ping.Lost)
	}
}

func TestUDPFlow(t *testing.T) {
	lines := []Line{symmetric(linksim.Profile{Delay: 10 * ms}), symmetric(linksim.Profile{Delay: 25 * ms})}
	r := run1(t, Config{
		Profile:   Profile{Lines: lines},
		Tunnel:    RoundRobin(),
		Flows:     []Flow{{Kind: UDP, Direction: Up, Rate: 20000, Size: 200}},
		Duration:  10*time.Second + 30*ms,
		PingEvery: -1,
	})
	f := r.Flows[0]
	if f.Delay.Median != 25*ms || f.Delay.Max != 25*ms {
		t.Errorf("delay %+v, want half of the packets at 10 ms and half at 25 ms", f.Delay)
	}
	// 100 packets a second, every second one overtaken by its successor.
	if f.Reordered < 490 || f.Reordered > 510 {
		t.Errorf("%d of 1000 packets overtaken, want half", f.Reordered)
	}
	if r.Down != 0 || r.Up < 155e3 || r.Up > 165e3 {
		t.Errorf("%.0f down, %.0f up, want 0 and 160000", r.Down, r.Up)
	}
}

// TestReproducible runs what draws the most lots three times.
func TestReproducible(t *testing.T) {
	run := func(seed uint64) *Result {
		line := symmetric(linksim.Profile{Rate: mbit(20), Delay: 20 * ms, Jitter: 8 * ms, Loss: 0.01})
		return run1(t, Config{
			Profile:  Profile{Lines: []Line{line, line}},
			Tunnel:   Spray(),
			Flows:    []Flow{CUBIC(Down), BBR(Up)},
			Duration: 5 * time.Second,
			Seed:     seed,
		})
	}
	a, b, c := run(1), run(1), run(2)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("two runs of one seed differ: %.0f/%.0f and %.0f/%.0f bit/s", a.Down, a.Up, b.Down, b.Up)
	}
	if reflect.DeepEqual(a, c) {
		t.Error("runs of different seeds do not differ")
	}
}

// TestChanges cuts the line for a second.
func TestChanges(t *testing.T) {
	line := symmetric(linksim.Profile{Rate: mbit(10), Delay: 10 * ms})
	set := func(down bool) func(d, u *linksim.Profile) {
		return func(d, u *linksim.Profile) { d.Down, u.Down = down, down }
	}
	r := run1(t, Config{
		Profile: Profile{
			Lines:   []Line{line},
			Changes: []Change{{At: 3 * time.Second, Apply: set(true)}, {At: 4 * time.Second, Apply: set(false)}},
		},
		Tunnel:   RoundRobin(),
		Flows:    []Flow{CUBIC(Down)},
		Duration: 10 * time.Second,
	})
	if f := r.Flows[0]; f.Gap < 900*ms || f.GapAt < 2900*ms || f.GapAt > 3200*ms {
		t.Errorf("longest gap of %v at %v, want one second from 3 s on", f.Gap, f.GapAt)
	}
	if r.Lines[0].Down.Swallowed == 0 {
		t.Error("the line was never down")
	}
}

// TestBehind puts two lines behind one wire.
func TestBehind(t *testing.T) {
	line := symmetric(linksim.Profile{Rate: mbit(20), Delay: 10 * ms})
	r := run1(t, Config{
		Profile:  Profile{Lines: []Line{line, {Behind: 1}}},
		Tunnel:   RoundRobin(),
		Flows:    []Flow{CUBIC(Down)},
		Duration: 10 * time.Second,
		Warmup:   2 * time.Second,
	})
	if r.Down > 20e6 || r.Down < 17e6 {
		t.Errorf("%.1f Mbit/s, want what one line of 20 carries", r.Down/1e6)
	}
	if r.Lines[0] != r.Lines[1] {
		t.Error("lines that share a wire differ in their counters")
	}
}

// wakeful is a tunnel that asks to be polled every 10 ms of its own clock.
type wakeful struct {
	polls  []time.Time
	inputs []time.Time
	next   time.Time
}

func (w *wakeful) Poll(now time.Time, send func(int, []byte), _ func([]byte)) time.Time {
	if w.next.IsZero() {
		w.next = now
		send(0, []byte("hello"))
	}
	if !now.Before(w.next) {
		w.polls = append(w.polls, now)
		w.next = w.next.Add(10 * ms)
	}
	return w.next
}

// Arrive and Ingress must show the same clock as Poll.
func (w *wakeful) Arrive(now time.Time, _ int, _ []byte) { w.inputs = append(w.inputs, now) }

func (w *wakeful) Ingress(now time.Time, _ []byte) { w.inputs = append(w.inputs, now) }

// TestServerClock polls both ends for 10 s by clocks that differ.
func TestServerClock(t *testing.T) {
	var client, server wakeful
	var env Env
	run1(t, Config{
		Profile:     Profile{Lines: []Line{symmetric(linksim.Profile{})}},
		Tunnel:      Tunnel{New: func(e Env) (End, End) { env = e; return &client, &server }},
		Duration:    10 * time.Second,
		ServerClock: Clock{Ahead: time.Hour, Drift: 1000},
	})
	if d := env.ServerNow.Sub(env.Now); d != time.Hour {
		t.Errorf("the server's clock is ahead by %v, want an hour", d)
	}
	for _, end := range []struct {
		name          string
		polls, inputs []time.Time
		from          time.Time
		want          int // polls: the server's clock shows 10 ms more in 10 s
	}{
		{"client", client.polls, client.inputs, env.Now, 1001},
		{"server", server.polls, server.inputs, env.ServerNow, 1002},
	} {
		if len(end.polls) != end.want {
			t.Errorf("%s: %d polls, want %d", end.name, len(end.polls), end.want)
		}
		if len(end.inputs) == 0 || end.inputs[0].Before(end.from) || end.inputs[0].After(end.from.Add(time.Second)) {
			t.Errorf("%s: inputs at %v, want some from %v on", end.name, end.inputs, end.from)
		}
		for i, at := range end.polls {
			want := end.from.Add(time.Duration(i) * 10 * ms)
			if late := at.Sub(want); late < 0 || late > time.Microsecond {
				t.Fatalf("%s: poll %d is %v late", end.name, i, late)
			}
		}
	}
}

// damage is a tunnel that changes a byte of each packet of full size.
type damage struct{ spread }

func (d *damage) Ingress(now time.Time, pkt []byte) {
	d.spread.Ingress(now, pkt)
	if len(pkt) > 1000 {
		d.out[len(d.out)-1][1000] ^= 1
	}
}

// restless is a tunnel that asks to be polled again at once.
type restless struct{ spread }

func (restless) Poll(now time.Time, _ func(int, []byte), _ func([]byte)) time.Time { return now }

// noise is a tunnel that makes packets up.
type noise struct{ spread }

func (noise) Poll(_ time.Time, _ func(int, []byte), deliver func([]byte)) (next time.Time) {
	deliver(make([]byte, 100))
	return next
}

func TestErrors(t *testing.T) {
	line := symmetric(linksim.Profile{Rate: mbit(10), Delay: 10 * ms})
	good := Config{Profile: Profile{Name: "p", Lines: []Line{line}}, Tunnel: RoundRobin(), Flows: []Flow{CUBIC(Down)}, Duration: time.Second}
	tunnel := func(e func() End) func(*Config) {
		return func(c *Config) { c.Tunnel.New = func(Env) (End, End) { return e(), e() } }
	}
	for _, test := range []struct {
		name string
		edit func(*Config)
		want string // "" is no error
	}{
		{"good", func(*Config) {}, ""},
		{"no tunnel", func(c *Config) { c.Tunnel = Tunnel{} }, "Tunnel.New is nil"},
		{"no lines", func(c *Config) { c.Profile.Lines = nil }, "no lines"},
		{"no time", func(c *Config) { c.Warmup = time.Second }, "longer than Warmup"},
		{"behind itself", func(c *Config) { c.Profile.Lines = []Line{{Behind: 1}} }, "earlier line"},
		{"change of no line", func(c *Config) { c.Profile.Changes = []Change{{Line: 1}} }, "does not exist"},
		{"changes out of order", func(c *Config) {
			nop := func(_, _ *linksim.Profile) {}
			c.Profile.Changes = []Change{{At: 2, Apply: nop}, {At: 1, Apply: nop}}
		}, "out of order"},
		{"damaged", tunnel(func() End { return &damage{spread{lines: 1}} }), "not an intact"},
		{"restless", tunnel(func() End { return &restless{} }), "for ever"},
		{"noise", tunnel(func() End { return &noise{} }), "no packet for this host"},
	} {
		c := good
		test.edit(&c)
		_, err := Run(c)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
	}
}

// TestShortFlow transfers a few segments over an idle line: handshake and slow start.
func TestShortFlow(t *testing.T) {
	line := symmetric(linksim.Profile{Rate: mbit(100), Delay: 20 * ms})
	flow := Flow{Direction: Down, Control: tcpmodel.Cubic, Bytes: 25 * 1388}
	r := run1(t, Config{Profile: Profile{Lines: []Line{line}}, Tunnel: RoundRobin(), Flows: []Flow{flow}, Duration: time.Second})
	f := r.Flows[0]
	if f.Receiver.Bytes != 25*1388 || f.Sender.Retransmissions != 0 {
		t.Errorf("received %d bytes with %d retransmissions, want 25 segments", f.Receiver.Bytes, f.Sender.Retransmissions)
	}
	// A round trip for the handshake, one for the first ten segments, one for the rest.
	if f.Finished < 120*ms || f.Finished > 130*ms {
		t.Errorf("finished after %v, want three round trips of 40 ms", f.Finished)
	}
}

// BenchmarkRun measures the loop with the trivial tunnel. The requirement is 300,000
// datagrams a second.
func BenchmarkRun(b *testing.B) {
	line := symmetric(linksim.Profile{Rate: mbit(50), Delay: 10 * ms})
	var datagrams uint64
	for b.Loop() {
		r, err := Run(Config{Profile: Profile{Lines: []Line{line, line}}, Tunnel: RoundRobin(), Flows: []Flow{CUBIC(Down)}, Duration: 2 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		datagrams += r.Datagrams
	}
	b.ReportMetric(float64(datagrams)/b.Elapsed().Seconds(), "datagrams/s")
}
