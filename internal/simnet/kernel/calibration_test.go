package kernel

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/multilink-vpn/multilink/internal/simnet"
	"github.com/multilink-vpn/multilink/internal/tcpmodel"
)

// TestCalibration compares the models' goodput with the kernel's: the medians over the
// seeds that were measured, because the lots that the lines draw are the same.
func TestCalibration(t *testing.T) {
	kernel := readMeasurements(t)
	for _, c := range calibrationCases() {
		for control, most := range map[tcpmodel.Algorithm]float64{tcpmodel.Cubic: c.cubic, tcpmodel.BBR: c.bbr} {
			if most == 0 {
				continue
			}
			var theirs, ours []float64
			for _, m := range kernel {
				if m.Case == c.name && m.Control == control.String() {
					theirs = append(theirs, m.Mbps)
					ours = append(ours, modelled(t, c, control, m.Seed))
				}
			}
			if len(theirs) == 0 {
				t.Errorf("%s, %v: no figure of the kernel in %s", c.name, control, measured)
				continue
			}
			k, m := median(theirs), median(ours)
			off := m/k - 1
			t.Logf("%-22s %-6v kernel %6.2f %v, models %6.2f %.2f: %+.1f %%", c.name, control, k, theirs, m, ours, 100*off)
			if math.Abs(off) > most {
				t.Errorf("%s, %v: %.2f Mbit/s, the kernel has %.2f: %+.0f %%, want %.0f %%", c.name, control, m, k, 100*off, 100*most)
			}
		}
	}
}

// modelled returns the models' goodput in Mbit/s.
func modelled(t *testing.T, c calibrationCase, control tcpmodel.Algorithm, seed uint64) float64 {
	r, err := simnet.Run(simnet.Config{
		Profile:   c.profile(),
		Tunnel:    simnet.Direct(),
		Flows:     []simnet.Flow{{Control: control}},
		Duration:  c.duration,
		Warmup:    warmup,
		PingEvery: -1,
		Seed:      seed,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.Down / 1e6
}

const measured = "testdata/kernel.jsonl"

func readMeasurements(t *testing.T) (all []measurement) {
	data, err := os.ReadFile(measured)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var m measurement
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%s: %v: %s", measured, err, line)
		}
		all = append(all, m)
	}
	return all
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return v[len(v)/2]
}
