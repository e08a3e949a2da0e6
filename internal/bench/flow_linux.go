package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"time"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
	"github.com/multilink-vpn/multilink/internal/bench/report"
	"github.com/multilink-vpn/multilink/internal/netlab"
)

// flowPort is where the iperf3 server listens.
const flowPort = 5201

// flowGrace is how long a flow may take besides its duration.
const flowGrace = 20 * time.Second

// flow is a transfer by iperf3, from the server to the client if it goes down.
type flow struct {
	to, from   netip.Addr // of the server, and of the client if it matters
	direction  profile.Direction
	congestion string
	mss        int // zero leaves it to the kernel
	mptcp      bool
	warmUp     time.Duration // that does not count
	duration   time.Duration // that does
}

// flowResult is a flow as the receiver saw it.
type flowResult struct {
	began       time.Time // the first byte arrived
	goodput     float64   // Mbit/s after the warm-up, by iperf3's account
	retransmits int
	progress    report.Progress // since the first byte
}

// run makes the transfer.
func (f flow) run(ctx context.Context, lab *netlab.Lab) (res flowResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.warmUp+f.duration+flowGrace)
	defer cancel()
	server, err := lab.Server.Launch(f.command(ctx, lab.Server, "-4", "-s", "-1", "--forceflush", "-p", strconv.Itoa(flowPort)))
	if err != nil {
		return res, err
	}
	defer server.Kill()
	if err := server.AwaitOutput("Server listening", 5*time.Second); err != nil {
		return res, err
	}

	args := []string{
		"-J", "-c", f.to.String(), "-p", strconv.Itoa(flowPort), "-C", f.congestion,
		"-O", seconds(f.warmUp), "-t", seconds(f.duration), "--connect-timeout", "5000",
	}
	if f.from.IsValid() {
		args = append(args, "-B", f.from.String())
	}
	if f.mss > 0 {
		args = append(args, "-M", strconv.Itoa(f.mss))
	}
	receiver := lab.Server
	if f.direction == profile.Down {
		args = append(args, "-R")
		receiver = lab.Client
	}
	w := watch{receiver: receiver, listens: receiver == lab.Server, mptcp: f.mptcp}
	wctx, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan error, 1)
	go func() { watched <- w.run(wctx) }()
	cmd := f.command(ctx, lab.Client, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	stop()
	werr := <-watched
	switch {
	case ctx.Err() != nil:
		return res, fmt.Errorf("iperf3 did not end: %w", context.Cause(ctx))
	case err != nil:
		return res, iperfError(out, fmt.Errorf("%w: %s", err, stderr.Bytes()))
	case werr != nil:
		return res, werr
	case len(w.progress) == 0:
		return res, errors.New("nothing arrived at the receiver of iperf3")
	}
	res.began, res.progress = w.began, w.progress
	return res, res.parse(out)
}

// command returns iperf3 with args, in a mind to use MPTCP if it is to.
func (f flow) command(ctx context.Context, h *netlab.Host, args ...string) *exec.Cmd {
	if f.mptcp {
		return h.CommandContext(ctx, "mptcpize", append([]string{"run", "iperf3"}, args...)...)
	}
	return h.CommandContext(ctx, "iperf3", args...)
}

// iperfOutput is what is used of iperf3's JSON.
type iperfOutput struct {
	Error string
	End   struct {
		Sent struct {
			Retransmits int
		} `json:"sum_sent"`
		Received struct {
			BitsPerSecond float64 `json:"bits_per_second"`
		} `json:"sum_received"`
	}
}

func (res *flowResult) parse(text []byte) error {
	var out iperfOutput
	if err := json.Unmarshal(text, &out); err != nil {
		return fmt.Errorf("output of iperf3: %w", err)
	}
	if out.Error != "" {
		return fmt.Errorf("iperf3: %s", out.Error)
	}
	res.goodput, res.retransmits = out.End.Received.BitsPerSecond/1e6, out.End.Sent.Retransmits
	return nil
}

// iperfError prefers what iperf3 says itself.
func iperfError(text []byte, err error) error {
	var out iperfOutput
	if json.Unmarshal(text, &out) == nil && out.Error != "" {
		return fmt.Errorf("iperf3: %s", out.Error)
	}
	return fmt.Errorf("iperf3: %w", err)
}

// seconds rounds up: iperf3 takes whole ones.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
