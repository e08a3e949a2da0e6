//go:build !unix

package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

func open(path string) (*os.File, error) {
	return nil, fmt.Errorf("run %s: status commands do not work on %s: %w", path, runtime.GOOS, errors.ErrUnsupported)
}

// runScript has nothing to do: New fails on this system.
func (r *Runner) runScript(context.Context, Event) {}

// Detach does nothing: there are no process groups to leave.
func Detach(*exec.Cmd) {}
