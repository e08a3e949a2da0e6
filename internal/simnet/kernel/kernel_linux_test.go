package kernel

import (
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/netlab"
	"github.com/multilink-vpn/multilink/internal/simnet"
	"github.com/multilink-vpn/multilink/link/linksim"
)

// TestBridge lets the kernel's TCP through a simulated line, in both directions.
func TestBridge(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{}}})
	line := simnet.Line{
		Down: linksim.Profile{Rate: mbit(10), Delay: 5 * ms},
		Up:   linksim.Profile{Rate: mbit(5), Delay: 5 * ms},
	}
	for d, most := range map[simnet.Direction]float64{simnet.Down: 10e6, simnet.Up: 5e6} {
		r := Measure(t, lab, Config{
			Profile:   simnet.Profile{Name: "10/5", Lines: []simnet.Line{line}},
			Tunnel:    simnet.Direct(),
			Direction: d,
			Control:   "cubic",
			Duration:  1500 * ms,
			Warmup:    500 * ms,
			Seed:      1,
		})
		// The bounds are wide: the machine may be busy.
		if r.Goodput > most*1.2 || r.Goodput < most/3 {
			t.Errorf("%v: %.2f Mbit/s, %v late, over a line of %.0f", d, r.Goodput/1e6, r.Stalled.Round(time.Millisecond), most/1e6)
		}
	}
}
