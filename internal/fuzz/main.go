// Fuzz runs every fuzz target of the module, one after the other:
//
//	go run ./internal/fuzz [-time 60s] [-run REGEXP] [-parallel 1] [-keep DIR]
//
// It must be run in the root of the module, and fails when a target does. What a target
// finds is then in its package's testdata/fuzz, to be committed with the repair. With
// -keep, the inputs that reached new code are copied to DIR, by package and target.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

type options struct {
	time     time.Duration // of each target
	want     *regexp.Regexp
	parallel int
	keep     string
}

// A target is a fuzz target: pkg is relative to the root of the module, with "./".
type target struct{ pkg, name string }

func main() {
	var o options
	flag.DurationVar(&o.time, "time", time.Minute, "how long each target runs")
	run := flag.String("run", "", "only targets whose package and name match this `regexp`")
	flag.IntVar(&o.parallel, "parallel", 1, "how many processes a target uses")
	flag.StringVar(&o.keep, "keep", "", "copy what was found of interest to this `directory`")
	flag.Parse()
	var err error
	if o.want, err = regexp.Compile(*run); err == nil {
		err = o.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

// run fuzzes all targets that are wanted, and returns an error if one failed.
func (o *options) run() error {
	out, err := exec.Command("go", "list", "-f", "{{if .TestGoFiles}}{{.Dir}}{{end}}{{if .XTestGoFiles}} {{.Dir}}{{end}}", "./...").Output()
	if err != nil {
		return fmt.Errorf("list packages: %w", err)
	}
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	var all []target
	seen := make(map[string]bool)
	for dir := range strings.FieldsSeq(string(out)) {
		rel, err := filepath.Rel(root, dir)
		if err != nil || seen[rel] {
			continue
		}
		seen[rel] = true
		found, err := targets(rel)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	failed, ran := 0, 0
	for _, t := range all {
		if !o.want.MatchString(t.pkg + " " + t.name) {
			continue
		}
		ran++
		if err := o.fuzz(t); err != nil {
			failed++
			fmt.Printf("FAIL %s %s: %v\n", t.pkg, t.name, err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d targets failed", failed, ran)
	}
	fmt.Printf("%d targets, %v each, all passed\n", ran, o.time)
	return nil
}

var function = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

// targets returns the fuzz targets of the package in a directory.
func targets(dir string) (all []target, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for _, m := range function.FindAllSubmatch(src, -1) {
			all = append(all, target{"./" + filepath.ToSlash(dir), string(m[1])})
		}
	}
	return all, nil
}

// timedOut reports whether all that is wrong is that the time was over while an input was
// being tried.
func timedOut(out []byte) bool {
	return bytes.Contains(out, []byte("context deadline exceeded")) && !bytes.Contains(out, []byte("Failing input written"))
}

// fuzz runs one target and prints its last line of progress.
func (o *options) fuzz(t target) error {
	args := []string{"test", t.pkg, "-run", "^$", "-fuzz", "^" + t.name + "$",
		"-fuzztime", o.time.String(), "-parallel", fmt.Sprint(o.parallel),
		"-fuzzminimizetime", "100x"} // else it may take all the time there is
	if o.keep != "" {
		dir, err := filepath.Abs(filepath.Join(o.keep, filepath.FromSlash(t.pkg)))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		args = append(args, "-args", "-test.fuzzcachedir="+dir)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil && timedOut(out) {
		out, err = exec.Command("go", args...).CombinedOutput()
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	var last string
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "fuzz: elapsed") {
			last = lines.Text()
		}
	}
	fmt.Printf("ok   %s %s: %s\n", t.pkg, t.name, strings.TrimPrefix(last, "fuzz: "))
	return nil
}
