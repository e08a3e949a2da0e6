package main

import (
	"bytes"
	"strings"
	"testing"
)

func run(args ...string) (string, error) {
	var out bytes.Buffer
	cmd := rootCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.Execute()
	return out.String(), err
}

func TestOptions(t *testing.T) {
	for _, flag := range []string{"-V", "--version"} {
		if out, err := run(flag); err != nil || !strings.HasPrefix(out, "mlvpn ") {
			t.Errorf("%s: %q, %v", flag, out, err)
		}
	}
	for _, flag := range []string{"-h", "--help"} {
		out, err := run(flag)
		if err != nil {
			t.Errorf("%s: %v", flag, err)
		}
		for _, option := range []string{"-c, --config FILE", "--debug", "-n, --name NAME", "-u, --user USER", "-v, --verbose", "-q, --quiet", "-V, --version", "--yes-run-as-root", "demo"} {
			if !strings.Contains(out, option) {
				t.Errorf("%s says nothing of %s:\n%s", flag, option, out)
			}
		}
		if strings.Contains(out, "run-status-command") {
			t.Errorf("%s shows what is for the daemon only", flag)
		}
	}
}

func TestMistakes(t *testing.T) {
	for want, args := range map[string][]string{
		"-c FILE":         {},
		"nonexistent":     {"-c", "/nonexistent/mlvpn.conf", "-q"},
		"--nonsense":      {"--nonsense"},
		"unknown command": {"nonsense"},
	} {
		if _, err := run(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one that mentions %q", args, err, want)
		}
	}
}
