package report

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestQuantile(t *testing.T) {
	values := make([]float64, 100)
	for i := range values {
		values[i] = float64(i + 1)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := Quantile(values, q); got != want {
			t.Errorf("quantile %v of 1 to 100 is %v, want %v", q, got, want)
		}
	}
	if got := Quantile([]float64{7}, 0.99); got != 7 {
		t.Errorf("of one value: %v", got)
	}
	if got := Quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
}

func TestLatency(t *testing.T) {
	l := NewLatency(5, []time.Duration{30 * ms, 10 * ms, 20 * ms, 40 * ms})
	want := Latency{Sent: 5, Received: 4, Min: 10, Median: 20, P99: 40, Max: 40, Mean: 25, Error: 6.455}
	if l != want {
		t.Errorf("got %+v, want %+v", l, want)
	}
	if l := NewLatency(3, nil); l != (Latency{Sent: 3}) {
		t.Errorf("of nothing: %+v", l)
	}
}

// steady is a flow of 8 Mbit/s in samples of 5 ms, of which what arrives in a hole
// comes at its end.
func steady(until time.Duration, holes ...[2]time.Duration) (p Progress) {
	var last uint64
	for t := time.Duration(0); t <= until; t += 5 * ms {
		n := uint64(t / time.Microsecond) // 1 byte per µs
		for _, h := range holes {
			if t > h[0] && t < h[1] {
				n = last
			}
		}
		last = n
		p = append(p, Sample{At: t, Bytes: n})
	}
	return p
}

func TestProgressRate(t *testing.T) {
	p := steady(10*time.Second, [2]time.Duration{1900 * ms, 2200 * ms}, [2]time.Duration{4 * time.Second, 4100 * ms})
	if got := p.Rate(3*time.Second, 3500*ms); !(math.Abs(got-8) < 0.01) {
		t.Errorf("rate %v, want 8", got)
	}
	// Between two samples, the bytes are in proportion.
	if got := p.Rate(3001*ms, 3004*ms); !(math.Abs(got-8) < 0.01) {
		t.Errorf("rate between samples %v, want 8", got)
	}
	// The hole at 2 s makes the rate from there too high, unless it is avoided.
	if got := p.Rate(2*time.Second, 4*time.Second); got < 8.3 {
		t.Errorf("rate from within a hole %v, want more than 8.3", got)
	}
	if got := p.Undisturbed(2*time.Second, 4*time.Second); !(math.Abs(got-8) < 0.01) {
		t.Errorf("rate without holes at the edges %v, want 8", got)
	}
	s := p.Series(time.Second)
	if len(s) != 10 || slices.Min(s) < 7.99 || slices.Max(s) > 8.01 {
		t.Errorf("series %v", s)
	}
	if got := (Progress)(nil).Rate(0, time.Second); got != 0 {
		t.Errorf("rate of nothing %v", got)
	}
}

func TestLongestGap(t *testing.T) {
	const s = time.Second
	p := steady(10*s, [2]time.Duration{2 * s, 2300 * ms}, [2]time.Duration{5 * s, 5150 * ms})
	for _, c := range []struct{ from, to, want time.Duration }{
		{0, 10 * s, 300 * ms},
		{0, 1 * s, 5 * ms},
		{3 * s, 10 * s, 150 * ms},
		{2100 * ms, 3 * s, 200 * ms}, // what lies before does not count
		{s, 2200 * ms, 200 * ms},     // nor what comes after
		{9 * s, 12 * s, 2 * s},       // a flow that ended
	} {
		if got := p.LongestGap(c.from, c.to); got != c.want {
			t.Errorf("from %v to %v: %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

func TestReturn(t *testing.T) {
	var p Progress
	var n float64
	for at := time.Duration(0); at <= 10*time.Second; at += 5 * ms {
		p = append(p, Sample{At: at, Bytes: uint64(n)})
		rate := 1000.0 // bytes per ms
		if at >= 3*time.Second && at < 6700*ms {
			rate = 500
		}
		n += 5 * rate
	}
	// Restored at 6 s; of the second from 6.6 s on, 95 % are at the full rate.
	if got, ok := p.Return(time.Second, 3*time.Second, 6*time.Second); !ok || got != 500*ms {
		t.Errorf("back after %v, %v; want 500ms", got, ok)
	}
	if got, ok := p[:1300].Return(time.Second, 3*time.Second, 5*time.Second); ok {
		t.Errorf("back after %v, although it never was", got)
	}
}

func testRuns() []Run {
	base := Run{Profile: "two", Lines: "50, 10 + 12, 10", Want: 0.9, Direction: "down", Congestion: "cubic", Sum: 62}
	run := func(edit func(*Run)) Run {
		r := base
		edit(&r)
		return r
	}
	return []Run{
		run(func(r *Run) { r.Kind, r.Line, r.Goodput = Raw, 1, 47 }),
		run(func(r *Run) { r.Kind, r.Line, r.Goodput = Alone, 1, 45 }),
		run(func(r *Run) { r.Kind, r.Line, r.Goodput = Alone, 2, 10.8 }),
		run(func(r *Run) {
			r.Kind, r.Goodput, r.Gap = Tunnel, 40, 20
			r.Idle = Latency{Sent: 100, Received: 100, Median: 20, P99: 21}
			r.Loaded = Latency{Sent: 500, Received: 495, Median: 90, P99: 120}
		}),
		run(func(r *Run) { r.Kind, r.Goodput, r.Discarded = Tunnel, 1, "busy" }),
		run(func(r *Run) { r.Kind, r.Failed = MPTCP, "no route\nand a long log" }),
		run(func(r *Run) { r.Kind, r.Goodput = MPTCP, 57 }),
		run(func(r *Run) { r.Kind, r.Line, r.Gap, r.Return = Blackhole, 1, 2500, -1 }),
		run(func(r *Run) { r.Kind, r.Direction, r.Goodput = Alone, "up", 10 }),
	}
}

func TestRows(t *testing.T) {
	rows := Rows(testRuns())
	if len(rows) != 2 {
		t.Fatalf("%d rows, want 2", len(rows))
	}
	r := rows[0]
	if r.Goodput != 40 || r.Alone != 45 || r.MPTCP != 57 || r.CutGap != 2500 || !math.IsInf(r.Return, 1) || r.Discarded != 1 || r.Failed != 1 || r.Runs != 7 {
		t.Errorf("%+v", r)
	}
	if want := 40 / (62 * 1388.0 / 1538); math.Abs(r.Share()-want) > 1e-9 {
		t.Errorf("share %v, want %v", r.Share(), want)
	}
	if up := rows[1]; !math.IsNaN(up.Goodput) || !math.IsNaN(up.MPTCP) || len(up.Shortfalls(1)) != 0 {
		t.Errorf("what was not measured: %+v, short %v", up, up.Shortfalls(1))
	}
}

// TestCutAlone judges the gap of a cut without a run of the whole tunnel.
func TestCutAlone(t *testing.T) {
	runs := []Run{{Profile: "p", Kind: Blackhole, Gap: 201, Return: 10, Idle: Latency{Sent: 9, Received: 9, Median: 20}}}
	if got := Rows(runs)[0].Shortfalls(9); len(got) != 1 || !strings.HasPrefix(got[0], "gap of 201 ms") {
		t.Errorf("falls short in %q, want the gap", got)
	}
	runs[0].Idle.Median = 70
	if got := Rows(runs)[0].Shortfalls(9); len(got) != 0 {
		t.Errorf("falls short in %q, want nothing: 210 ms are three round trips", got)
	}
}

// TestNoPing has no reply under load, which must not look like a short one.
func TestNoPing(t *testing.T) {
	rows := Rows([]Run{{Profile: "p", Kind: Tunnel, Idle: Latency{Sent: 9, Received: 9, Median: 20}, Loaded: Latency{Sent: 9}}})
	if got := rows[0].Loaded.cell(); got != "all lost" {
		t.Errorf("ping under load %q, want all lost", got)
	}
	if got := rows[0].Shortfalls(9); len(got) != 1 || got[0] != "no ping passes under load" {
		t.Errorf("falls short in %q", got)
	}
}

// TestRowsMedian has three repetitions.
func TestRowsMedian(t *testing.T) {
	var runs []Run
	for _, g := range []float64{30, 50, 49} {
		runs = append(runs, Run{Profile: "p", Kind: Tunnel, Goodput: g, Sum: 60})
	}
	if got := Rows(runs)[0].Goodput; got != 49 {
		t.Errorf("goodput %v, want the median, 49", got)
	}
}

func TestWriteTable(t *testing.T) {
	var b strings.Builder
	if err := WriteTable(&b, Rows(testRuns()), func(Row) float64 { return 12 }); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, want := range []string{
		"| two | down | cubic | 62.0 | 40.0 | 0.71 (0.90) | 0.89 | 57.0 | 20 / 21 | 90 / 120, 1.0 % lost | 20 | 2500 | never |\n",
		"| two | up | cubic | – | – | – (0.90) | – | – | – | – | – | – | – |\n",
		"- two down cubic: share 0.71, want 0.90; 0.89 × the best line, want 0.95; ping under load 90 ms (median), want 52; " +
			"ping under load 120 ms (p99), want 73; gap of 2500 ms when a line is cut, want 200; full use never after a line's return, want 2000.\n",
		"- two down cubic: of 7 runs 1 discarded, 1 failed. tunnel: busy; mptcp: no route\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the table lacks %q:\n%s", want, got)
		}
	}
	columns := 0
	for line := range strings.Lines(got) {
		if n := strings.Count(line, "|"); strings.HasPrefix(line, "|") {
			if columns != 0 && n != columns {
				t.Errorf("%d columns instead of %d: %s", n, columns, line)
			}
			columns = n
		}
	}
}
