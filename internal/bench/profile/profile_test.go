package profile

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	const ms = time.Millisecond
	both := func(x float64) [2]float64 { return [2]float64{x, x} }
	for _, c := range []struct {
		in   string
		want []Line
	}{
		{"50, 10", []Line{{Rate: both(50e6), Delay: 10 * ms}}},
		{"2 × 20/1, 15", []Line{{Rate: [2]float64{20e6, 1e6}, Delay: 15 * ms}, {Rate: [2]float64{20e6, 1e6}, Delay: 15 * ms}}},
		{"2x8/0.8,18,q300", []Line{
			{Rate: [2]float64{8e6, 0.8e6}, Delay: 18 * ms, Queue: 300 * ms}, {Rate: [2]float64{8e6, 0.8e6}, Delay: 18 * ms, Queue: 300 * ms},
		}},
		{"100, 4 + 30, 20 ±8, 0.5 %", []Line{{Rate: both(100e6), Delay: 4 * ms}, {Rate: both(30e6), Delay: 20 * ms, Jitter: 8 * ms, Loss: both(0.005)}}},
		{"30, 20~8, 2% up, 1% down", []Line{{Rate: both(30e6), Delay: 20 * ms, Jitter: 8 * ms, Loss: [2]float64{Down: 0.01, Up: 0.02}}}},
		{"9, 1, mtu 1400, walk 3-25 every 1s, delay 60–200 every 500ms", []Line{{
			Rate: both(9e6), Delay: ms, MTU: 1400,
			RateWalk: Walk{3e6, 25e6, time.Second}, DelayWalk: Walk{0.06, 0.2, 500 * ms},
		}}},
		{"9, 1, at 8s 1 q2000, at 1m 9/3", []Line{{
			Rate: both(9e6), Delay: ms,
			Changes: []Change{{8 * time.Second, both(1e6), 2 * time.Second}, {time.Minute, [2]float64{9e6, 3e6}, 0}},
		}}},
		{"9, 1, out 20s for 10s every 60s", []Line{{Rate: both(9e6), Delay: ms, Outage: Outage{20 * time.Second, 10 * time.Second, time.Minute}}}},
		{"9, 1, out 2s for 1s, stall 50-200 every 15s 30 %", []Line{{
			Rate: both(9e6), Delay: ms,
			Outage: Outage{At: 2 * time.Second, For: time.Second}, Stall: Stall{50 * ms, 200 * ms, 15 * time.Second, 0.3},
		}}},
	} {
		p, err := Parse(c.in)
		if err != nil || !reflect.DeepEqual(p.Lines, c.want) {
			t.Errorf("%q:\n got %+v, %v\nwant %+v", c.in, p.Lines, err, c.want)
		}
	}
	if p, err := Parse("home: 50, 10"); err != nil || p.Name != "home" {
		t.Errorf("name %q, %v", p.Name, err)
	}
}

func TestParseMistakes(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "rate and a delay"},
		{"50", "rate and a delay"},
		{"50, 10 + ", "rate and a delay"},
		{"fast, 10", `"fast"`},
		{"50, 10, maybe", `"maybe"`},
		{"50, -1", `"-1"`},
		{"0, 10", "zero"},
		{"50/0, 10", "zero"},
		{"50, 10, 101 %", "100 %"},
		{"0 x 50, 10", "0 lines"},
		{"200 x 50, 10 + 51 x 50, 10", "more than 250"},
		{"50, 10, walk 9-3 every 1s", "lower bound"},
		{"50, 10, walk 3-9 every soon", "soon"},
		{"50, 10, walk 3-9 every 1h1h1", "missing unit"},
		{"50, 10, at 9s 1, at 8s 1", "order"},
		{"50, 10, out 1s for 9s every 9s", "never ends"},
		{"50, 10, stall 90-20 every 1s", "lower bound"},
		{"50, 99999999", "too large"},
		{"a b: 50, 10", "one word"},
	} {
		if _, err := Parse(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want it to mention %q", c.in, err, c.want)
		}
	}
}

// TestTable reads each profile from what it writes.
func TestTable(t *testing.T) {
	table, err := Table()
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	groups := make(map[string]int)
	for _, p := range table {
		if names[p.Name] || strings.ContainsAny(p.Name, ", ") {
			t.Errorf("profile %q: not a name of its own", p.Name)
		}
		names[p.Name] = true
		groups[p.Group]++
		again, err := Parse(p.Name + ": " + p.String())
		again.Group, again.Want = p.Group, p.Want
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("profile %s: %q reads as %+v, %v", p.Name, p, again, err)
		}
	}
	if groups[GroupDesign] != 9 || groups[GroupMqvpn] != 16 || groups[GroupUsers] < 15 {
		t.Errorf("profiles by group: %v", groups)
	}
}

func FuzzParse(f *testing.F) {
	for _, r := range rows() {
		f.Add(r.lines)
	}
	f.Add("a: 3 × 1.5/0.25, 7.25 ~2, 0.125% up, out 1s for 2s, at 1h 1/2")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(p.Name + ": " + p.String())
		if err != nil || again.String() != p.String() {
			t.Errorf("%q writes as %q, which reads as %q, %v", s, p, again, err)
		}
		p.Steps(time.Second, 1)
	})
}

func TestSelect(t *testing.T) {
	got, err := Select([]string{"rtt", "design", "5, 1 + 6, 1"})
	if err != nil || len(got) != 11 || got[0].Name != "rtt" || got[10].Name != "custom" || got[0].Want.Of("bbr") != 0.85 || got[0].Want.Of("reno") != 0 {
		t.Errorf("%v, %v", got, err)
	}
	for _, arg := range []string{"nonsense", "5, x"} {
		if _, err := Select([]string{arg}); err == nil {
			t.Errorf("%q is a profile", arg)
		}
	}
}

func mustParse(t *testing.T, s string) Profile {
	t.Helper()
	p, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSteps(t *testing.T) {
	p := mustParse(t, "20/5, 10, 1 %, stall 50-200 every 4s 30 % + 30, 10, out 1s for 2s every 5s, at 4s 3 q2000")
	if !p.Varies() || mustParse(t, "2 × 50, 10").Varies() {
		t.Error("what varies is not told from what does not")
	}
	var stalled, out time.Duration // since when
	stalls, outs := 0, 0
	last := time.Duration(0)
	for _, s := range p.Steps(10*time.Second, 1) {
		if s.At < last || s.At >= 10*time.Second {
			t.Fatalf("step at %v after one at %v", s.At, last)
		}
		last = s.At
		switch st := s.State; s.Line {
		case 0:
			if st.Delay > 10*time.Millisecond {
				stalled = s.At
			} else if s.At == stalled+stallOnset {
				stalls++
				if st.Loss != [2]float64{0.3, 0.3} {
					t.Errorf("loss of %v in a stall", st.Loss)
				}
			} else if d := s.At - stalled; d < 50*time.Millisecond || d > 200*time.Millisecond || st.Loss != [2]float64{0.01, 0.01} {
				t.Errorf("stall of %v, loss of %v behind it", d, st.Loss)
			}
		case 1:
			if st.Blackhole {
				out = s.At
			} else if s.At == out+2*time.Second {
				outs++
			}
			if late := s.At >= 4*time.Second; late != (st.Rate == [2]float64{3e6, 3e6}) || late != (st.Queue == 2*time.Second) {
				t.Errorf("at %v: %+v", s.At, st)
			}
		}
	}
	if stalls != 2 || outs != 2 {
		t.Errorf("%d stalls and %d outages, want 2 of each", stalls, outs)
	}
}

func TestWalk(t *testing.T) {
	p := mustParse(t, "10/5, 100, walk 3-25 every 1s, delay 60-200 every 1s")
	steps := p.Steps(1000*time.Second, 3)
	if again := p.Steps(1000*time.Second, 3); !reflect.DeepEqual(steps, again) {
		t.Error("two walks with one seed differ")
	}
	if other := p.Steps(1000*time.Second, 4); reflect.DeepEqual(steps, other) {
		t.Error("two walks with two seeds are the same")
	}
	low, high := math.Inf(1), 0.0
	for _, s := range steps {
		r := s.State.Rate
		if r[Down] == 3e6 || r[Down] == 25e6 {
			t.Fatalf("the rate sticks to a bound: %+v", s)
		}
		if r[Up] != r[Down]/2 || s.State.Delay < 60*time.Millisecond || s.State.Delay > 200*time.Millisecond {
			t.Fatalf("%+v", s)
		}
		low, high = min(low, r[Down]), max(high, r[Down])
	}
	if low < 3e6 || low > 4e6 || high > 25e6 || high < 22e6 {
		t.Errorf("the rate walked from %.0f to %.0f", low, high)
	}
}

func TestCapacity(t *testing.T) {
	p := mustParse(t, "20/5, 10 + 30, 10, out 1s for 2s, at 4s 3")
	steps := p.Steps(time.Minute, 1)
	for _, c := range []struct {
		d        Direction
		from, to time.Duration
		want     float64
	}{
		{Down, 0, time.Second, 50e6},
		{Up, 0, time.Second, 35e6},
		{Down, time.Second, 3 * time.Second, 20e6},
		{Down, 2 * time.Second, 5 * time.Second, 20e6 + (30e6+3e6)/3},
		{Down, 10 * time.Second, 11 * time.Second, 23e6},
	} {
		if got := p.Capacity(c.d, steps, c.from, c.to); !(math.Abs(got-c.want) < 0.1) {
			t.Errorf("%v from %v to %v: %.0f bit/s, want %.0f", c.d, c.from, c.to, got, c.want)
		}
	}
	if got := p.Sum(Up); got != 35e6 {
		t.Errorf("sum %v", got)
	}
}
