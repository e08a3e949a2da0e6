package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMan(t *testing.T) {
	dir := t.TempDir()
	root := rootCommand()
	root.SetArgs([]string{"man", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for page, wants := range map[string][]string{
		"mlvpn.1":      {".SS status", "\\-\\-yes\\-run\\-as\\-root", ".BR mlvpn.conf (5)"},
		"mlvpn.conf.5": {".B statuscommand", ".B quota_month"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not have %q", page, want)
			}
		}
		if groff, err := exec.LookPath("groff"); err == nil {
			if out, err := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z", filepath.Join(dir, page)).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s: groff: %v\n%s", page, err, out)
			}
		}
	}
}
