// Mutate breaks each security condition of Multilink in turn and checks that a test
// notices:
//
//	go run ./internal/mutate [-run REGEXP] [-list]
//
// It must be run in the root of the module, takes some minutes, and changes no file: the
// compiler gets the broken ones by -overlay. The list is in mutants.go. A mutant that
// survives is a condition that no test defends; one that is stale names code that has
// changed, and must be brought up to date.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A mutant is one condition, broken.
type mutant struct {
	what string // what an attacker could do
	file string
	old  string // exactly once in file
	new  string
	test string // regular expression of tests in the file's package, or in pkg
	pkg  string
}

// A result is what became of a mutant.
type result string

const (
	killed   result = "killed"
	survived result = "SURVIVED"
	stale    result = "STALE"
	broken   result = "DOES NOT COMPILE"
)

func main() {
	list := flag.Bool("list", false, "only list the mutants")
	run := flag.String("run", "", "only those whose description matches this `regexp`")
	flag.Parse()
	want, err := regexp.Compile(*run)
	if err == nil {
		err = check(want, *list)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// check tries the mutants, and returns an error unless all of them are killed.
func check(want *regexp.Regexp, list bool) error {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	counts := make(map[result]int)
	for i := range mutants {
		m := &mutants[i]
		if !want.MatchString(m.what) {
			continue
		}
		if list {
			fmt.Printf("%-28s %s\n    by %s of %s\n", m.file, m.what, m.test, m.dir())
			continue
		}
		start := time.Now()
		r, out, err := m.try(dir)
		if err != nil {
			return err
		}
		counts[r]++
		fmt.Printf("%-16s %-28s %s (%.1f s)\n", r, m.file, m.what, time.Since(start).Seconds())
		if r == broken {
			fmt.Println(out)
		}
	}
	if n := counts[survived] + counts[stale] + counts[broken]; n > 0 {
		return fmt.Errorf("%d mutants survived, %d are stale, %d do not compile", counts[survived], counts[stale], counts[broken])
	}
	if !list {
		fmt.Printf("all %d mutants were killed\n", counts[killed])
	}
	return nil
}

// dir returns the package whose tests are run.
func (m *mutant) dir() string {
	if m.pkg != "" {
		return m.pkg
	}
	return "./" + filepath.Dir(m.file)
}

// mutated returns the file with the condition broken, and false if the condition is not
// there exactly once.
func (m *mutant) mutated() (string, bool, error) {
	src, err := os.ReadFile(m.file)
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return strings.Replace(string(src), m.old, m.new, 1), strings.Count(string(src), m.old) == 1, nil
}

// try runs the mutant's tests with its file in the place of the real one.
func (m *mutant) try(dir string) (result, string, error) {
	src, ok, err := m.mutated()
	if err != nil || !ok {
		return stale, "", err
	}
	path, err := filepath.Abs(m.file)
	if err != nil {
		return "", "", err
	}
	file, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	spec, err := json.Marshal(map[string]map[string]string{"Replace": {path: file}})
	if err != nil {
		return "", "", err
	}
	for name, content := range map[string][]byte{file: []byte(src), overlay: spec} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return "", "", err
		}
	}
	cmd := exec.Command("go", "test", "-overlay", overlay, "-count", "1", "-timeout", "2m", "-run", m.test, m.dir())
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return survived, string(out), nil
	case !errors.As(err, &exit):
		return "", "", err
	case strings.Contains(string(out), "[build failed]") || strings.Contains(string(out), "[setup failed]"):
		return broken, string(out), nil
	}
	return killed, string(out), nil
}
