package status

import (
	"fmt"
	"strings"
)

// A measuredFamily is one metric of every link that is measured.
type measuredFamily struct {
	name, kind, help string
	value            func(m *Measured) float64
}

func measuredFamilies() []measuredFamily {
	return []measuredFamily{
		{"mlvpn_link_capacity_bytes_per_second", "gauge", "What the link is thought to carry in the direction of sending.", func(m *Measured) float64 { return float64(m.Capacity) }},
		{"mlvpn_link_capacity_found", "gauge", "1 if the link has been full once, so that its capacity is no guess.", func(m *Measured) float64 { return truth(m.Found) }},
		{"mlvpn_link_pace_bytes_per_second", "gauge", "Rate at which the link is sent on at most, 0 for any.", func(m *Measured) float64 { return float64(m.Pace) }},
		{"mlvpn_link_queue_seconds", "gauge", "What packets are thought to wait in the link's queue.", func(m *Measured) float64 { return m.Queue }},
		{"mlvpn_link_delay_seconds", "gauge", "One-way delay above that of the quickest link.", func(m *Measured) float64 { return m.Delay }},
		{"mlvpn_link_equalised", "gauge", "1 if the link's delay is evened out with that of others.", func(m *Measured) float64 { return truth(m.Equal) }},
		{"mlvpn_link_datagrams_total", "counter", "Datagrams sent, of all kinds.", func(m *Measured) float64 { return float64(m.Datagrams) }},
		{"mlvpn_link_lost_datagrams_total", "counter", "Datagrams of these that were reported missing.", func(m *Measured) float64 { return float64(m.Lost) }},
		{"mlvpn_link_spurious_losses_total", "counter", "Datagrams of these that came after all.", func(m *Measured) float64 { return float64(m.Spurious) }},
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// writeMeasured writes what is measured of the links. A link that is not measured has no
// sample.
func writeMeasured(b *strings.Builder, head func(name, kind, help string), d *Document) {
	for _, f := range measuredFamilies() {
		head(f.name, f.kind, f.help)
		for i := range d.Tunnels {
			if t := &d.Tunnels[i]; t.Measured != nil {
				fmt.Fprintf(b, "%s{peer=%s,link=%s} %s\n", f.name, label(t.Peer), label(t.Name), number(f.value(t.Measured)))
			}
		}
	}
}

// A sessionFamily is one metric of every session.
type sessionFamily struct {
	name, kind, help string
	value            func(s *Session) float64
}

func sessionFamilies() []sessionFamily {
	return []sessionFamily{
		{"mlvpn_session_queued_packets", "gauge", "Packets that wait for a link.", func(s *Session) float64 { return float64(s.Queued) }},
		{"mlvpn_session_repaired_packets_total", "counter", "Lost packets that were sent again.", func(s *Session) float64 { return float64(s.Repaired) }},
		{"mlvpn_session_copied_packets_total", "counter", "Small packets sent twice in case one is lost.", func(s *Session) float64 { return float64(s.Copied) }},
		{"mlvpn_session_gave_up_packets_total", "counter", "Lost packets that were not sent again.", func(s *Session) float64 { return float64(s.GaveUp) }},
		{"mlvpn_session_hold_seconds", "gauge", "How long the peer keeps packets of the quickest link so that all links are alike.", func(s *Session) float64 { return s.Hold }},
		{"mlvpn_session_received_in_order_packets_total", "counter", "Packets received and delivered in order.", func(s *Session) float64 { return float64(s.Delivered) }},
		{"mlvpn_session_received_held_packets_total", "counter", "Packets of these that waited for others, or for their time.", func(s *Session) float64 { return float64(s.Held) }},
		{"mlvpn_session_received_late_packets_total", "counter", "Packets received and delivered out of order.", func(s *Session) float64 { return float64(s.Late) }},
		{"mlvpn_session_received_missed_packets_total", "counter", "Packets that were not waited for any longer; some came late.", func(s *Session) float64 { return float64(s.Missed) }},
		{"mlvpn_session_received_repaired_packets_total", "counter", "Packets that a repair brought in time.", func(s *Session) float64 { return float64(s.Restored) }},
	}
}

// writeSessions writes what is known of sessions.
func writeSessions(b *strings.Builder, head func(name, kind, help string), d *Document) {
	for _, f := range sessionFamilies() {
		head(f.name, f.kind, f.help)
		for i := range d.Sessions {
			s := &d.Sessions[i]
			fmt.Fprintf(b, "%s{peer=%s} %s\n", f.name, label(s.Peer), number(f.value(s)))
		}
	}
	const name = "mlvpn_session_limited_seconds_total"
	head(name, "counter", "For how long a session sent no more, by what kept it from it.")
	for i := range d.Sessions {
		s := &d.Sessions[i]
		for _, x := range []struct {
			by      string
			seconds float64
		}{
			{"application", s.Limited.Application}, {"pacing", s.Limited.Pacing}, {"link", s.Limited.Link},
			{"reordering", s.Limited.Reordering}, {"down", s.Limited.Down},
		} {
			fmt.Fprintf(b, "%s{peer=%s,by=%q} %s\n", name, label(s.Peer), x.by, number(x.seconds))
		}
	}
}
