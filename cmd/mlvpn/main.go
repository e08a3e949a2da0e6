// Command mlvpn bonds several internet lines into one encrypted tunnel, as an
// mlvpn.conf describes it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/multilink-vpn/multilink/internal/daemon"
	"github.com/multilink-vpn/multilink/internal/hook"
	"github.com/multilink-vpn/multilink/internal/proctitle"
)

func main() {
	proctitle.Prepare()
	if err := rootCommand().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "mlvpn:", err)
		os.Exit(1)
	}
}

// rootCommand returns the daemon's command line. The options are MLVPN's.
func rootCommand() *cobra.Command {
	var (
		opts             daemon.Options
		debugging, quiet bool
		verbosity        int
	)
	cmd := &cobra.Command{
		Use:     "mlvpn -c FILE",
		Short:   "Bond several internet lines into one encrypted tunnel",
		Version: version(),
		Args:    cobra.NoArgs,
		// Errors are printed once, by main, and a failure at run time is no reason to
		// explain the options.
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.Config == "" {
				return errors.New("no configuration file: name one with -c FILE, or try `mlvpn demo`")
			}
			opts.Log = newLogger(debugging || verbosity > 0, quiet, opts.Name)
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			opts.Reload, opts.Version = hangups(ctx), version()
			return daemon.Run(ctx, opts)
		},
	}
	cmd.SetContext(context.Background())
	cmd.CompletionOptions.DisableDefaultCmd = true
	f := cmd.Flags()
	f.StringVarP(&opts.Config, "config", "c", "", "the configuration `FILE`")
	f.StringVarP(&opts.Name, "name", "n", "", "the `NAME` of this instance in logs and at the peer")
	f.StringVarP(&opts.User, "user", "u", "", "the `USER` to run as once privileges are no longer needed")
	f.BoolVar(&opts.AllowRoot, "yes-run-as-root", false, "go on as root")
	f.BoolVar(&debugging, "debug", false, "log details")
	f.CountVarP(&verbosity, "verbose", "v", "log details")
	f.BoolVarP(&quiet, "quiet", "q", false, "log only warnings and errors")
	f.BoolP("version", "V", false, "print the version")
	cmd.SetVersionTemplate("mlvpn {{.Version}}\n")
	cmd.AddCommand(demoCommand(), statusCommand(), manCommand(), hookCommand(), privilegedCommand(), networkCommand(), checkCommand(), manageCommand())
	cmd.AddCommand(setupCommands()...)
	return cmd
}

// hangups returns where each SIGHUP shows, with which MLVPN, too, is told to reload,
// until ctx is done. Several while a reload is under way count for one.
func hangups(ctx context.Context) <-chan struct{} {
	signals, requests := make(chan os.Signal, 1), make(chan struct{}, 1)
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-signals:
			case <-ctx.Done():
				return
			}
			select {
			case requests <- struct{}{}:
			default:
			}
		}
	}()
	return requests
}

// hookCommand is for the daemon itself, which starts it before it gives up root.
func hookCommand() *cobra.Command {
	return &cobra.Command{
		Use:    daemon.HookCommand,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			signal.Ignore(syscall.SIGHUP) // which is for the daemon, by whatever name it is found
			return hook.Serve(os.Stdin, newLogger(false, false, ""))
		},
	}
}

// privilegedCommand is for the daemon itself, which starts it before it gives up root.
func privilegedCommand() *cobra.Command {
	return &cobra.Command{
		Use:    daemon.PrivilegedCommand,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			signal.Ignore(syscall.SIGHUP) // which is for the daemon, by whatever name it is found
			return daemon.ServePrivileged(os.Stdin, os.Stdout)
		},
	}
}

// release is the version of a packaged build, which the linker sets.
var release string

func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
