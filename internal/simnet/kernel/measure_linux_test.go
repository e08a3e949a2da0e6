package kernel

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/netlab"
	"github.com/multilink-vpn/multilink/internal/simnet"
)

var (
	measureTo   = flag.String("measure", "", "append the kernel's figures to this `file`")
	measureSeed = flag.Uint64("measure.seed", 1, "seed of the lines for -measure")
)

// disturbed is the share of a measurement's time in which the network may stand still.
const disturbed = 0.01

// TestMeasure makes the data that TestCalibration compares the models with:
//
//	go test ./internal/simnet/kernel -run Measure -measure testdata/kernel.jsonl
//
// It takes some minutes, and wants the machine for itself.
func TestMeasure(t *testing.T) {
	if *measureTo == "" {
		t.Skip("measures for minutes, and only with -measure FILE")
	}
	netlab.Require(t)
	version, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{}}})
	for _, c := range calibrationCases() {
		for _, control := range []string{"cubic", "bbr"} {
			t.Run(c.name+"/"+control, func(t *testing.T) {
				m := measureUndisturbed(t, lab, Config{
					Profile:  c.profile(),
					Tunnel:   simnet.Direct(),
					Control:  control,
					Duration: c.duration,
					Warmup:   warmup,
					Seed:     *measureSeed,
				})
				m.Kernel = strings.TrimSpace(string(version))
				appendMeasurement(t, m)
			})
		}
	}
}

func measureUndisturbed(t *testing.T, lab *netlab.Lab, c Config) measurement {
	for range 4 {
		r := Measure(t, lab, c)
		if r.Stalled.Seconds() > disturbed*c.Duration.Seconds() {
			t.Logf("discarded, because the machine was busy: %.2f Mbit/s, %v late", r.Goodput/1e6, r.Stalled)
			continue
		}
		return measurement{
			Date:    time.Now().UTC().Format(time.DateOnly),
			Case:    c.Profile.Name,
			Control: c.Control,
			Seed:    c.Seed,
			Mbps:    float64(int(r.Goodput/1e4)) / 100,
			Retrans: r.Retransmits,
			Late:    float64(r.Late.Microseconds()),
			Stalled: float64(r.Stalled.Milliseconds()),
		}
	}
	t.Fatal("the machine is too busy to measure anything")
	return measurement{}
}

func appendMeasurement(t *testing.T, m measurement) {
	line, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(*measureTo, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(append(line, '\n'))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
