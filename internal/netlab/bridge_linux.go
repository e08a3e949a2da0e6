package netlab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"

	"github.com/multilink-vpn/multilink/internal/netlab/wan"
)

// bridge is the process that bridges the lines.
type bridge struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	stderr *bytes.Buffer // complete when the process has ended
}

func startBridge(tool string) (*bridge, error) {
	b := &bridge{cmd: exec.Command(tool, "bridge"), stderr: new(bytes.Buffer)}
	b.cmd.Stderr = b.stderr
	// In a group of its own it outlives an interrupt from the terminal, and cleans up.
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if b.in, err = b.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start bridge: %w", err)
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start bridge: %w", err)
	}
	b.out = json.NewDecoder(out)
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start bridge: %w", err)
	}
	return b, nil
}

// call sends a request and waits for the reply. Calls must not overlap.
func (b *bridge) call(req wan.Request) (reply wan.Reply, err error) {
	line, err := json.Marshal(req)
	if err != nil {
		return reply, fmt.Errorf("request to the bridge: %w", err)
	}
	if _, err := b.in.Write(append(line, '\n')); err != nil {
		return reply, fmt.Errorf("request to the bridge: %w", err)
	}
	if err := b.out.Decode(&reply); err != nil {
		return reply, fmt.Errorf("reply of the bridge: %w", err)
	}
	if reply.Error != "" {
		return reply, errors.New(reply.Error)
	}
	return reply, nil
}

// close ends the process, which removes the namespaces under its guard first.
func (b *bridge) close() error {
	b.in.Close()
	if err := b.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(b.stderr.Bytes()))
	}
	return nil
}
