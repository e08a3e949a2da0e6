package hook

import (
	"context"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// openScript opens the file without the right to read it, which running it does not
// need, and without waiting for a writer if it is a FIFO.
func openScript(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// command runs the open file rather than what its path leads to by now. The child
// inherits the file as descriptor 3, because the interpreter that a #! line names
// opens the script once more, by this path.
func command(ctx context.Context, f *os.File, path string, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3", args...)
	cmd.Args[0] = path
	cmd.ExtraFiles = []*os.File{f}
	return cmd
}
