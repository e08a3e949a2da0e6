package status

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A family is one metric of every link.
type family struct {
	name, kind, help string
	value            func(t *Tunnel) float64
}

func linkFamilies() []family {
	states := func(want ...string) func(*Tunnel) float64 {
		return func(t *Tunnel) float64 {
			for _, s := range want {
				if t.Status == s {
					return 1
				}
			}
			return 0
		}
	}
	return []family{
		{"mlvpn_link_up", "gauge", "1 if the link carries data or may.", states(LinkUp, LinkLossy, LinkSlow)},
		{"mlvpn_link_degraded", "gauge", "1 if the link is used only while no other is better.", states(LinkLossy, LinkSlow)},
		{"mlvpn_link_sent_packets_total", "counter", "Packets sent.", func(t *Tunnel) float64 { return float64(t.SentPackets) }},
		{"mlvpn_link_sent_bytes_total", "counter", "Bytes of these, with the tunnel's own.", func(t *Tunnel) float64 { return float64(t.SentBytes) }},
		{"mlvpn_link_received_packets_total", "counter", "Datagrams received.", func(t *Tunnel) float64 { return float64(t.RecvPackets) }},
		{"mlvpn_link_received_bytes_total", "counter", "Bytes of these.", func(t *Tunnel) float64 { return float64(t.RecvBytes) }},
		{"mlvpn_link_send_bytes_per_second", "gauge", "Rate of sending over the last second.", func(t *Tunnel) float64 { return t.SendRate }},
		{"mlvpn_link_receive_bytes_per_second", "gauge", "Rate of receiving over the last second.", func(t *Tunnel) float64 { return t.ReceiveRate }},
		{"mlvpn_link_rtt_seconds", "gauge", "Smoothed round-trip time.", func(t *Tunnel) float64 { return t.RTT }},
		{"mlvpn_link_loss_ratio", "gauge", "Fraction of what is sent that is lost.", func(t *Tunnel) float64 { return t.LossRatio }},
		{"mlvpn_link_disconnects_total", "counter", "How often the link went down.", func(t *Tunnel) float64 { return float64(t.Disconnects) }},
		{"mlvpn_link_last_received_timestamp_seconds", "gauge", "When something last came, 0 if never.", func(t *Tunnel) float64 { return float64(t.LastPacket) }},
		{"mlvpn_link_quota_spent", "gauge", "1 if the link has used up its quota.", func(t *Tunnel) float64 { return spent(t.Quota) }},
	}
}

func spent(q *Quota) float64 {
	return truth(q != nil && q.Spent)
}

// WriteMetrics writes the document in Prometheus's text format, version 0.0.4.
func WriteMetrics(w io.Writer, d *Document) error {
	var b strings.Builder
	head := func(name, kind, help string) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	}
	single := func(name, kind, help string, value float64) {
		head(name, kind, help)
		fmt.Fprintf(&b, "%s %s\n", name, number(value))
	}
	head("mlvpn_info", "gauge", "Always 1: what this is.")
	fmt.Fprintf(&b, "mlvpn_info{name=%s,version=%s,mode=%s,device=%s} 1\n", label(d.Name), label(d.Version), label(d.Mode), label(d.Tuntap.Name))
	single("mlvpn_start_timestamp_seconds", "gauge", "When the daemon was started.", float64(d.Uptime))
	single("mlvpn_last_reload_timestamp_seconds", "gauge", "When it was last reloaded, 0 if never.", float64(d.LastReload))
	single("mlvpn_reloads_total", "counter", "How often it was reloaded.", float64(d.Reloads))
	head("mlvpn_session_up", "gauge", "1 if at least one link to the peer works.")
	for _, s := range d.Sessions {
		fmt.Fprintf(&b, "mlvpn_session_up{peer=%s} %s\n", label(s.Peer), number(truth(s.Up)))
	}
	legacy := 0
	for _, s := range d.Sessions {
		if s.Legacy {
			legacy++
		}
	}
	single("mlvpn_legacy_peers", "gauge", "Peers that speak the protocol of the C MLVPN, which is not secure: see compat.", float64(legacy))
	for _, f := range linkFamilies() {
		head(f.name, f.kind, f.help)
		for i := range d.Tunnels {
			t := &d.Tunnels[i]
			fmt.Fprintf(&b, "%s{peer=%s,link=%s} %s\n", f.name, label(t.Peer), label(t.Name), number(f.value(t)))
		}
	}
	writeMeasured(&b, head, d)
	writeSessions(&b, head, d)
	writeDrops(&b, head, d)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeDrops writes every number of the detail's Drops, whichever there are.
func writeDrops(b *strings.Builder, head func(name, kind, help string), d *Document) {
	const name = "mlvpn_drops_total"
	head(name, "counter", "What was dropped outside of any session, by reason.")
	for _, x := range numbers(d.Detail, "Drops") {
		fmt.Fprintf(b, "%s{reason=%s} %s\n", name, label(x.name), number(x.value))
	}
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// label quotes the value of a label.
func label(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
