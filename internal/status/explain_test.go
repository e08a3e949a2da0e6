package status

import (
	"bytes"
	"strings"
	"testing"
)

// bonded is a client with three links of which two share flows.
func bonded() *Document {
	return &Document{
		Mode: "client",
		Tunnels: []Tunnel{
			{Name: "fibre", Peer: "server", Status: LinkUp, SendRate: 6e6,
				Measured: &Measured{Capacity: 6_250_000, Found: true, Pace: 6_300_000, Queue: 0.002, Equal: true, Datagrams: 10000, Lost: 12, Spurious: 2}},
			{Name: "lte", Peer: "server", Status: LinkUp, SendRate: 3e6,
				Measured: &Measured{Capacity: 3_750_000, Found: true, Queue: 0.045, Delay: 0.0231, Equal: true, Datagrams: 5000, Lost: 250}},
			{Name: "sat", Peer: "server", Status: LinkUp, SendRate: 1e6,
				Measured: &Measured{Capacity: 1_250_000, Found: true, Delay: 0.3, Datagrams: 1000, Lost: 40, Spurious: 39}},
			{Name: "spare", Status: LinkDown},
		},
		Sessions: []Session{{
			Peer: "server", Up: true, Repaired: 250, Copied: 7, GaveUp: 16, Hold: 0.025,
			Limited: Limits{Pacing: 1, Application: 3600}, Lately: Limits{Pacing: 8, Reordering: 1.5, Application: 0.5},
			Delivered: 1990, Held: 200, HoldMedian: 0.008, HoldP99: 0.032, Late: 10, Missed: 14, Restored: 3,
		}},
	}
}

func explained(t *testing.T, d *Document) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteExplanations(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestExplanations(t *testing.T) {
	want := `server: sends 80.0 Mbit/s over 3 links, which are thought to carry 90.0 Mbit/s.
  80 % of the last seconds, packets waited because the links were full: another link, or a faster one, would help.
  15 % of the last seconds, packets waited for a quicker link though a slower one was free, by which they would have come later.
  fibre: sends 48.0 Mbit/s of 50.0 Mbit/s; a queue of 2ms; evened out with the slower ones.
  lte: sends 24.0 Mbit/s of 30.0 Mbit/s; packets wait 45ms in it: something else uses the line, or its rate has just fallen; 23ms slower than the quickest, evened out; 5 % of its datagrams were lost, which is much: see to its signal or cable.
  sat: sends 8.0 Mbit/s of 10.0 Mbit/s; 300ms slower than the quickest, too much to even out for what it adds: gets TCP only when the others have a backlog; 0.1 % of its datagrams were lost; the line changes the order of packets, which looks like loss at first.
  Loss: 1.6 % before repair, 0.1 % after; 250 packets were sent again, 16 were not, as it was too late.
  7 small packets were sent twice in case one is lost.
  The peer keeps TCP packets of the quickest link for up to 25ms, so that all links are alike to it; other packets do not wait.
  Received: 10 % of the packets in order waited for others, half of them less than 8ms, 99 % less than 32ms; 3 came by repair, 10 too late, 4 not at all.
`
	if got := explained(t, bonded()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestExplanationsOf checks what each state says besides.
func TestExplanationsOf(t *testing.T) {
	for _, tc := range []struct {
		name      string
		change    func(d *Document)
		want, not string
	}{
		{"no session", func(d *Document) { d.Sessions = nil }, "no peer has answered yet", "server"},
		{"old peer", func(d *Document) { d.Sessions[0].Legacy = true }, "nothing is measured: packets go by the", "full"},
		{"all down", func(d *Document) {
			for i := range d.Tunnels {
				d.Tunnels[i].Status = LinkDown
			}
		}, "fibre: disconnected, carries only probes.", "thought to carry"},
		{"never full", func(d *Document) { d.Tunnels[0].Measured.Found = false }, "fibre: sends 48.0 Mbit/s; what it carries is not known", "thought to carry"},
		{"not measured", func(d *Document) { d.Tunnels[0].Measured = nil }, "fibre: sends 48.0 Mbit/s, nothing is measured yet.", "thought to carry"},
		{"lossy", func(d *Document) { d.Tunnels[1].Status = LinkLossy }, "for its loss (loss_tolerence)", "silence"},
		{"slow", func(d *Document) { d.Tunnels[1].Status = LinkSlow }, "for its delay or silence", "(loss_tolerence)"},
		{"idle", func(d *Document) { d.Sessions[0].Lately = Limits{Application: 10} }, "100 % of the last seconds, nothing waited to be sent", "links were full"},
		{"busy host", func(d *Document) { d.Sessions[0].Lately = Limits{Link: 3, Application: 7} }, "30 % of the last seconds, this host could not send", "links were full"},
		{"just begun", func(d *Document) { d.Sessions[0].Lately = Limits{} }, "fibre: sends", "last seconds"},
		{"no loss", func(d *Document) {
			for i := range d.Tunnels {
				if m := d.Tunnels[i].Measured; m != nil {
					m.Lost, m.Spurious = 0, 0
				}
			}
			d.Sessions[0].Repaired = 0
		}, "fibre: sends", "Loss:"},
	} {
		d := bonded()
		tc.change(d)
		got := explained(t, d)
		if !strings.Contains(got, tc.want) || strings.Contains(got, tc.not) {
			t.Errorf("%s: want %q and not %q in\n%s", tc.name, tc.want, tc.not, got)
		}
	}
}

func TestMeasuredMetrics(t *testing.T) {
	var b bytes.Buffer
	if err := WriteMetrics(&b, bonded()); err != nil {
		t.Fatal(err)
	}
	checkFormat(t, b.String())
	for _, want := range []string{
		`mlvpn_link_capacity_bytes_per_second{peer="server",link="fibre"} 6.25e+06`,
		`mlvpn_link_queue_seconds{peer="server",link="lte"} 0.045`,
		`mlvpn_link_delay_seconds{peer="server",link="sat"} 0.3`,
		`mlvpn_link_equalised{peer="server",link="sat"} 0`,
		`mlvpn_link_lost_datagrams_total{peer="server",link="lte"} 250`,
		`mlvpn_link_spurious_losses_total{peer="server",link="sat"} 39`,
		`mlvpn_session_gave_up_packets_total{peer="server"} 16`,
		`mlvpn_session_hold_seconds{peer="server"} 0.025`,
		`mlvpn_session_limited_seconds_total{peer="server",by="application"} 3600`,
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(b.String(), `mlvpn_link_capacity_bytes_per_second{peer="",link="spare"}`) {
		t.Error("a link that is not measured has a capacity")
	}
}
