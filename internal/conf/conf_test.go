package conf

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// fixed makes the password in messages predictable.
func fixed() Options {
	return Options{GeneratePassword: func() string { return "GENERATED0PASSWORD" }}
}

// report renders what parsing text gives: warnings, errors, and the Config.
func report(name, text string) (out string, ok bool) {
	var b strings.Builder
	c, warnings, err := fixed().Parse(name, strings.NewReader(text))
	for _, w := range warnings {
		b.WriteString("warning: " + w.String() + "\n")
	}
	var errs Errors
	if errors.As(err, &errs) {
		for _, e := range errs {
			b.WriteString("error: " + e.Error() + "\n")
		}
	} else if err != nil {
		b.WriteString(err.Error() + "\n")
	}
	if c != nil {
		b.WriteString("\n" + render(c))
	}
	return b.String(), err == nil
}

func golden(t *testing.T, dir, ext string, wantOK bool) {
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.conf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".conf")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := report(name+".conf", string(text))
			if ok != wantOK {
				t.Errorf("parsed without an error: %v, want %v\n%s", ok, wantOK, got)
			}
			goldenFile := strings.TrimSuffix(file, ".conf") + ext
			if *update {
				if err := os.WriteFile(goldenFile, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(goldenFile)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestGood(t *testing.T) { golden(t, "good", ".out", true) }

func TestBad(t *testing.T) { golden(t, "bad", ".err", false) }

// TestSecretsAreNotShown looks for the secrets of the test files in all messages.
func TestSecretsAreNotShown(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*", "*.conf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out, _ := report(file, string(text))
		out, _, _ = strings.Cut(out, "\n\n") // without the Config
		for _, secret := range []string{"hunter", "ml1", "pleasechange", "qzrm", "apozie", "defghij", "w0rd", "not here"} {
			for line := range strings.Lines(out) {
				// The examples in messages contain the prefix of keys, but no key.
				if strings.Contains(strings.ReplaceAll(line, "ml1...", ""), secret) {
					t.Errorf("%s: %q is in the message %s", file, secret, line)
				}
			}
		}
	}
}

func TestReferenceIsComplete(t *testing.T) {
	seen := make(map[string]bool)
	for _, k := range Reference() {
		for _, name := range k.names() {
			if id := string(k.Section) + "." + name; seen[id] {
				t.Errorf("%s is there twice", id)
			} else {
				seen[id] = true
			}
		}
		if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s has no sentence as its Doc", k.Name)
		}
		if k.Status == Historic {
			continue
		}
		if k.set == nil {
			t.Errorf("%s is not stored", k.Name)
		}
		p := &parser{name: "x", keys: Reference()}
		it, ok := p.item(1, k.line(), true, false)
		if !ok {
			t.Fatalf("%s: the example is no item: %v", k.Name, p.errs)
		}
		p.value(&k, it)
		if len(p.errs)+len(p.warnings) > 0 {
			t.Errorf("%s: the example %s is not valid: %v %v", k.Name, k.Example, p.errs, p.warnings)
		}
	}
}

func TestMarkdown(t *testing.T) {
	var b bytes.Buffer
	if err := Markdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, k := range Reference() {
		if !strings.Contains(b.String(), "| `"+k.Name+"`") {
			t.Errorf("%s is missing", k.Name)
		}
	}
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "|") && strings.Count(line, "|") != 5 {
			t.Errorf("not four cells: %s", line)
		}
	}
	if err := Markdown(failingWriter{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a failing writer gives %v", err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestGeneratedPasswordIsStrong(t *testing.T) {
	a, b := Options{}.generatePassword(), Options{}.generatePassword()
	if a == b || len(a) < minPassword {
		t.Errorf("generated %q and %q", a, b)
	}
}
