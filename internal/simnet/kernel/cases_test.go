package kernel

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/simnet"
	"github.com/multilink-vpn/multilink/link/linksim"
)

const (
	ms     = time.Millisecond
	warmup = 2 * time.Second // of each flow, not measured
)

// A calibrationCase is lines with nothing between them and the hosts: packets take them
// in turn.
type calibrationCase struct {
	name     string
	lines    []linksim.Profile // the same in both directions
	duration time.Duration

	// cubic and bbr are how far from the kernel's median goodput the model's may be, as
	// a share of it. 0 is where there is no figure to compare with.
	cubic, bbr float64
}

func (c calibrationCase) profile() simnet.Profile {
	p := simnet.Profile{Name: c.name}
	for _, l := range c.lines {
		p.Lines = append(p.Lines, simnet.Line{Down: l, Up: l})
	}
	return p
}

func mbit(v float64) uint64 { return uint64(v * 1e6 / 8) }

// calibrationCases are the cases of which testdata/kernel.jsonl has the kernel's figures.
func calibrationCases() []calibrationCase {
	fast := linksim.Profile{Rate: mbit(50), Delay: 10 * ms}
	with := func(edit func(*linksim.Profile)) linksim.Profile {
		p := fast
		edit(&p)
		return p
	}
	later := func(d time.Duration) linksim.Profile {
		return with(func(p *linksim.Profile) { p.Delay += d })
	}
	return []calibrationCase{
		{"clean", []linksim.Profile{fast}, 12 * time.Second, 0.15, 0.15},
		{"jitter", []linksim.Profile{{Rate: mbit(40), Delay: 17 * ms, Jitter: 8 * ms}}, 12 * time.Second, 0.15, 0.15},
		{"some loss", []linksim.Profile{{Rate: mbit(20), Delay: 40 * ms, Jitter: 8 * ms, Loss: 0.005}}, 30 * time.Second, 0.15, 0.15},
		{"much loss", []linksim.Profile{with(func(p *linksim.Profile) { p.Loss = 0.02 })}, 20 * time.Second, 0.15, 0.15},
		{"shallow queue", []linksim.Profile{{Rate: mbit(30), Delay: 20 * ms, Queue: 15 * ms}}, 20 * time.Second, 0.15, 0.15},
		{"reordering", []linksim.Profile{{Rate: mbit(50), Delay: 20 * ms, Reorder: 0.02, ReorderBy: 20 * ms}}, 20 * time.Second, 0.15, 0.15},
		{"striped, alike", []linksim.Profile{fast, fast}, 12 * time.Second, 0.15, 0.15},
		{"striped, rates differ", []linksim.Profile{fast, with(func(p *linksim.Profile) { p.Rate = mbit(12) })}, 15 * time.Second, 0.15, 0.15},
		{"striped, 3 ms apart", []linksim.Profile{fast, later(3 * ms)}, 15 * time.Second, 0.15, 0.15},
		{"striped, 10 ms apart", []linksim.Profile{fast, later(10 * ms)}, 20 * time.Second, 0.15, 0},
	}
}
