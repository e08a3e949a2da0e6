package mlvpn

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/internal/simnet"
	"github.com/multilink-vpn/multilink/internal/tcpmodel"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link/linksim"
)

// A toll is what reports cost, and what they are about.
type toll struct {
	data, alone     int     // datagrams: all that are reported on, and those of nothing but a report
	bytes, feedback float64 // of the direction reported on, and of reports
	back, backCanDo float64 // bytes of the direction that carries the reports: carried, and possible
	reports         int
}

// tollOf runs a flow down and counts what is reported up.
func tollOf(t *testing.T, lines string, control tcpmodel.Algorithm) (c toll) {
	const warmup, duration = 4 * time.Second, 14 * time.Second
	m := multilink(t)
	m.heard = func(side int, now time.Duration, _, size int, in *inbound) {
		const header = linksim.OverheadUDP4
		switch {
		case now < warmup:
		case side == simnet.Client:
			c.data++
			c.bytes += float64(size + header)
		default:
			c.back += float64(size + header)
			if in.has&hasFeedback == 0 {
				return
			}
			c.reports++
			if len(in.packets) > 0 || in.has != hasFeedback {
				c.feedback += float64(len(in.feedback) + wire.FrameOverhead)
				return
			}
			c.alone++
			c.feedback += float64(size + header)
		}
	}
	p := simLines(t, lines)
	simulate(t, simnet.Config{
		Profile:   p,
		Tunnel:    m.tunnel(),
		Flows:     []simnet.Flow{{Direction: simnet.Down, Control: control}},
		PingEvery: -1,
		Duration:  duration,
		Warmup:    warmup,
		Seed:      1,
	})
	for _, l := range p.Lines {
		c.backCanDo += float64(l.Up.Rate) * (duration - warmup).Seconds()
	}
	return c
}

// TestLaneFeedbackCost counts what the reports of a download cost: at most 1 % of its
// bytes, as many datagrams of their own as 2 % of its own, and 5 % of what the uplinks
// can carry.
func TestLaneFeedbackCost(t *testing.T) {
	for _, lines := range []string{
		"equal: 2 × 50, 10",
		"lossy: 2 × 50, 10, 2 %",
		"adsl2: 2 × 20/1, 15",
		"thin: 8/0.5, 20 + 8/0.5, 40",
	} {
		for _, control := range []tcpmodel.Algorithm{tcpmodel.Cubic, tcpmodel.BBR} {
			synctest.Test(t, func(t *testing.T) {
				c := tollOf(t, lines, control)
				packets := 100 * float64(c.alone) / float64(c.data)
				bytes := 100 * c.feedback / c.bytes
				uplink := 100 * c.feedback / c.backCanDo
				t.Logf("%s, %v: reports %d, alone %.2f %% of packets; %.2f %% of bytes; uplink: %.2f %% of its capacity, %.1f %% of its traffic",
					lines, control, c.reports, packets, bytes, uplink, 100*c.feedback/c.back)
				if c.reports == 0 || c.bytes == 0 {
					t.Errorf("%s, %v: %d reports on %.0f bytes", lines, control, c.reports, c.bytes)
				}
				if packets > 2 || bytes > 1 || uplink > 5 {
					t.Errorf("%s, %v: reports cost %.2f %% of the packets, %.2f %% of the bytes, %.2f %% of the uplink; want at most 2, 1 and 5",
						lines, control, packets, bytes, uplink)
				}
			})
		}
	}
}
