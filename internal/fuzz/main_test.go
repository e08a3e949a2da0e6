package main

import (
	"os"
	"regexp"
	"slices"
	"testing"
	"time"
)

func TestTargets(t *testing.T) {
	t.Chdir("../..")
	for dir, want := range map[string][]string{
		"internal/wire": {"FuzzHeader", "FuzzPlaintext", "FuzzHandshake", "FuzzParams", "FuzzControl"},
		"internal/gate": {"FuzzToken"},
		"internal/fuzz": nil,
	} {
		all, err := targets(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range all {
			got = append(got, x.name)
		}
		slices.Sort(got)
		slices.Sort(want)
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%s: %q, want %s too", dir, got, w)
			}
		}
		if len(want) == 0 && len(got) > 0 {
			t.Errorf("%s: %q", dir, got)
		}
	}
}

// A target that fails makes the command fail.
func TestFailure(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a package")
	}
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{
		"go.mod":    "module example.com/m\n\ngo 1.26\n",
		"m_test.go": "package m\n\nimport \"testing\"\n\nfunc FuzzGood(f *testing.F) { f.Fuzz(func(*testing.T, []byte) {}) }\n\nfunc FuzzBad(f *testing.F) {\n\tf.Add([]byte{1})\n\tf.Fuzz(func(t *testing.T, b []byte) { t.Error(b) })\n}\n",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := options{time: 100 * time.Millisecond, parallel: 1, want: regexp.MustCompile("Good")}
	if err := o.run(); err != nil {
		t.Error(err)
	}
	o.want = regexp.MustCompile("Bad")
	if err := o.run(); err == nil {
		t.Error("a target failed, the command did not")
	}
}
