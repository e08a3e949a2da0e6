package simnet

import (
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/link/linksim"
)

// TestDisorderCollapsesCUBIC sends packets over two lines by lot. Over lines that are
// alike that is nearly harmless. Over lines that differ by more than TCP tolerates, the
// sum of two lines is worth less than half of one.
func TestDisorderCollapsesCUBIC(t *testing.T) {
	goodput := func(tunnel Tunnel, delays ...time.Duration) float64 {
		var lines []Line
		for _, d := range delays {
			lines = append(lines, symmetric(linksim.Profile{Rate: mbit(50), Delay: d}))
		}
		return run1(t, Config{
			Profile:  Profile{Lines: lines},
			Tunnel:   tunnel,
			Flows:    []Flow{CUBIC(Down)},
			Duration: 20 * time.Second,
			Warmup:   4 * time.Second,
			Seed:     1,
		}).Down / 1e6
	}
	alone := goodput(Spray(), 10*ms)
	alike := goodput(Spray(), 10*ms, 10*ms)
	differ := goodput(Spray(), 10*ms, 60*ms)
	if alone < 44 {
		t.Errorf("%.1f Mbit/s over one line of 50", alone)
	}
	if alike < 1.5*alone {
		t.Errorf("%.1f Mbit/s over two lines that are alike, %.1f over one", alike, alone)
	}
	if differ > alone/2 {
		t.Errorf("%.1f Mbit/s over lines 50 ms apart, %.1f over one of them: CUBIC did not mind", differ, alone)
	}
	t.Logf("%.1f over one line, %.1f over two alike, %.1f over two 50 ms apart", alone, alike, differ)
}
