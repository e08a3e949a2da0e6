package demo

import (
	"fmt"
	"time"
)

// summary writes the result as a table.
func (s *screen) summary(r *Result) {
	s.line("")
	s.line("  %-10s %15s %10s %12s", "line", "capacity", "carried", "its share")
	total := 0.0
	for _, l := range r.Lines {
		s.line("  %-10s %8.0f Mbit/s %10.1f %10.0f %%", l.Name, l.Capacity, l.Carried, 100*l.Share)
		total += l.Carried
	}
	s.line("  %-10s %8.0f Mbit/s %10.1f", "all", r.Sum, total)
	s.line("")
	row := func(name, format string, args ...any) {
		s.buf.WriteString("  ")
		s.buf.WriteString(name)
		for range max(0, 18-len(name)) {
			s.buf.WriteByte(' ')
		}
		s.line(format, args...)
	}
	row(r.Best+" alone", "%5.1f Mbit/s of TCP", r.Single)
	row("all lines", "%5.1f Mbit/s, %s; %.0f %% of the sum, headers take 8 %%", r.Bonded,
		s.paint(bold, fmt.Sprintf("%.2f times as much", r.Gain())), 100*r.Bonded/r.Sum)
	row(r.Cut.Line+" cut", "%5.1f Mbit/s on the others; longest pause %s", r.Cut.Without, seconds(r.Cut.Gap))
	row(r.Cut.Line+" back", "%5.1f Mbit/s; data on it again %s", r.Cut.After, after(r.Cut.Returned))
	row("content", "%5.1f MB, SHA-256 %x... %s", float64(r.Received)/1e6, r.SHA256[:4], same(r.Intact))
	s.line("")
	if err := r.Check(); err != nil {
		s.line("  %s after %s", s.paint(red, "Failed"), seconds(r.Elapsed))
	} else {
		s.line("  %s after %s", s.paint(green, "All as it should be"), seconds(r.Elapsed))
	}
	s.flush()
}

func after(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return "after " + seconds(d)
}

func same(intact bool) string {
	if intact {
		return "at both ends"
	}
	return "differs at the ends"
}
