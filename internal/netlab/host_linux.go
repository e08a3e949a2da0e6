package netlab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"

	"github.com/multilink-vpn/multilink/internal/netlab/netns"
)

// Host is one of the two ends of the lines, a network namespace. Its methods are safe
// for concurrent use.
type Host struct {
	// Name is the name of the network namespace, for "ip netns exec".
	Name string

	tool string
}

// Command returns a command that runs in the host when started. Its process is the
// named program itself, so that signals reach it. If it is still running when the lab
// ends, it is killed.
func (h *Host) Command(name string, args ...string) *exec.Cmd {
	return h.CommandContext(context.Background(), name, args...)
}

// CommandContext is like [Host.Command] and kills the program when ctx is done.
func (h *Host) CommandContext(ctx context.Context, name string, args ...string) *exec.Cmd {
	file, err := exec.LookPath(name)
	cmd := exec.CommandContext(ctx, h.tool, append([]string{"exec", h.Name, file}, args...)...)
	if err != nil {
		cmd.Err = err
	}
	return cmd
}

// Run runs a program in the host to its end and returns what it wrote to standard
// output. The error has what it wrote to standard error.
func (h *Host) Run(name string, args ...string) (string, error) {
	cmd := h.Command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("run %s on %s: %w: %s", strings.Join(append([]string{name}, args...), " "), h.Name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// Do calls fn in the host: sockets that fn makes stay there, wherever they are used
// later. fn runs in the calling goroutine, on a locked thread; goroutines that it starts
// run outside of the host. So does a name lookup: use addresses.
func (h *Host) Do(fn func() error) error {
	return netns.Do(netns.Path(h.Name), fn)
}

// Dial connects from the host. The address is numeric.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.dial(ctx, net.Dialer{}, network, address)
}

func (h *Host) dial(ctx context.Context, d net.Dialer, network, address string) (c net.Conn, err error) {
	err = h.Do(func() error {
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Listen announces on a numeric address of the host.
func (h *Host) Listen(network, address string) (l net.Listener, err error) {
	err = h.Do(func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// ListenPacket announces on a numeric address of the host.
func (h *Host) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = h.Do(func() error {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}
