//go:build unix

package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// killDelay is how long after the end of a script its output is still read, when a
// process that it left behind holds it open.
const killDelay = 2 * time.Second

// open opens the script and checks that the open file is fit to be run.
func open(path string) (*os.File, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q is not an absolute path", path)
	}
	if err := checkDirs(path); err != nil {
		return nil, err
	}
	f, err := openScript(path)
	if err != nil {
		return nil, err
	}
	if err := checkScript(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return f, nil
}

func checkScript(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot be checked: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	if uid, ok := strangeOwner(fi); ok {
		return fmt.Errorf("belongs to uid %d: run chown %d on it", uid, os.Geteuid())
	}
	if perm := fi.Mode().Perm(); perm&0o022 != 0 {
		return fmt.Errorf("is writable by others (mode %04o): run chmod 700 on it", perm)
	} else if perm&0o111 == 0 {
		return fmt.Errorf("is not executable (mode %04o): run chmod 700 on it", perm)
	}
	return nil
}

// checkDirs checks the directories above path, and above the file that it leads to.
func checkDirs(path string) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for _, p := range []string{filepath.Clean(path), target} {
		for dir := filepath.Dir(p); ; dir = filepath.Dir(dir) {
			fi, err := os.Stat(dir)
			if err != nil {
				return err
			}
			if uid, ok := strangeOwner(fi); ok {
				return fmt.Errorf("%s: the directory %s belongs to uid %d, who can exchange the file", path, dir, uid)
			}
			if fi.Mode().Perm()&0o022 != 0 && fi.Mode()&fs.ModeSticky == 0 {
				return fmt.Errorf("%s: the directory %s is writable by others (mode %04o), who can exchange the file", path, dir, fi.Mode().Perm())
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return nil
}

// strangeOwner returns the owner if it is neither root nor this process's user.
func strangeOwner(fi fs.FileInfo) (uid uint32, strange bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, true
	}
	return st.Uid, st.Uid != 0 && int(st.Uid) != os.Geteuid()
}

// runScript runs the script once and logs how it ended.
func (r *Runner) runScript(ctx context.Context, e Event) {
	log := r.cfg.log().With("event", string(e.Type))
	if e.aboutLink() {
		log = log.With("link", e.Link)
	}
	f, err := open(r.cfg.Path)
	if err != nil {
		log.Error("status command refused", "err", err)
		return
	}
	defer f.Close()

	runCtx, cancel := context.WithTimeout(ctx, r.cfg.timeout())
	defer cancel()
	cmd := command(runCtx, f, r.cfg.Path, r.args(e))
	cmd.Env = r.env()
	cmd.Dir = "/"
	Detach(cmd)
	cmd.Cancel = func() error {
		// The script leads its group, so its process id is the group's.
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	cmd.WaitDelay = killDelay
	out := &lineLogger{log: log, left: maxOutput}
	cmd.Stdout, cmd.Stderr = out, out

	start := time.Now()
	err = cmd.Run()
	out.finish()
	took := time.Since(start).Round(time.Millisecond)
	switch {
	case runCtx.Err() != nil && ctx.Err() == nil:
		log.Error("status command killed: it took too long", "limit", r.cfg.timeout())
	case runCtx.Err() != nil:
		log.Warn("status command killed: the daemon stops", "after", took)
	case errors.Is(err, exec.ErrWaitDelay):
		log.Warn("status command left a process behind that holds its output open", "after", took)
	case err != nil:
		log.Error("status command failed", "err", err, "after", took)
	default:
		log.Debug("status command done", "after", took)
	}
}

// Detach puts a program into a process group of its own.
func Detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
