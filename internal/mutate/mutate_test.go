package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The list names code that is there: whoever changes such code brings it up to date.
func TestMutantsAreNotStale(t *testing.T) {
	t.Chdir("../..")
	seen := make(map[string]bool)
	for _, m := range mutants {
		switch src, ok, err := m.mutated(); {
		case err != nil:
			t.Error(err)
		case !ok:
			t.Errorf("%s: %q is not there exactly once (%s): bring internal/mutate/mutants.go up to date", m.file, m.old, m.what)
		case src == "" || m.old == m.new || m.test == "":
			t.Errorf("%s: %q is no mutation", m.file, m.old)
		}
		if _, err := regexp.Compile(m.test); err != nil {
			t.Error(err)
		}
		if seen[m.what] {
			t.Errorf("there are two of %q", m.what)
		}
		seen[m.what] = true
	}
}

// Each verdict is given when it should be, on a module made for it.
func TestVerdicts(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles packages")
	}
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{
		"go.mod":      "module example.com/m\n\ngo 1.26\n",
		"m.go":        "package m\n\nfunc ok(n int) bool { return n > 3 }\n\nfunc loose(n int) bool { return n > 5 }\n",
		"m_test.go":   "package m\n\nimport \"testing\"\n\nfunc TestOK(t *testing.T) {\n\tif ok(3) || !ok(4) || !loose(6) {\n\t\tt.Error()\n\t}\n}\n",
		"sub/.ignore": "",
	} {
		if dir, _, ok := strings.Cut(name, "/"); ok {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		old, new string
		want     result
	}{
		{"n > 3", "n >= 3", killed}, {"n > 5", "n >= 5", survived}, {"n > 7", "n", stale}, {"n > 3", "n", broken}, {"return", "return", stale},
	} {
		m := mutant{what: "x", file: "m.go", old: tc.old, new: tc.new, test: "TestOK"}
		got, out, err := m.try(t.TempDir())
		if err != nil || got != tc.want {
			t.Errorf("%q for %q: %s, want %s; %v\n%s", tc.new, tc.old, got, tc.want, err, out)
		}
	}
}
