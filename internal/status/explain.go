package status

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteExplanations says why the tunnel is as fast as it is, and what can be done about it.
func WriteExplanations(w io.Writer, d *Document) error {
	var b strings.Builder
	for i := range d.Sessions {
		explainSession(&b, &d.Sessions[i], linksOf(d, d.Sessions[i].Peer))
	}
	if b.Len() == 0 {
		b.WriteString("There is no session: no peer has answered yet, see the log for why.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// linksOf returns the links of a session.
func linksOf(d *Document, peer string) (list []*Tunnel) {
	for i := range d.Tunnels {
		if t := &d.Tunnels[i]; t.Peer == peer {
			list = append(list, t)
		}
	}
	return list
}

func explainSession(b *strings.Builder, s *Session, links []*Tunnel) {
	fmt.Fprintf(b, "%s: %s\n", s.Peer, total(links))
	if s.Legacy {
		b.WriteString("  It speaks the protocol of the C MLVPN, in which nothing is measured: packets go by the\n" +
			"  bandwidths in the configuration. Replace it to change that.\n")
		return
	}
	for _, line := range verdict(&s.Lately) {
		fmt.Fprintf(b, "  %s\n", line)
	}
	evened := 0
	for _, l := range links {
		if l.Measured != nil && l.Measured.Equal {
			evened++
		}
	}
	for _, l := range links {
		fmt.Fprintf(b, "  %s: %s.\n", l.Name, strings.Join(linkWords(l, evened), "; "))
	}
	for _, line := range delivery(s, links) {
		fmt.Fprintf(b, "  %s\n", line)
	}
}

// total says what goes out, and how much of what is known to be possible that is.
func total(links []*Tunnel) string {
	var sends, capacity float64
	usable, guessed := 0, 0
	for _, l := range links {
		if mark(l.Status) == "!" {
			continue
		}
		usable++
		sends += l.SendRate
		switch m := l.Measured; {
		case m == nil || !m.Found:
			guessed++
		default:
			capacity += float64(m.Capacity)
		}
	}
	switch {
	case usable == 0:
		return "no link works, so nothing is sent."
	case guessed > 0:
		return fmt.Sprintf("sends %s over %d links.", rate(sends), usable)
	}
	return fmt.Sprintf("sends %s over %d links, which are thought to carry %s.", rate(sends), usable, rate(capacity))
}

// A share is worth a line from a tenth of the time on.
const worthTelling = 0.1

// verdict says what limited the session lately.
func verdict(l *Limits) (lines []string) {
	sum := l.sum()
	if sum <= 0 {
		return nil
	}
	for _, x := range []struct {
		seconds float64
		text    string
	}{
		{l.Pacing, "packets waited because the links were full: another link, or a faster one, would help."},
		{l.Reordering, "packets waited for a quicker link though a slower one was free, by which they would have come later."},
		{l.Link, "this host could not send as fast as it should: look at its processor, its network cards and their drivers."},
		{l.Application, "nothing waited to be sent: what limits the speed is not this end's links, but the application, its TCP, the LAN, or the other direction."},
		{l.Down, "no link worked."},
	} {
		if share := x.seconds / sum; share >= worthTelling {
			lines = append(lines, fmt.Sprintf("%.0f %% of the last seconds, %s", 100*share, x.text))
		}
	}
	return lines
}

const (
	// longQueue is a queue that this end's pacing does not make.
	longQueue = 0.03
	// muchLoss is a loss that a user should know of.
	muchLoss = 0.01
	// manySpurious is the share of the lost datagrams that came late at a link that reorders.
	manySpurious = 0.25
	// fewLost is how many lost datagrams tell nothing.
	fewLost = 20
)

// linkWords says what there is to say of a link. evened is how many links even out their
// delays.
func linkWords(l *Tunnel, evened int) (words []string) {
	m := l.Measured
	if mark(l.Status) == "!" {
		return []string{l.Status + ", carries only probes"}
	}
	if m == nil {
		return []string{fmt.Sprintf("sends %s, nothing is measured yet", rate(l.SendRate))}
	}
	if m.Found {
		words = append(words, fmt.Sprintf("sends %s of %s", rate(l.SendRate), rate(float64(m.Capacity))))
	} else {
		words = append(words, fmt.Sprintf("sends %s; what it carries is not known, as it has not been full yet", rate(l.SendRate)))
	}
	switch l.Status {
	case LinkLossy:
		words = append(words, "used only while no other is better, for its loss (loss_tolerence)")
	case LinkSlow:
		words = append(words, "used only while no other is better, for its delay or silence")
	}
	if q := seconds(m.Queue); m.Queue >= longQueue {
		words = append(words, fmt.Sprintf("packets wait %v in it: something else uses the line, or its rate has just fallen", q))
	} else if m.Queue > 0 {
		words = append(words, fmt.Sprintf("a queue of %v", q))
	}
	switch {
	case m.Equal && m.Delay <= 0:
		words = append(words, "evened out with the slower ones")
	case m.Equal:
		words = append(words, fmt.Sprintf("%v slower than the quickest, evened out", seconds(m.Delay)))
	case evened > 0 && m.Delay > 0:
		words = append(words, fmt.Sprintf("%v slower than the quickest, too much to even out for what it adds: gets TCP only when the others have a backlog", seconds(m.Delay)))
	case m.Delay > 0:
		words = append(words, fmt.Sprintf("%v slower than the quickest", seconds(m.Delay)))
	}
	if lost := m.LossRatio(); lost > 0 && m.Lost >= fewLost {
		text := fmt.Sprintf("%.2g %% of its datagrams were lost", 100*lost)
		if lost >= muchLoss {
			text += ", which is much: see to its signal or cable"
		}
		words = append(words, text)
	}
	if m.Lost >= fewLost && ratio(m.Spurious, m.Lost) >= manySpurious {
		words = append(words, "the line changes the order of packets, which looks like loss at first")
	}
	return words
}

// delivery says how loss and order were dealt with, on the way there and back.
func delivery(s *Session, links []*Tunnel) (lines []string) {
	var sent, lost uint64
	for _, l := range links {
		if m := l.Measured; m != nil {
			sent += m.Datagrams
			lost += m.Lost - min(m.Spurious, m.Lost)
		}
	}
	if lost > 0 || s.Repaired > 0 {
		lines = append(lines, fmt.Sprintf("Loss: %.2g %% before repair, %.2g %% after; %d packets were sent again, %d were not, as it was too late.",
			100*ratio(lost, sent), 100*ratio(s.GaveUp, sent), s.Repaired, s.GaveUp))
	}
	if s.Copied > 0 {
		lines = append(lines, fmt.Sprintf("%d small packets were sent twice in case one is lost.", s.Copied))
	}
	if s.Hold > 0 {
		lines = append(lines, fmt.Sprintf("The peer keeps TCP packets of the quickest link for up to %v, so that all links are alike to it; other packets do not wait.", seconds(s.Hold)))
	}
	if all := s.Delivered + s.Late; s.Held > 0 && all > 0 {
		never := s.Missed - min(s.Late, s.Missed)
		lines = append(lines, fmt.Sprintf("Received: %.2g %% of the packets in order waited for others, half of them less than %v, 99 %% less than %v; %d came by repair, %d too late, %d not at all.",
			100*ratio(s.Held, all), seconds(s.HoldMedian), seconds(s.HoldP99), s.Restored, s.Late, never))
	}
	return lines
}

// seconds is a time as people read it.
func seconds(s float64) time.Duration {
	d := time.Duration(s * float64(time.Second))
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
