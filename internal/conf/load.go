package conf

import (
	"bytes"
	"crypto/rand"
	"io"
	"strings"
)

// Options change how a file is read. The zero value is ready to use.
type Options struct {
	// GeneratePassword returns a strong password of letters and digits, to print in
	// the message about a weak or missing one. Nil: 26 random characters (128 bits).
	GeneratePassword func() string
}

func (o Options) generatePassword() string {
	if o.GeneratePassword != nil {
		return o.GeneratePassword()
	}
	return rand.Text()
}

// Load reads the file at path with the default Options.
func Load(path string) (*Config, []Warning, error) { return Options{}.Load(path) }

// Parse reads a configuration from r with the default Options.
func Parse(name string, r io.Reader) (*Config, []Warning, error) {
	return Options{}.Parse(name, r)
}

// maxFile is the size in bytes above which a file is refused. A thousand links need
// less.
const maxFile = 1 << 20

// Load opens the file at path, checks on the open file that nobody but root and this
// process's user can have written or can read it, and parses it. The error is an
// Errors if the contents are wrong. Warnings are returned in either case.
func (o Options) Load(path string) (*Config, []Warning, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	return o.Parse(path, bytes.NewReader(text))
}

// Parse reads a configuration from r, naming it name in messages. It checks neither
// owner nor permissions. The error is an Errors if the contents are wrong. Warnings
// are returned in either case.
func (o Options) Parse(name string, r io.Reader) (*Config, []Warning, error) {
	text, err := readText(name, r)
	if err != nil {
		return nil, nil, err
	}
	p := &parser{name: name, opts: o, keys: Reference(), main: string(General)}
	if bytes.IndexByte(text, 0) >= 0 {
		p.errorf(0, "the file is not plain text: save it as ASCII or UTF-8")
		return nil, nil, p.errs
	}
	p.scan(string(text))
	c := p.build()
	p.sortProblems()
	if len(p.errs) > 0 {
		return nil, p.warnings, p.errs
	}
	return c, p.warnings, nil
}

// shellWord returns path in a form that can be pasted into a shell.
func shellWord(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("/._-+@%:,", r)
	}
	if path != "" && path[0] != '-' && strings.TrimFunc(path, plain) == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
