package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/multilink-vpn/multilink/internal/demo"
)

// demoCommand shows the tunnel at work in one process.
func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show the tunnel at work: three simulated lines, no root, no network",
		Long: `demo runs a client and a server in one process, over a simulated ADSL, LTE and
Starlink line, and downloads through them with a real TCP (gVisor's, in user space).
It measures the best line alone and then all of them together, cuts a line without
notice while the download runs, restores it, and compares what was sent with what
was received.

It takes about 20 seconds, needs no privileges and changes nothing on this machine.
The exit status is 0 if everything is as it should be, else 1.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			_, err := demo.Run(ctx, demo.Config{
				Out:      os.Stdout,
				Terminal: isTerminal(os.Stdout),
				Color:    os.Getenv("NO_COLOR") == "",
			})
			switch {
			case errors.Is(err, context.Canceled):
				return errors.New("interrupted")
			case err != nil:
				return fmt.Errorf("demo: %w", err)
			}
			return nil
		},
	}
}

// isTerminal reports whether f is a terminal that understands ANSI escape sequences.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	switch {
	case os.Getenv("TERM") == "dumb":
		return false
	case runtime.GOOS == "windows":
		// The old console shows the sequences as text unless it is told not to.
		return os.Getenv("WT_SESSION") != "" || os.Getenv("TERM") != ""
	}
	return true
}
