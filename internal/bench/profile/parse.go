package profile

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxLines is what the lab can build.
const maxLines = 250

// Parse reads a profile from a notation like that of a table:
//
//	[NAME:] LINE { + LINE }
//	LINE = [N ×] DOWN[/UP], DELAY [±JITTER] {, OPTION}
//
// with rates in Mbit/s, one-way times in ms, and as the options
//
//	0.5 %                        loss, in both directions, or "up" or "down" behind it
//	q300                         queue in ms of the line's rate
//	mtu 1400
//	walk 3-25 every 1s           the downlink's rate moves at random; the uplink follows
//	delay 60-200 every 1s        so does the one-way delay
//	at 60s 1/1 q2000             rates, and the queue, from a time on; may be repeated
//	out 20s for 10s every 60s    silent blackhole; once without "every"
//	stall 50-200 every 15s 30 %  packets are held back for a random time, some are lost
//
// "x" may stand for "×", "~" for "±". "2 × 50, 10 + 12/3, 45 ±8, 0.5 %" has three lines.
func Parse(s string) (Profile, error) {
	p := Profile{Name: "custom"}
	if name, lines, ok := strings.Cut(s, ":"); ok {
		p.Name, s = strings.TrimSpace(name), lines
		if p.Name == "" || strings.ContainsAny(p.Name, ", ") {
			return Profile{}, fmt.Errorf("profile name %q: want one word before the colon", p.Name)
		}
	}
	for _, text := range strings.Split(s, "+") {
		n, line, err := parseLine(strings.TrimSpace(text))
		if err != nil {
			return Profile{}, fmt.Errorf("line %q: %w", strings.TrimSpace(text), err)
		}
		if len(p.Lines)+n > maxLines {
			return Profile{}, fmt.Errorf("more than %d lines", maxLines)
		}
		for range n {
			line.Changes = slices.Clone(line.Changes)
			p.Lines = append(p.Lines, line)
		}
	}
	return p, nil
}

const (
	numberPattern = `(\d+(?:\.\d+)?)`
	ratesPattern  = numberPattern + `(?:/` + numberPattern + `)?`
	rangePattern  = numberPattern + ` ?[-–] ?` + numberPattern
	timePattern   = `([0-9.hms]+)`
)

// form is a part of the notation: what it looks like and what it does to a line. A
// group that did not match is empty.
type form struct {
	pattern *regexp.Regexp
	apply   func(l *Line, m *fields)
}

func newForm(pattern string, apply func(l *Line, m *fields)) form {
	return form{regexp.MustCompile(`^` + pattern + `$`), apply}
}

func parseLine(s string) (n int, l Line, err error) {
	n = 1
	if m := regexp.MustCompile(`^(\d+) ?[x×] ?(.*)$`).FindStringSubmatch(s); m != nil {
		if n, err = strconv.Atoi(m[1]); err != nil || n < 1 || n > maxLines {
			return 0, l, fmt.Errorf("%s lines: want 1 to %d", m[1], maxLines)
		}
		s = m[2]
	}
	parts := strings.Split(s, ",")
	if len(parts) < 2 {
		return 0, l, errors.New(`want at least a rate and a delay, as in "50/10, 20"`)
	}
	if err := parsePart(&l, parts[0], rateForms()); err != nil {
		return 0, l, err
	}
	if err := parsePart(&l, parts[1], delayForms()); err != nil {
		return 0, l, err
	}
	for _, part := range parts[2:] {
		if err := parsePart(&l, part, optionForms()); err != nil {
			return 0, l, err
		}
	}
	return n, l, l.check()
}

func parsePart(l *Line, part string, forms []form) error {
	part = strings.Join(strings.Fields(part), " ")
	for _, f := range forms {
		if m := f.pattern.FindStringSubmatch(part); m != nil {
			values := fields{text: m[1:]}
			f.apply(l, &values)
			return values.err
		}
	}
	return fmt.Errorf("cannot read %q", part)
}

func rateForms() []form {
	return []form{newForm(ratesPattern, func(l *Line, m *fields) { l.Rate = m.rates(0) })}
}

func delayForms() []form {
	return []form{newForm(numberPattern+`(?: ?[±~]`+numberPattern+`)?`, func(l *Line, m *fields) {
		l.Delay, l.Jitter = m.ms(0), m.ms(1)
	})}
}

func optionForms() []form {
	return []form{
		newForm(numberPattern+` ?%(?: (up|down))?`, func(l *Line, m *fields) {
			for _, d := range Directions {
				if m.text[1] == "" || m.text[1] == d.String() {
					l.Loss[d] = m.number(0) / 100
				}
			}
		}),
		newForm(`q ?`+numberPattern, func(l *Line, m *fields) { l.Queue = m.ms(0) }),
		newForm(`mtu (\d+)`, func(l *Line, m *fields) { l.MTU = int(m.number(0)) }),
		newForm(`walk `+rangePattern+` every `+timePattern, func(l *Line, m *fields) {
			l.RateWalk = Walk{1e6 * m.number(0), 1e6 * m.number(1), m.time(2)}
		}),
		newForm(`delay `+rangePattern+` every `+timePattern, func(l *Line, m *fields) {
			l.DelayWalk = Walk{m.number(0) / 1e3, m.number(1) / 1e3, m.time(2)}
		}),
		newForm(`at `+timePattern+` `+ratesPattern+`(?: q`+numberPattern+`)?`, func(l *Line, m *fields) {
			l.Changes = append(l.Changes, Change{m.time(0), m.rates(1), m.ms(3)})
		}),
		newForm(`out `+timePattern+` for `+timePattern+`(?: every `+timePattern+`)?`, func(l *Line, m *fields) {
			l.Outage = Outage{m.time(0), m.time(1), m.time(2)}
		}),
		newForm(`stall `+rangePattern+` every `+timePattern+`(?: `+numberPattern+` ?%)?`, func(l *Line, m *fields) {
			l.Stall = Stall{m.ms(0), m.ms(1), m.time(2), m.number(3) / 100}
		}),
	}
}

// check reports values that have no meaning.
func (l Line) check() error {
	for _, d := range Directions {
		if l.Rate[d] <= 0 {
			return errors.New("a rate of zero: for a dead line, use out")
		}
		if l.Loss[d] > 1 {
			return errors.New("a loss of more than 100 %")
		}
	}
	for _, w := range []Walk{l.RateWalk, l.DelayWalk} {
		if w.Every > 0 && (w.Low > w.High || w.High == 0) {
			return errors.New("a walk needs the lower bound first")
		}
	}
	for i, c := range l.Changes {
		if c.Rate[Down] <= 0 || c.Rate[Up] <= 0 {
			return errors.New("a rate of zero: for a dead line, use out")
		}
		if i > 0 && c.At < l.Changes[i-1].At {
			return errors.New("changes must be in order of time")
		}
	}
	if o := l.Outage; o.Every > 0 && o.For >= o.Every {
		return errors.New("an outage that never ends")
	}
	if s := l.Stall; s.Every > 0 && (s.Low > s.High || s.High >= s.Every || s.Loss > 1) {
		return errors.New("a stall needs the lower bound first, and must end before the next one")
	}
	return nil
}

// fields are the groups that a pattern found. The first error stays.
type fields struct {
	text []string
	err  error
}

// number returns zero for a missing group.
func (m *fields) number(i int) float64 {
	if m.text[i] == "" {
		return 0
	}
	x, err := strconv.ParseFloat(m.text[i], 64)
	switch {
	case m.err != nil:
	case err != nil:
		m.err = err
	case x > 1e6:
		m.err = fmt.Errorf("%s is too large", m.text[i])
	}
	return x
}

func (m *fields) ms(i int) time.Duration {
	return time.Duration(m.number(i) * float64(time.Millisecond))
}

// time returns zero for a missing group.
func (m *fields) time(i int) time.Duration {
	if m.text[i] == "" {
		return 0
	}
	d, err := time.ParseDuration(m.text[i])
	if err == nil && d > 24*time.Hour {
		err = fmt.Errorf("%v is too long", d)
	}
	if m.err == nil {
		m.err = err
	}
	return d
}

// rates reads a rate and, behind it, that of the uplink, which is the same if missing.
func (m *fields) rates(i int) (r [2]float64) {
	r[Down] = 1e6 * m.number(i)
	r[Up] = r[Down]
	if m.text[i+1] != "" {
		r[Up] = 1e6 * m.number(i+1)
	}
	return r
}
