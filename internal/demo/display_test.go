package demo

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var escapes = regexp.MustCompile("\x1b\\[[?0-9;]*[a-zA-Z]")

func testView(now time.Time) view {
	return view{
		now:   now,
		specs: lines,
		rates: rates{tcp: 24, lines: []float64{5.7, 8.6, 11.4}},
		lines: []lineView{
			{state: "up", rtt: 41 * time.Millisecond},
			{state: "degraded", rtt: 999 * time.Millisecond},
			{state: "up", rtt: 62 * time.Millisecond, cut: true},
		},
		best: 10.7,
	}
}

// The frame fits 80 columns, and each is removed before the next is drawn.
func TestFrame(t *testing.T) {
	for _, color := range []bool{false, true} {
		var out bytes.Buffer
		s := newScreen(Config{Out: &out, Terminal: true, Color: color}, sum(lines))
		now := time.Now()
		s.begin(now)
		out.Reset()
		s.update(testView(now))
		frame := out.String()
		if strings.Contains(frame, "\x1b[3") != color {
			t.Errorf("color %v: frame %q", color, frame)
		}
		height := strings.Count(frame, "\n")
		for _, line := range strings.Split(escapes.ReplaceAllString(frame, ""), "\n") {
			if n := utf8.RuneCountInString(line); n > 79 {
				t.Errorf("%d columns: %q", n, line)
			}
		}
		for _, want := range []string{"ADSL", "24.0 of 27", "2.2 x", "degraded", "cut"} {
			if !strings.Contains(frame, want) {
				t.Errorf("no %q in %q", want, frame)
			}
		}
		out.Reset()
		s.event(now, "something")
		if got, want := s.frame, height; got != want {
			t.Errorf("a frame of %d lines is taken for %d", want, got)
		}
		if !strings.Contains(out.String(), "\x1b["+string(rune('0'+height))+"A") {
			t.Errorf("the frame of %d lines was not removed: %q", height, out.String())
		}
		s.end()
		s.end()
		if n := strings.Count(out.String(), showCursor); n != 1 {
			t.Errorf("the cursor is shown %d times", n)
		}
	}
}

func TestBar(t *testing.T) {
	s := newScreen(Config{}, 30) // one cell is 1 Mbit/s
	for _, test := range []struct {
		rate, capacity, mark float64
		want                 string
	}{
		{0, 4, 0, "····"},
		{2, 4, 0, "██··"},
		{2.5, 4, 0, "██▌·"},
		{4, 4, 0, "████"},
		{9, 4, 0, "████"},
		{3, 4, 2, "██┃·"},
	} {
		got := s.bar(green, test.rate, test.capacity, test.mark)
		if n := utf8.RuneCountInString(got); n != barWidth {
			t.Errorf("%+v: %d columns", test, n)
		}
		if got := strings.TrimRight(got, " "); got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
}

func TestPlain(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(Config{Out: &out}, sum(lines))
	now := time.Now()
	s.begin(now)
	out.Reset()
	for i := range 35 {
		s.update(testView(now.Add(time.Duration(i) * every)))
	}
	s.end()
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("%d lines in 3.4 s:\n%s", n, &out)
	}
	if want := "LTE  8.6/9 (degraded)"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in %q", want, out.String())
	}
}
