package demo

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/multilink-vpn/multilink/mlvpn"
)

// A view is what the display shows of one moment.
type view struct {
	now   time.Time
	specs []lineSpec
	rates rates
	lines []lineView
	best  float64 // TCP over the best line alone, Mbit/s; 0 if not measured yet
}

// A lineView is what the display shows of one line beside its rate.
type lineView struct {
	rtt   time.Duration
	state string // the server's view of it
	cut   bool
}

func (l *lineView) find(name string, links []mlvpn.LinkStats) {
	for _, st := range links {
		if st.Name == name {
			l.rtt, l.state = st.RTT, st.State.String()
		}
	}
}

// A screen writes the display: a log of events with a frame below that is redrawn in
// place or, without a terminal, a log only.
type screen struct {
	out      io.Writer
	terminal bool
	color    bool
	scale    float64 // Mbit/s that a full bar stands for

	start   time.Time
	frame   int       // height of the frame on the screen, in lines
	shown   view      // what it shows
	logged  time.Time // when a line of rates was last written
	history []float64 // of TCP's rate, one per sparkTime
	buf     bytes.Buffer
}

const (
	barWidth   = 30
	sparkWidth = 56
	sparkTime  = 400 * time.Millisecond
)

func newScreen(cfg Config, scale float64) *screen {
	return &screen{out: cfg.Out, terminal: cfg.Terminal, color: cfg.Terminal && cfg.Color, scale: scale}
}

const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	clearLine  = "\x1b[K"
	clearBelow = "\x1b[J"

	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (s *screen) begin(now time.Time) {
	s.start, s.logged = now, now
	if s.terminal {
		s.buf.WriteString(hideCursor)
	}
	s.line("%s", s.paint(bold, "Multilink demo: three simulated lines, one encrypted tunnel, one TCP download."))
	s.line("Client, server and lines live in this process. Nothing of this machine is changed.")
	s.line("")
	s.flush()
}

// end removes the frame. It may be called more than once.
func (s *screen) end() {
	if !s.terminal || s.frame < 0 {
		return
	}
	s.erase()
	s.buf.WriteString(showCursor)
	s.flush()
	s.frame = -1
}

// event adds a line to the log.
func (s *screen) event(now time.Time, format string, args ...any) {
	s.erase()
	s.line("%s  %s", s.clock(now), fmt.Sprintf(format, args...))
	s.draw()
	s.flush()
}

// update shows v.
func (s *screen) update(v view) {
	if !s.terminal {
		if v.now.Sub(s.logged) < time.Second {
			return
		}
		s.logged = v.now
		s.plain(v)
		s.flush()
		return
	}
	s.shown = v
	if n := int(v.now.Sub(s.start) / sparkTime); n >= len(s.history) {
		for len(s.history) < n {
			s.history = append(s.history, -1)
		}
		s.history = append(s.history, v.rates.tcp)
	}
	s.erase()
	s.draw()
	s.flush()
}

// plain writes a line of rates.
func (s *screen) plain(v view) {
	fmt.Fprintf(&s.buf, "%s  TCP %4.1f Mbit/s ", s.clock(v.now), v.rates.tcp)
	for i, l := range v.lines {
		fmt.Fprintf(&s.buf, "  %s %4.1f/%.0f", v.specs[i].name, v.rates.lines[i], v.specs[i].down)
		if state := l.describe(); state != "up" {
			fmt.Fprintf(&s.buf, " (%s)", state)
		}
	}
	s.line("")
}

// describe returns the line's state in a word.
func (l *lineView) describe() string {
	if l.cut && l.state != "down" {
		return "cut"
	}
	return l.state
}

// draw writes the frame below the log.
func (s *screen) draw() {
	v := s.shown
	if !s.terminal || len(v.lines) == 0 {
		return
	}
	before := bytes.Count(s.buf.Bytes(), []byte{'\n'})
	s.line("")
	for i, l := range v.lines {
		spec := v.specs[i]
		rate := v.rates.lines[i]
		color, rtt := green, fmt.Sprintf("%d ms", l.rtt.Milliseconds())
		switch l.describe() {
		case "up":
		case "degraded":
			color = yellow
		default:
			color, rtt = red, "-"
		}
		s.line("  %-9s %s %5.1f of %2.0f Mbit/s  %6s  %s", spec.name, s.bar(green, rate, spec.down, 0),
			rate, spec.down, rtt, s.paint(color, l.describe()))
	}
	s.line("  %-9s %s %5.1f of %2.0f Mbit/s  %s", "TCP", s.bar(cyan, v.rates.tcp, sum(v.specs), v.best),
		v.rates.tcp, sum(v.specs), s.paint(bold, gain(v)))
	s.line("")
	s.line("  %-9s %s", "", s.paint(cyan, s.spark()))
	s.frame = bytes.Count(s.buf.Bytes(), []byte{'\n'}) - before
}

func gain(v view) string {
	if v.best == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f x best", v.rates.tcp/v.best)
}

// bar draws a rate against a capacity, and a mark. All bars have the same scale.
func (s *screen) bar(color string, rate, capacity, mark float64) string {
	const eighths = " ▏▎▍▌▋▊▉█"
	cells := func(mbit float64) int { return int(mbit/s.scale*barWidth + 0.5) }
	room := cells(capacity)
	full := min(int(rate/s.scale*barWidth*8+0.5), room*8)
	at := -1
	if mark > 0 {
		at = cells(mark)
	}
	var b strings.Builder
	for i := range room {
		r := ' '
		switch {
		case i == at:
			r = '┃'
		case i < full/8:
			r = '█'
		case i == full/8 && full%8 > 0:
			r, _ = utf8.DecodeRuneInString(eighths[1+3*(full%8-1):])
		default:
			r = '·'
		}
		b.WriteRune(r)
	}
	return s.paint(color, b.String()) + strings.Repeat(" ", barWidth-room)
}

// spark draws TCP's rate over time.
func (s *screen) spark() string {
	levels := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, rate := range s.history[max(0, len(s.history)-sparkWidth):] {
		if rate < 0 {
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(levels[max(0, min(int(rate/s.scale*float64(len(levels))), len(levels)-1))])
	}
	return b.String()
}

// erase moves to where the frame begins and removes it.
func (s *screen) erase() {
	if s.frame > 0 {
		fmt.Fprintf(&s.buf, "\x1b[%dA\r%s", s.frame, clearBelow)
	}
	s.frame = 0
}

func (s *screen) clock(now time.Time) string {
	return s.paint(dim, fmt.Sprintf("%5.1f s", now.Sub(s.start).Seconds()))
}

func (s *screen) paint(color, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (s *screen) line(format string, args ...any) {
	fmt.Fprintf(&s.buf, format, args...)
	if s.terminal {
		s.buf.WriteString(clearLine)
	}
	s.buf.WriteByte('\n')
}

// flush writes everything at once, so that the frame does not flicker. A display that
// cannot be written does not stop the demo.
func (s *screen) flush() {
	s.out.Write(s.buf.Bytes())
	s.buf.Reset()
}
