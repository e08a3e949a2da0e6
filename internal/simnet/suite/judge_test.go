package suite

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
	"github.com/multilink-vpn/multilink/internal/simnet"
	"github.com/multilink-vpn/multilink/internal/tcpmodel"
	"github.com/multilink-vpn/multilink/link/linksim"
)

const ms = time.Millisecond

func parse(t *testing.T, s string) profile.Profile {
	t.Helper()
	p, err := profile.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSimulated(t *testing.T) {
	p := parse(t, "x: 30/10, 12 ±8, 1 % up, q300, mtu 1400, out 2s for 1s + 8, 20")
	sim := Simulated(p, 10*time.Second, 1)
	want := simnet.Line{
		Down: linksim.Profile{Rate: 30e6 / 8, Delay: 12 * ms, Jitter: 8 * ms, Queue: 300 * ms, MTU: 1372},
		Up:   linksim.Profile{Rate: 10e6 / 8, Delay: 12 * ms, Jitter: 8 * ms, Queue: 300 * ms, MTU: 1372, Loss: 0.01},
	}
	if sim.Lines[0] != want || len(sim.Lines) != 2 {
		t.Errorf("lines %+v, want %+v first", sim.Lines, want)
	}
	if len(sim.Changes) != 2 || sim.Changes[0].At != 2*time.Second || sim.Changes[1].At != 3*time.Second {
		t.Fatalf("changes %+v, want the two ends of the outage", sim.Changes)
	}
	down, up := want.Down, want.Up
	sim.Changes[0].Apply(&down, &up)
	if !down.Down || !up.Down || down.Jitter != 8*ms {
		t.Errorf("in the outage: %+v, %+v", down, up)
	}
	sim.Changes[1].Apply(&down, &up)
	if down != want.Down || up != want.Up {
		t.Errorf("after the outage: %+v, %+v", down, up)
	}
	if alone := only(sim, 1); len(alone.Lines) != 1 || alone.Lines[0] != sim.Lines[1] || len(alone.Changes) != 0 {
		t.Errorf("the second line alone is %+v", alone)
	}
}

func TestBound(t *testing.T) {
	for _, test := range []struct {
		lines string
		want  float64
	}{
		{"50, 10 + 12, 10", 1},
		{"50, 10, 2 % + 50, 10", 0.99},
		// The first second of what comes back is not known for 70 ms.
		{"10, 10, out 1s for 1s", 9 * 0.993 / 9},
	} {
		got := Bound(parse(t, test.lines), profile.Down, 1, 0, 10*time.Second)
		if math.Abs(got-test.want) > 0.003 {
			t.Errorf("%s: bound %.4f, want %.4f", test.lines, got, test.want)
		}
	}
}

// TestJudge lets the trivial tunnel run where it is good and where it is not.
func TestJudge(t *testing.T) {
	for _, test := range []struct {
		lines   string
		control tcpmodel.Algorithm
		want    []Kind
	}{
		{"x: 2 × 50, 10", tcpmodel.BBR, nil},
		{"x: 2 × 50, 10", tcpmodel.Cubic, []Kind{Median, P99}},
		{"x: 50, 10 + 12, 10", tcpmodel.BBR, []Kind{Best, Share, P99}},
		{"x: 50, 10, out 7s for 2s + 50, 10", tcpmodel.Cubic, []Kind{Median, P99, Gap}},
	} {
		c := Case{Profile: parse(t, test.lines), Control: test.control}
		row, err := Measure(c, simnet.RoundRobin(), Options{Duration: 10 * time.Second, Warmup: 3 * time.Second, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		var got []Kind
		for _, p := range row.Problems() {
			got = append(got, p.Kind)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s, %v: misses %v, want %v\n%s\n%v", test.lines, test.control, got, test.want, Table, row)
		}
	}
}

func TestReturnTime(t *testing.T) {
	p := parse(t, "50, 10, out 2s for 1s + 50, 10")
	o := Options{Duration: 6 * time.Second, Warmup: time.Second}
	bins := make([]uint64, 60)
	for i := range bins {
		bins[i] = 100
		if i >= 20 && i < 42 { // nine tenths of the mean are back 1.1 s after the outage
			bins[i] = 50
		}
	}
	if got := returnTime(p, bins, o); got != 1100*ms {
		t.Errorf("back after %v, want 1.1 s", got)
	}
	if got := returnTime(parse(t, "50, 10"), bins, o); got != 0 {
		t.Errorf("%v without an outage, want 0", got)
	}
	clear(bins[20:])
	if got := returnTime(p, bins, o); got != 3*time.Second {
		t.Errorf("%v if it never comes back, want the rest of the run", got)
	}
}

func TestShared(t *testing.T) {
	c := Case{Profile: parse(t, "x: 2 × 15, 20"), Control: tcpmodel.BBR, Shared: true}
	row, err := Measure(c, simnet.RoundRobin(), Options{Duration: 6 * time.Second, Warmup: 2 * time.Second, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if row.Goodput > 15e6 || row.Share < 0.9 || row.Share > 1.03 {
		t.Errorf("%v\nwant nearly all of one line of 15", row)
	}
}
