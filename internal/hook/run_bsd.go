//go:build unix && !linux

package hook

import (
	"context"
	"os"
	"os/exec"
	"syscall"
)

// openScript does not wait for a writer if the file is a FIFO.
func openScript(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// command runs the path: these systems cannot run an open file. The checks of the
// directories above it leave only root and this user to exchange it.
func command(ctx context.Context, _ *os.File, path string, args []string) *exec.Cmd {
	return exec.CommandContext(ctx, path, args...)
}
