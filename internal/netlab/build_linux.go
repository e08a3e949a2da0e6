package netlab

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const module = "github.com/multilink-vpn/multilink"

// builds are the programs that this process has built. It is the package's only
// state: a program is the same for all labs, and linking it takes a second.
var builds struct {
	mu   sync.Mutex
	dir  string
	life io.Closer // the process that removes dir does so when this closes
	done map[string]build
}

type build struct {
	path string
	err  error
}

// BuildDaemon builds the daemon, cmd/mlvpn, and returns the path of the program. It is
// built without the race detector, once per process, and removed when the process ends.
func BuildDaemon(tb testing.TB) string {
	tb.Helper()
	return Build(tb, "cmd/mlvpn")
}

// Build builds the main package in the directory dir of the module, as [BuildDaemon]
// does for the daemon.
func Build(tb testing.TB, dir string) string {
	tb.Helper()
	bin, err := BuildProgram(dir)
	if err != nil {
		tb.Fatalf("netlab: %v", err)
	}
	return bin
}

// buildTool builds the program that runs the lab's own processes.
func buildTool() (string, error) {
	return BuildProgram("internal/netlab/cmd/netlab")
}

// BuildProgram is [Build] outside of a test.
func BuildProgram(dir string) (string, error) {
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if builds.done == nil {
		if err := openBuilds(); err != nil {
			return "", err
		}
	}
	b, ok := builds.done[dir]
	if !ok {
		b.path, b.err = goBuild(dir)
		builds.done[dir] = b
	}
	return b.path, b.err
}

// openBuilds makes the directory for the programs, with a process that removes it when
// this one ends in whatever way.
func openBuilds() error {
	dir, err := os.MkdirTemp("", "netlab-")
	if err != nil {
		return fmt.Errorf("directory for programs: %w", err)
	}
	if err := dependOnSources(); err != nil {
		os.RemoveAll(dir)
		return err
	}
	builds.dir = dir
	tool, err := goBuild("internal/netlab/cmd/netlab")
	if err != nil {
		os.RemoveAll(dir)
		return err
	}
	reap := exec.Command(tool, "reap", dir)
	reap.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if builds.life, err = reap.StdinPipe(); err == nil {
		err = reap.Start()
	}
	if err != nil {
		os.RemoveAll(dir)
		return fmt.Errorf("watch directory for programs: %w", err)
	}
	builds.done = map[string]build{"internal/netlab/cmd/netlab": {path: tool}}
	return nil
}

// dependOnSources makes the module's sources inputs of the test. The go command records
// the files that a test looks at and caches its result until one of them changes; those
// that goBuild compiles it would not know of.
func dependOnSources() error {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	root := filepath.Dir(string(mod))
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"):
			_, err = os.Stat(name)
		}
		return err
	})
}

func goBuild(dir string) (string, error) {
	bin := filepath.Join(builds.dir, path.Base(dir))
	cmd := exec.Command("go", "build", "-race=false", "-o", bin, path.Join(module, dir))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", dir, err, out.Bytes())
	}
	return bin, nil
}
