package mlvpn

import (
	"flag"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
	"github.com/multilink-vpn/multilink/internal/simnet"
	"github.com/multilink-vpn/multilink/internal/simnet/suite"
)

var updateMissed = flag.Bool("update", false, "write what the lane misses to testdata/lane")

// TestLane judges the tunnel by the project's targets (docs/simulation.md).
func TestLane(t *testing.T) {
	if raced {
		t.Skip("one goroutine needs no race detector, and takes long with it")
	}
	synctest.Test(t, func(t *testing.T) {
		suite.Run(t, suite.Plan{Tunnel: multilink(t).tunnel(), Dir: "testdata/lane", Update: *updateMissed})
	})
}

// simLines returns the lines of a profile, in the notation of its table.
func simLines(t *testing.T, text string) simnet.Profile {
	t.Helper()
	p, err := profile.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return suite.Simulated(p, 0, 1)
}

// simulate runs a tunnel, and fails the test if that does not work.
func simulate(t *testing.T, c simnet.Config) *simnet.Result {
	t.Helper()
	c.ServerClock = simnet.Clock{Ahead: 77 * time.Minute, Drift: 50}
	r, err := simnet.Run(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestLaneReproducible runs what draws the most lots twice with one seed, and once with
// another.
func TestLaneReproducible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(seed uint64) *simnet.Result {
			return simulate(t, simnet.Config{
				Profile:  simLines(t, "20, 25 ±20, 2 % + 15, 30 ±25, 2 %"),
				Tunnel:   multilink(t).tunnel(),
				Flows:    []simnet.Flow{simnet.CUBIC(simnet.Down), simnet.BBR(simnet.Up)},
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
	})
}
