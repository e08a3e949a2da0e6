package conf

import (
	"fmt"
	"slices"
	"strings"
)

// A parser holds one file while it is read. scan cuts the text into sections of
// items, build turns these into a Config. Both only note problems and go on.
type parser struct {
	name string
	opts Options
	keys []Key
	main string // the section that lines above the first header belong to

	sections []*section
	errs     Errors
	warnings []Warning
}

// A section is a header and the key = value lines below it. A second header of the
// same name continues the first.
type section struct {
	name  string
	line  int
	items []item

	implied bool // there is no header: the lines are above the first one
	bad     bool // the name is wrong, which was noted
}

// An item is one key = value line.
type item struct {
	line  int
	key   string
	value string // MLVPN's reading: quotes removed, blanks outside them deleted
	raw   string // the value as written

	quoted bool // the whole value was in quotes
	bad    bool // the value cannot be read, which was noted
}

func (p *parser) errorf(line int, format string, args ...any) {
	p.errs = append(p.errs, &Error{Position{p.name, line}, fmt.Sprintf(format, args...)})
}

func (p *parser) warnf(line int, format string, args ...any) {
	p.warnings = append(p.warnings, Warning{Position{p.name, line}, fmt.Sprintf(format, args...)})
}

// sortProblems orders errors and warnings by line, those about the whole file first.
func (p *parser) sortProblems() {
	slices.SortStableFunc(p.errs, func(a, b *Error) int { return a.Line - b.Line })
	slices.SortStableFunc(p.warnings, func(a, b Warning) int { return a.Line - b.Line })
}

// scan cuts text into sections and items.
func (p *parser) scan(text string) {
	text = strings.TrimPrefix(text, "\ufeff")
	var cur *section
	dangling := false // the last line was a key without a value
	for i, line := range strings.Split(text, "\n") {
		n := i + 1
		line, closed := stripComment(strings.ReplaceAll(line, "\r", ""))
		line = strings.Trim(line, " \t")
		wasDangling := dangling
		dangling = false
		switch {
		case line == "":
			dangling = wasDangling
		case line[0] == '[':
			cur = p.header(n, line)
		case line[0] == ';':
			p.errorf(n, "comments start with #")
		default:
			it, ok := p.item(n, line, closed, wasDangling)
			if !ok {
				continue
			}
			dangling = it.raw == ""
			if cur == nil {
				p.errorf(n, "%s is above the first section: write [%s] above it", it.key, p.main)
				cur = p.section(p.main, n)
				cur.implied = true
			}
			cur.items = append(cur.items, it)
		}
	}
}

// stripComment cuts a # outside quotes and what follows it. closed is false when a
// quote was left open.
func stripComment(line string) (rest string, closed bool) {
	quoted := false
	for i := range len(line) {
		switch line[i] {
		case '"':
			quoted = !quoted
		case '#':
			if !quoted {
				return line[:i], true
			}
		}
	}
	return line, !quoted
}

// maxName is the length in bytes of the longest name of a link.
const maxName = 63

// header reads a [section] line. It always returns a section, so that the lines below
// are checked, too.
func (p *parser) header(n int, line string) *section {
	before := len(p.errs)
	name, rest, found := strings.Cut(line[1:], "]")
	if !found {
		p.errorf(n, "the closing ] is missing: write %s]", printable(strings.TrimRight(line, " \t")))
	} else if rest = strings.Trim(rest, " \t"); rest != "" {
		p.errorf(n, "text after ]: put it on a line of its own")
	}
	if trimmed := strings.Trim(name, " \t"); trimmed != name {
		p.warnf(n, "blanks inside [] are dropped: write [%s]", printable(trimmed))
		name = trimmed
	}
	switch {
	case name == "":
		p.errorf(n, "the section has no name: write for example [adsl1]")
	case len(name) > maxName:
		p.errorf(n, "the name of the section is longer than %d characters", maxName)
	case !validName(name):
		p.errorf(n, "the name of a section is made of ASCII characters without brackets and quotes, for example [adsl1]")
	case name[0] == '-' || name[0] == ';':
		p.errorf(n, "the name of a section cannot start with %c: write for example [adsl1]", name[0])
	}
	bad := len(p.errs) > before
	for _, own := range p.ownSections() {
		if name != own && (strings.EqualFold(name, own) || nearest(name, []string{own}) != "") {
			if strings.EqualFold(name, own) {
				p.errorf(n, "write [%s] in lower case", own)
				name = own
			} else {
				p.warnf(n, "[%s] is a link; did you mean [%s]?", printable(name), own)
			}
		}
	}
	s := p.section(name, n)
	s.bad = s.bad || bad
	return s
}

// ownSections returns the names of sections that mean something of their own.
func (p *parser) ownSections() []string {
	if p.main == string(Clients) {
		return []string{p.main}
	}
	return []string{"general", "filters"}
}

// section returns the section called name, which starts on line n if it is new.
func (p *parser) section(name string, n int) *section {
	for _, s := range p.sections {
		if s.name == name {
			if s.implied {
				s.implied, s.line = false, n
				return s
			}
			p.warnf(n, "[%s] continues the section of line %d", printable(name), s.line)
			return s
		}
	}
	s := &section{name: name, line: n}
	p.sections = append(p.sections, s)
	return s
}

// item reads a key = value line. closed says that its quotes are, afterKey that the
// line before had a key and no value.
func (p *parser) item(n int, line string, closed, afterKey bool) (it item, ok bool) {
	eq := indexUnquoted(line, '=')
	if afterKey && eq >= 0 && strings.Trim(line[eq:], "=") == "" && !p.known(line[:eq]) {
		eq = -1 // the padding of a key in base64
	}
	switch {
	case eq < 0 && afterKey:
		p.errorf(n, "the value must be on the same line as its key: join this line to the one before")
		return item{}, false
	case eq < 0 && !closed:
		p.errorf(n, "the closing quote (\") is missing")
		return item{}, false
	case eq < 0:
		p.errorf(n, "this is neither a [section] nor a key: write key = \"value\"")
		return item{}, false
	}
	key := strings.Trim(line[:eq], " \t")
	switch {
	case key == "":
		p.errorf(n, "there is no key before the =")
		return item{}, false
	case !validName(key):
		p.errorf(n, "the key has characters that no key has: write key = \"value\"")
		return item{}, false
	}
	raw := strings.Trim(line[eq+1:], " \t")
	it = item{line: n, key: key, raw: raw, value: unquote(raw), bad: true}
	if !closed {
		p.errorf(n, "the closing quote (\") of the value of %s is missing", key)
		return it, true
	}
	if indexUnquoted(raw, '=') >= 0 {
		p.errorf(n, "there is a second = outside quotes: write %s = \"...\"", key)
		return it, true
	}
	for i := range len(raw) {
		if c := raw[i]; c != '\t' && (c < ' ' || c > '~') {
			p.errorf(n, "the value of %s has a character that is not printable ASCII at position %d", key, i+1)
			return it, true
		}
	}
	it.bad = false
	it.quoted = len(raw) >= 2 && strings.Count(raw, `"`) == 2 && raw[0] == '"' && raw[len(raw)-1] == '"'
	return it, true
}

// validName reports whether s is made of characters that the name of a section or a
// key may have.
func validName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(`[]"=#`, c) >= 0 {
			return false
		}
	}
	return true
}

// loose is the value as meant by someone who forgot the quotes.
func (it *item) loose() string {
	return strings.Join(strings.Fields(strings.ReplaceAll(it.raw, `"`, "")), " ")
}

// printable returns s fit for a message.
func printable(s string) string {
	q := fmt.Sprintf("%+q", s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// indexUnquoted returns the index of the first c outside quotes, or -1.
func indexUnquoted(s string, c byte) int {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == c && !quoted:
			return i
		}
	}
	return -1
}

// unquote reads a value as MLVPN does: quotes are removed wherever they are, blanks
// outside them are deleted, and then blanks at both ends.
func unquote(raw string) string {
	var b strings.Builder
	quoted := false
	for i := range len(raw) {
		switch c := raw[i]; {
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t'):
		default:
			b.WriteByte(c)
		}
	}
	return strings.Trim(b.String(), " \t")
}
