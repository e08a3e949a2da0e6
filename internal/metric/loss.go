package metric

import "time"

const (
	lossWindow  = 5 * time.Second
	lossSpacing = 250 * time.Millisecond
	lossReports = int(lossWindow/lossSpacing) + 1

	// minLossPackets is how many packets a window needs before a ratio means
	// anything: 1 of 20 is 5 %.
	minLossPackets = 20
)

// A Loss estimates the fraction of packets lost on a path from the reports of the
// peer that receives them. Its zero value is ready to use.
type Loss struct {
	reports [lossReports]lossReport // ring, oldest at first
	first   int
	n       int
}

type lossReport struct {
	at                time.Time
	highest, received uint32
}

// Update adds a report that arrived at now: the highest sequence number the peer has
// received and how many packets it has received, both cumulative since the path began
// and modulo 2^32. A report older than the last one is ignored. One whose counters
// contradict the last one's starts the estimate anew.
func (l *Loss) Update(now time.Time, highest, received uint32) {
	report := lossReport{now, highest, received}
	if l.n == 0 {
		l.push(report)
		return
	}
	last := l.at(l.n - 1)
	sent, got := int32(highest-last.highest), int32(received-last.received)
	switch {
	case sent < 0 || sent == 0 && got < 0:
		return
	case got < 0:
		l.first, l.n = 0, 0
		l.push(report)
		return
	}
	// The newest entry moves along while it is close to the one before it. Any two
	// gaps in a row are then longer than the spacing, so that a full ring spans at
	// least half of the window.
	if l.n >= 2 && now.Sub(l.at(l.n-2).at) < lossSpacing {
		*last = report
	} else {
		l.push(report)
	}
	for l.n > 2 && now.Sub(l.at(0).at) > lossWindow {
		l.pop()
	}
}

// Ratio returns the fraction of packets lost, 0 to 1, in a window that ends with the
// last report: the last 2.5 to 5 seconds, depending on how often reports come, or the
// time since the report before if that is longer. It is 0 while fewer than 20 packets
// are in the window. A packet that is late counts as lost until a report includes it.
func (l *Loss) Ratio() float64 {
	sent, got := l.window()
	if sent < minLossPackets || got >= sent {
		return 0
	}
	return float64(sent-got) / float64(sent)
}

// Known reports whether the window holds enough packets for Ratio to mean anything.
func (l *Loss) Known() bool {
	sent, _ := l.window()
	return sent >= minLossPackets
}

func (l *Loss) window() (sent, got uint32) {
	if l.n < 2 {
		return 0, 0
	}
	a, b := l.at(0), l.at(l.n-1)
	return b.highest - a.highest, b.received - a.received
}

func (l *Loss) at(i int) *lossReport { return &l.reports[(l.first+i)%lossReports] }

func (l *Loss) push(r lossReport) {
	if l.n == lossReports {
		l.pop()
	}
	l.n++
	*l.at(l.n - 1) = r
}

func (l *Loss) pop() {
	l.first = (l.first + 1) % lossReports
	l.n--
}
