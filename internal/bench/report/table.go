package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// perfect is the share of a line's rate that TCP gets in a perfect datagram tunnel: of
// 1538 bytes on the line, IP and UDP and 32 bytes of the tunnel leave 1440, of which
// TCP/IP with timestamps takes 52.
const perfect = 1388.0 / 1538

// What a tunnel must reach besides the share.
const (
	wantOfBest    = 0.95 // of the best single line
	slackMedian   = 30.0 // ms of ping under load above idle
	slackP99      = 50.0
	fullPacket    = 1538 * 8 / 1e3 // kbit on the line
	wantReturn    = 2000.0         // ms
	wantGap       = 200.0          // ms, or three round trips
	gapRoundTrips = 3
)

// Row is a line of the table: all runs of a profile with one congestion control in one
// direction, as medians over the repetitions. What was not measured is NaN.
type Row struct {
	Profile, Lines        string
	Direction, Congestion string

	Sum     float64 // Mbit/s on the wire
	Goodput float64
	Want    float64 // share, zero for none
	Alone   float64 // the best line's, through the tunnel
	MPTCP   float64
	Idle    Latency
	Loaded  Latency
	Gap     float64
	CutGap  float64
	Return  float64 // infinite if the flow did not come back

	Runs, Discarded, Failed int
	Reasons                 []string
}

// Share returns the goodput as a share of what a perfect datagram tunnel would have.
func (r Run) Share() float64 { return r.Goodput / (r.Sum * perfect) }

// Share is that of a run.
func (r Row) Share() float64 { return r.Goodput / (r.Sum * perfect) }

// OfBest returns the goodput as a multiple of the best single line's.
func (r Row) OfBest() float64 { return r.Goodput / r.Alone }

// key is what the runs of a row have in common.
type key struct{ profile, lines, direction, congestion string }

// Rows groups runs, in the order of their first.
func Rows(runs []Run) []Row {
	groups := make(map[key][]Run)
	var order []key
	for _, r := range runs {
		if r.Kind == Raw {
			continue
		}
		k := key{r.Profile, r.Lines, r.Direction, r.Congestion}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], r)
	}
	var rows []Row
	for _, k := range order {
		rows = append(rows, newRow(k, groups[k]))
	}
	return rows
}

func newRow(k key, runs []Run) Row {
	row := Row{Profile: k.profile, Lines: k.lines, Direction: k.direction, Congestion: k.congestion, Runs: len(runs)}
	alone := make(map[int][]float64)
	good := make(map[string][]Run)
	for _, r := range runs {
		if !r.Counts() {
			if r.Discarded != "" {
				row.Discarded++
			} else {
				row.Failed++
			}
			first, _, _ := strings.Cut(cmp.Or(r.Failed, r.Discarded), "\n")
			reason := fmt.Sprintf("%s: %s", r.Kind, first)
			if !slices.Contains(row.Reasons, reason) {
				row.Reasons = append(row.Reasons, reason)
			}
			continue
		}
		if r.Kind == Alone {
			alone[r.Line] = append(alone[r.Line], r.Goodput)
		}
		good[r.Kind] = append(good[r.Kind], r)
	}
	row.Want = runs[0].Want
	tunnel := good[Tunnel]
	row.Sum = of(slices.Concat(tunnel, good[MPTCP]), func(r Run) float64 { return r.Sum })
	row.Goodput = of(tunnel, func(r Run) float64 { return r.Goodput })
	row.Gap = of(tunnel, func(r Run) float64 { return r.Gap })
	row.Idle = latencyOf(slices.Concat(tunnel, good[Blackhole]), func(r Run) Latency { return r.Idle })
	row.Loaded = latencyOf(tunnel, func(r Run) Latency { return r.Loaded })
	row.MPTCP = of(good[MPTCP], func(r Run) float64 { return r.Goodput })
	row.CutGap = of(good[Blackhole], func(r Run) float64 { return r.Gap })
	row.Return = of(good[Blackhole], func(r Run) float64 {
		if r.Return < 0 {
			return math.Inf(1)
		}
		return r.Return
	})
	row.Alone = math.NaN()
	for _, g := range alone {
		if m := median(g); !(m <= row.Alone) {
			row.Alone = m
		}
	}
	return row
}

func of(runs []Run, value func(Run) float64) float64 {
	var values []float64
	for _, r := range runs {
		values = append(values, value(r))
	}
	return median(values)
}

// latencyOf counts the pings of all runs, and takes the times of those that have some.
func latencyOf(runs []Run, get func(Run) Latency) Latency {
	var l Latency
	for _, r := range runs {
		l.Sent += get(r).Sent
		l.Received += get(r).Received
	}
	runs = slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return get(r).Received == 0 })
	l.Median = of(runs, func(r Run) float64 { return get(r).Median })
	l.P99 = of(runs, func(r Run) float64 { return get(r).P99 })
	return l
}

// Shortfalls says in which points the row misses what a tunnel must reach. slowest is
// the rate of the slowest line in the row's direction, in Mbit/s.
func (r Row) Shortfalls(slowest float64) (short []string) {
	add := func(format string, args ...any) { short = append(short, fmt.Sprintf(format, args...)) }
	if s := r.Share(); s < r.Want {
		add("share %.2f, want %.2f", s, r.Want)
	}
	if b := r.OfBest(); b < wantOfBest {
		add("%.2f × the best line, want %.2f", b, wantOfBest)
	}
	serialize := 2 * fullPacket / slowest
	if r.Loaded.Sent > 0 && r.Loaded.Received == 0 {
		add("no ping passes under load")
	}
	if m := r.Idle.Median + slackMedian + serialize; r.Loaded.Median > m {
		add("ping under load %.0f ms (median), want %.0f", r.Loaded.Median, m)
	}
	if p := r.Idle.P99 + slackP99 + serialize; r.Loaded.P99 > p {
		add("ping under load %.0f ms (p99), want %.0f", r.Loaded.P99, p)
	}
	if g := max(gapRoundTrips*r.Idle.Median, wantGap); r.CutGap > g {
		add("gap of %.0f ms when a line is cut, want %.0f", r.CutGap, g)
	}
	if r.Return > wantReturn {
		add("full use %s after a line's return, want %.0f", figure("%.0f ms", r.Return), wantReturn)
	}
	return short
}

// figure is a dash for what was not measured.
func figure(format string, x float64) string {
	switch {
	case math.IsNaN(x):
		return "–"
	case math.IsInf(x, 0):
		return "never"
	}
	return fmt.Sprintf(format, x)
}

// WriteTable writes the rows as a Markdown table, and below it where they fall short and
// what does not count. slowest gives the argument of Row.Shortfalls.
func WriteTable(w io.Writer, rows []Row, slowest func(Row) float64) error {
	var b strings.Builder
	b.WriteString("| profile | | | sum | goodput | share | × best line | MPTCP | ping idle | ping under load | gap | gap, line cut | full use after |\n")
	b.WriteString("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range rows {
		share := figure("%.2f", r.Share())
		if r.Want > 0 {
			share += fmt.Sprintf(" (%.2f)", r.Want)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n",
			r.Profile, r.Direction, r.Congestion, figure("%.1f", r.Sum), figure("%.1f", r.Goodput), share,
			figure("%.2f", r.OfBest()), figure("%.1f", r.MPTCP), r.Idle.cell(), r.Loaded.cell(),
			figure("%.0f", r.Gap), figure("%.0f", r.CutGap), figure("%.0f", r.Return))
	}
	var notes []string
	for _, r := range rows {
		name := fmt.Sprintf("%s %s %s", r.Profile, r.Direction, r.Congestion)
		if short := r.Shortfalls(slowest(r)); len(short) > 0 {
			notes = append(notes, fmt.Sprintf("- %s: %s.", name, strings.Join(short, "; ")))
		}
		if r.Discarded+r.Failed > 0 {
			notes = append(notes, fmt.Sprintf("- %s: of %d runs %d discarded, %d failed. %s", name, r.Runs, r.Discarded, r.Failed, strings.Join(r.Reasons, "; ")))
		}
	}
	if len(notes) > 0 {
		fmt.Fprintf(&b, "\nFalls short, or does not count:\n\n%s\n", strings.Join(notes, "\n"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell shows median / p99, and the loss if there is any.
func (l Latency) cell() string {
	switch {
	case l.Sent == 0:
		return "–"
	case l.Received == 0:
		return "all lost"
	}
	s := fmt.Sprintf("%.0f / %.0f", l.Median, l.P99)
	if lost := l.Sent - l.Received; lost > 0 {
		s += fmt.Sprintf(", %.1f %% lost", 100*float64(lost)/float64(l.Sent))
	}
	return s
}
