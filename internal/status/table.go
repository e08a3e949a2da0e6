package status

import (
	"fmt"
	"io"
	"net"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable writes the document for people.
func WriteTable(w io.Writer, d *Document) error {
	up := 0
	for _, s := range d.Sessions {
		if s.Up {
			up++
		}
	}
	fmt.Fprintf(w, "%s %s, %s on %s, up for %v", d.Name, d.Version, d.Mode, d.Tuntap.Name, time.Duration(d.UptimeSeconds)*time.Second)
	if d.Mode == "server" {
		fmt.Fprintf(w, ", %d clients", up)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LINK\tPEER\tSTATE\tRTT\tLOSS\tSENDS\tRECEIVES\tADDRESS\tNOTES")
	for i := range d.Tunnels {
		l := &d.Tunnels[i]
		rtt := "-"
		if l.RTT > 0 {
			rtt = fmt.Sprintf("%.1f ms", l.RTT*1000)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.1f %%\t%s\t%s\t%s\t%s\n", l.Name, dash(l.Peer), l.Status, rtt, l.LossRatio*100,
			rate(l.SendRate), rate(l.ReceiveRate), dash(address(l)), strings.Join(notes(l), ", "))
	}
	return t.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func address(l *Tunnel) string {
	if l.DestAddr == "" {
		return ""
	}
	return net.JoinHostPort(l.DestAddr, l.DestPort)
}

func notes(l *Tunnel) (list []string) {
	if l.Transport != "" && l.Transport != "udp" {
		list = append(list, l.Transport)
	}
	switch {
	case l.Quota != nil && l.Quota.Spent:
		list = append(list, "quota used up")
	case l.Fallback:
		list = append(list, "fallback")
	}
	if l.Cost > 0 {
		list = append(list, fmt.Sprintf("cost %d", l.Cost))
	}
	if l.Overflow {
		list = append(list, "overflow")
	}
	return list
}

// rate is a rate in bytes per second as people know it: in bits.
func rate(bytes float64) string {
	bits := bytes * 8
	switch {
	case bits >= 1e6:
		return fmt.Sprintf("%.1f Mbit/s", bits/1e6)
	case bits >= 1e3:
		return fmt.Sprintf("%.1f kbit/s", bits/1e3)
	}
	return fmt.Sprintf("%.0f bit/s", bits)
}
