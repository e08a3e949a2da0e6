package proctitle

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain is also the program of which TestSet looks at the title.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "child" {
		Prepare()
		kept := os.Args[2]
		Set("!adsl1 @adsl2 ~3g")
		Set("@adsl1 @adsl2")
		text, err := os.ReadFile("/proc/self/cmdline")
		if err != nil {
			os.Exit(1)
		}
		os.Stdout.WriteString(kept + "\n")
		os.Stdout.Write(text)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestSet(t *testing.T) {
	arg := strings.Repeat("x", 64)
	out, err := exec.Command(os.Args[0], "child", arg, "y").Output()
	if err != nil {
		t.Fatal(err)
	}
	kept, title, _ := bytes.Cut(out, []byte("\n"))
	if string(kept) != arg {
		t.Errorf("the title has changed an argument to %q", kept)
	}
	if got := string(bytes.TrimRight(title, "\x00")); got != "@adsl1 @adsl2" {
		t.Errorf("title %q", got)
	}
}

func TestSetUnprepared(t *testing.T) {
	before, _ := os.ReadFile("/proc/self/cmdline")
	Set("title")
	if after, _ := os.ReadFile("/proc/self/cmdline"); !bytes.Equal(before, after) {
		t.Errorf("the title became %q without Prepare", after)
	}
}
