package mlvpn

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/internal/simnet"
	"github.com/multilink-vpn/multilink/internal/tcpmodel"
	"github.com/multilink-vpn/multilink/link/linksim"
)

// silent makes a line swallow everything for a while, without a word.
func silent(p *simnet.Profile, line int, from, to time.Duration) {
	set := func(down bool) func(d, u *linksim.Profile) {
		return func(d, u *linksim.Profile) { d.Down, u.Down = down, down }
	}
	p.Changes = append(p.Changes,
		simnet.Change{At: from, Line: line, Apply: set(true)},
		simnet.Change{At: to, Line: line, Apply: set(false)})
}

// TestLaneFailover cuts a line in the middle of a download, without either end being
// told: the flow stands still for no longer than three round trips, or 200 ms, and the
// line is used again within 2 s of its return.
func TestLaneFailover(t *testing.T) {
	const (
		from, to = 6 * time.Second, 10 * time.Second
		duration = 13 * time.Second
	)
	for _, x := range []struct {
		lines string
		cut   int
		limit time.Duration // of the gap

		// missed are the congestion controls whose gap is known to be longer.
		missed string
	}{
		{"equal: 2 × 50, 10", 0, 200 * time.Millisecond, ""},
		{"rtt: 50, 10 + 50, 60", 0, 360 * time.Millisecond, "cubic, bbr"}, // 449 and 505 ms
		{"rtt: 50, 10 + 50, 60", 1, 360 * time.Millisecond, ""},
	} {
		for _, control := range []tcpmodel.Algorithm{tcpmodel.Cubic, tcpmodel.BBR} {
			synctest.Test(t, func(t *testing.T) {
				p := simLines(t, x.lines)
				silent(&p, x.cut, from, to)
				m := multilink(t)
				again := time.Duration(0)
				m.heard = func(side int, now time.Duration, line, _ int, in *inbound) {
					if side == simnet.Client && line == x.cut && now > to && again == 0 && len(in.packets) > 0 {
						again = now - to
					}
				}
				r := simulate(t, simnet.Config{
					Profile:  p,
					Tunnel:   m.tunnel(),
					Flows:    []simnet.Flow{{Direction: simnet.Down, Control: control, Start: time.Second}},
					Warmup:   from - 500*time.Millisecond,
					Duration: duration,
					Seed:     1,
				})
				f := r.Flows[0]
				doubted := time.Duration(0)
				for _, ev := range m.ends[simnet.Server].events() {
					at := ev.Time.Sub(m.ends[simnet.Server].e.born) - from
					if (ev.Kind == LinkDegraded || ev.Kind == LinkDown) && at > 0 && doubted == 0 {
						doubted = at
					}
				}
				t.Logf("%s, %v, line %d cut: doubted after %v, gap %v at %v, used again after %v, goodput %.1f",
					x.lines, control, x.cut, doubted.Round(time.Millisecond), f.Gap.Round(time.Millisecond), f.GapAt.Round(time.Millisecond), again.Round(time.Millisecond), r.Down/1e6)
				if doubted == 0 || doubted > x.limit {
					t.Errorf("%s, %v, line %d: doubted %v after the cut, want at most %v", x.lines, control, x.cut, doubted, x.limit)
				}
				if late, known := f.Gap > x.limit, strings.Contains(x.missed, control.String()); late != known {
					t.Errorf("%s, %v, line %d: nothing came for %v from %v on, want at most %v; known to be more: %v", x.lines, control, x.cut, f.Gap, f.GapAt, x.limit, known)
				}
				if again == 0 || again > 2*time.Second {
					t.Errorf("%s, %v, line %d: used again %v after its return, want at most 2 s", x.lines, control, x.cut, again)
				}
			})
		}
	}
}

// TestLaneNoFalseDoubt leaves a tunnel over jittery and lossy lines idle, and gives it
// calls: neither end may take a line for suspect that works.
func TestLaneNoFalseDoubt(t *testing.T) {
	call := func(d simnet.Direction, every time.Duration) simnet.Flow {
		const size = 200
		return simnet.Flow{Kind: simnet.UDP, Direction: d, Size: size, Rate: int(size * time.Second / every), Start: time.Second}
	}
	const voice, thin = 20 * time.Millisecond, 700 * time.Millisecond
	for _, lines := range []string{
		"jittery: 40, 17 ±8 + 100, 25 ±25, 1 %",
		"congested: 20, 25 ±20, 2 % + 15, 30 ±25, 2 %",
		"apart: 20, 20 ±10, 1 % + 20, 320 ±20, 1 %",
	} {
		for _, traffic := range []struct {
			name  string
			flows []simnet.Flow
		}{
			{"idle", nil},
			{"a call", []simnet.Flow{call(simnet.Down, voice), call(simnet.Up, voice)}},
			{"one way", []simnet.Flow{call(simnet.Down, voice)}},
			{"thin", []simnet.Flow{call(simnet.Down, thin), call(simnet.Up, thin)}},
		} {
			synctest.Test(t, func(t *testing.T) {
				m := multilink(t)
				r := simulate(t, simnet.Config{
					Profile:   simLines(t, lines),
					Tunnel:    m.tunnel(),
					Flows:     traffic.flows,
					PingEvery: -1,
					Duration:  60 * time.Second,
					Seed:      1,
				})
				for i, f := range r.Flows {
					t.Logf("call %s, %s, flow %d: delay %v/%v, lost %d, gap %v", lines, traffic.name, i, f.Delay.Median, f.Delay.P99, f.Delay.Lost, f.Gap)
				}
				for _, end := range m.ends {
					for _, ev := range end.events() {
						if ev.Kind != LinkUp && ev.Kind != SessionUp {
							t.Errorf("%s, %s: side %d: link %s: %v: %s at %v", lines, traffic.name, end.side, ev.Link, ev.Kind, ev.Reason, ev.Time.Sub(end.e.born))
						}
					}
				}
			})
		}
	}
}
