package netlab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stopGrace is how long a process has to end after SIGTERM.
const stopGrace = 5 * time.Second

// Process is a program that runs in the background on a host.
type Process struct {
	name   string
	cmd    *exec.Cmd
	output output
	done   chan struct{} // closed when the program has ended
	err    error         // of the program, valid when done is closed
}

// Start starts a program on the host, to be stopped when the test ends. If the test has
// failed by then, what the program wrote is logged. It fails the test if the program
// cannot be started.
func (h *Host) Start(tb testing.TB, name string, args ...string) *Process {
	tb.Helper()
	return h.StartCommand(tb, h.Command(name, args...))
}

// StartCommand is like [Host.Start], with a command made by [Host.Command] and then
// given an environment or a directory. Its Stdout and Stderr are taken.
func (h *Host) StartCommand(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	p, err := h.Launch(cmd)
	if err != nil {
		tb.Fatalf("netlab: %v", err)
	}
	tb.Cleanup(func() {
		p.Stop()
		if tb.Failed() {
			tb.Logf("netlab: %s wrote:\n%s", p.name, p.Output())
		}
	})
	return p
}

// Launch is [Host.StartCommand] for any lab: the caller stops the program, or the end of
// the lab kills it.
func (h *Host) Launch(cmd *exec.Cmd) (*Process, error) {
	// Arguments 0 to 2 are those of the lab's own program.
	name := h.Name
	if len(cmd.Args) > 3 {
		name = filepath.Base(cmd.Args[3]) + " on " + h.Name
	}
	p := &Process{name: name, cmd: cmd, done: make(chan struct{})}
	p.output.grown = make(chan struct{})
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	// An interrupt from the terminal is for the test, which stops the program.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A child that keeps the output open must not keep Wait.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Pid returns the process ID.
func (p *Process) Pid() int {
	return p.cmd.Process.Pid
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} {
	return p.done
}

// Signal sends a signal to the program. One that has ended is an error.
func (p *Process) Signal(sig os.Signal) error {
	return p.cmd.Process.Signal(sig)
}

// Stop asks the program to end with SIGTERM, kills it if it has not after 5 seconds, and
// returns what [exec.Cmd.Wait] does. It may be called again.
func (p *Process) Stop() error {
	// Signalling fails only if it has ended already.
	_ = p.Signal(syscall.SIGTERM)
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-p.done:
		return p.err
	case <-grace.C:
		return p.Kill()
	}
}

// Kill ends the program with SIGKILL, as a crash would, and returns what
// [exec.Cmd.Wait] does.
func (p *Process) Kill() error {
	_ = p.cmd.Process.Kill()
	<-p.done
	return p.err
}

// Output returns what the program has written so far to standard output and error.
func (p *Process) Output() string {
	s, _ := p.output.read()
	return s
}

// WaitOutput waits until the program has written text, and fails the test if it ends
// before, or has not after the given time.
func (p *Process) WaitOutput(tb testing.TB, text string, timeout time.Duration) {
	tb.Helper()
	if err := p.AwaitOutput(text, timeout); err != nil {
		tb.Fatalf("netlab: %v", err)
	}
}

// AwaitOutput is [Process.WaitOutput] for any lab.
func (p *Process) AwaitOutput(text string, timeout time.Duration) error {
	late := time.NewTimer(timeout)
	defer late.Stop()
	for {
		out, grown := p.output.read()
		if strings.Contains(out, text) {
			return nil
		}
		select {
		case <-grown:
		case <-p.done:
			if !strings.Contains(p.Output(), text) {
				return fmt.Errorf("%s ended (%v) before it wrote %q", p.name, p.err, text)
			}
			return nil
		case <-late.C:
			return fmt.Errorf("%s did not write %q in %v", p.name, text, timeout)
		}
	}
}

// CPU returns the processor time that the program has used so far, its threads
// included, its children not, in steps of 10 ms.
func (p *Process) CPU() (time.Duration, error) {
	return cpuTime(p.Pid())
}

func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	// proc_pid_stat(5): the name, in parentheses, may hold anything; utime and stime are
	// the 12th and 13th fields after it, in ticks of 1/100 s.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("processor time of %d: unexpected format", pid)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		var n int64
		if _, err := fmt.Sscan(string(f), &n); err != nil {
			return 0, fmt.Errorf("processor time of %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// output collects what a program writes.
type output struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	grown chan struct{} // closed and replaced by each Write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.grown)
	o.grown = make(chan struct{})
	return o.buf.Write(b)
}

func (o *output) read() (s string, grown <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String(), o.grown
}
