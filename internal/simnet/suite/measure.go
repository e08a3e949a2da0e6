package suite

import (
	"fmt"
	"time"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
	"github.com/multilink-vpn/multilink/internal/simnet"
	"github.com/multilink-vpn/multilink/internal/tcpmodel"
)

// A full packet through a tunnel with 32 bytes of header carries payload bytes of TCP in
// frame bytes of a line: the targets count the capacity of the lines in such.
const (
	payload = simnet.DefaultMTU - tcpmodel.Overhead
	frame   = 1538
)

// comeUp is the time that a tunnel has before the flow begins.
const comeUp = time.Second

// A Case is one flow over a profile.
type Case struct {
	Profile   profile.Profile
	Direction profile.Direction
	Control   tcpmodel.Algorithm

	// Shared puts all lines behind the first: they are one bottleneck that looks like
	// several, as two modems on one tower do.
	Shared bool
}

// simulated returns the lines of the case.
func (c Case) simulated(o Options) simnet.Profile {
	sim := Simulated(c.Profile, o.Duration, o.Seed)
	if c.Shared {
		for k := range sim.Lines[1:] {
			sim.Lines[k+1] = simnet.Line{Behind: 1}
		}
	}
	return sim
}

// capacities is the profile whose lines add up to what the case can carry.
func (c Case) capacities() profile.Profile {
	p := c.Profile
	if c.Shared {
		p.Lines = p.Lines[:1]
	}
	return p
}

// String names the case as a test's name has it.
func (c Case) String() string {
	return fmt.Sprintf("%s/%v/%v", c.Profile.Name, c.Direction, c.Control)
}

// Options say how long to look. The zero value does not.
type Options struct {
	// Duration is how long a run is, Warmup how much of it is not measured.
	Duration, Warmup time.Duration
	Seed             uint64
}

// A Row is what a case showed.
type Row struct {
	Case    Case
	Run     *simnet.Result // over all lines
	Idle    simnet.Latency // ping without the flow
	Best    float64        // the largest goodput over a single line through the same tunnel, bits per second
	Goodput float64        // bits per second
	Share   float64        // of what the lines can carry; 1 is a perfect datagram tunnel
	Bound   float64        // the largest share possible
	Return  time.Duration  // after the end of a single outage, until goodput is what it was
}

// Measure runs a tunnel through a case: over all lines, over each alone, and idle.
func Measure(c Case, t simnet.Tunnel, o Options) (Row, error) {
	r := Row{Case: c}
	sim := c.simulated(o)
	run := func(p simnet.Profile, flows []simnet.Flow) (*simnet.Result, error) {
		return simnet.Run(simnet.Config{
			Profile:     p,
			Tunnel:      t,
			Flows:       flows,
			Duration:    o.Duration,
			Warmup:      o.Warmup,
			Seed:        o.Seed,
			ServerClock: simnet.Clock{Ahead: 77 * time.Minute, Drift: 50},
		})
	}
	flow := []simnet.Flow{{Direction: simnet.Direction(c.Direction), Control: c.Control, Start: comeUp}}
	var err error
	if r.Run, err = run(sim, flow); err != nil {
		return r, err
	}
	r.Goodput = goodput(r.Run)
	idle, err := run(sim, nil)
	if err != nil {
		return r, err
	}
	r.Idle = idle.Ping
	lines := c.capacities()
	known := make(map[string]float64) // lines that are alike need one run
	for k, l := range lines.Lines {
		g, ok := known[l.String()]
		if !ok {
			alone, err := run(only(sim, k), flow)
			if err != nil {
				return r, err
			}
			g = goodput(alone)
			known[l.String()] = g
		}
		r.Best = max(r.Best, g)
	}
	steps := lines.Steps(o.Duration, o.Seed)
	if can := lines.Capacity(c.Direction, steps, o.Warmup, o.Duration) * payload / frame; can > 0 {
		r.Share = r.Goodput / can
	}
	r.Bound = Bound(lines, c.Direction, o.Seed, o.Warmup, o.Duration)
	r.Return = returnTime(c.Profile, r.Run.Flows[0].Bins, o)
	return r, nil
}

// returnTime is how long after its only outage the flow has what it had before: in five
// intervals on end nine tenths of the mean. It is 0 for profiles that have no such
// outage, and the rest of the run if that never comes.
func returnTime(p profile.Profile, bins []uint64, o Options) time.Duration {
	const on = 5
	outage := profile.Outage{}
	for _, l := range p.Lines {
		if l.Outage.For > 0 && l.Outage.Every == 0 {
			outage = l.Outage
		}
	}
	end := outage.At + outage.For
	if outage.For == 0 || end >= o.Duration || outage.At <= o.Warmup {
		return 0
	}
	before := bins[o.Warmup/simnet.BinWidth : outage.At/simnet.BinWidth]
	want := float64(sum(before)) / float64(len(before)) * on * 0.9
	for i := int(end / simnet.BinWidth); i+on <= len(bins); i++ {
		if float64(sum(bins[i:i+on])) >= want {
			return time.Duration(i)*simnet.BinWidth - end
		}
	}
	return o.Duration - end
}

func sum(bins []uint64) (n uint64) {
	for _, b := range bins {
		n += b
	}
	return n
}

func goodput(r *simnet.Result) float64 { return r.Flows[0].Goodput }
