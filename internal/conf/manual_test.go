package conf

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestManual(t *testing.T) {
	var b bytes.Buffer
	if err := Manual(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, k := range Reference() {
		if !strings.Contains(text, "\n.B "+k.Name) {
			t.Errorf("%s is missing", k.Name)
		}
	}
	if strings.Contains(text, "`") {
		t.Error("there are backquotes left")
	}
	if err := Manual(failingWriter{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a failing writer gives %v", err)
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("no groff to check the page with")
	}
	cmd := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z")
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff: %v\n%s", err, out)
	}
}

func TestRoff(t *testing.T) {
	for text, want := range map[string]string{
		"plain":            "plain\n",
		".begin\n'middle":  "\\&.begin\n\\&'middle\n",
		`a \ b-c`:          "a \\e b\\-c\n",
		"see `key` for it": "see \\fBkey\\fR for it\n",
	} {
		if got := Roff(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
