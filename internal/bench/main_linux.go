// Command bench measures the daemon with real traffic over emulated lines: the kernel's
// TCP by iperf3, and pings, between two network namespaces of this machine. It needs
// root, iperf3, and for the comparison with the kernel's MPTCP mptcpize and ip.
//
//	go run ./internal/bench -h
//
// docs/bench.md describes it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
	"github.com/multilink-vpn/multilink/internal/bench/report"
	"github.com/multilink-vpn/multilink/internal/netlab"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	profiles    []profile.Profile
	only        []string // kinds of report.Run
	congestion  []string
	directions  []profile.Direction
	duration    time.Duration // of a measurement, after the warm-up
	warmUp      time.Duration
	cut         time.Duration
	repetitions int
	seed        uint64
	binary      string
	settings    []string
	json        string
	verbose     bool
}

// run writes the table to stdout, and what happens meanwhile to stderr.
func run(args []string, stdout, stderr io.Writer) error {
	opts, list, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case list:
		return listProfiles(stdout)
	}
	if err := netlab.Supported(); err != nil {
		return fmt.Errorf("%w; run it as root on Linux", err)
	}
	if err := findTools(opts.only); err != nil {
		return err
	}
	if opts.binary == "" {
		if opts.binary, err = netlab.BuildProgram("cmd/mlvpn"); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := bench{options: opts, args: args, started: time.Now(), stdout: stdout, stderr: stderr}
	for rep := range opts.repetitions {
		for _, p := range opts.profiles {
			if err := b.profile(ctx, p, rep); err != nil {
				return errors.Join(err, b.report())
			}
		}
	}
	return b.report()
}

func parseFlags(args []string, stderr io.Writer) (o options, list bool, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(f.Output(), "usage: bench [flags] PROFILE...\n\nA PROFILE is a name, a group (design, mqvpn, users, all) or lines, as in \"50/10, 20 + 12, 45 ±8, 0.5 %\".\n\n")
		f.PrintDefaults()
	}
	f.BoolVar(&list, "list", false, "list the profiles and end")
	only := f.String("only", "raw,alone,tunnel,mptcp,blackhole", "what to run")
	congestion := f.String("cc", "cubic,bbr", "the congestion controls")
	directions := f.String("dir", "down,up", "the directions of the data")
	f.DurationVar(&o.duration, "t", 0, "how long to measure a flow (default 10s, 30s if the lines vary)")
	f.DurationVar(&o.warmUp, "warm", 4*time.Second, "how long a flow runs before that")
	f.DurationVar(&o.cut, "cut", 3*time.Second, "how long a line is cut")
	f.IntVar(&o.repetitions, "n", 1, "repetitions; the table has the medians")
	f.Uint64Var(&o.seed, "seed", 1, "of the lines' random draws in the first repetition")
	f.StringVar(&o.binary, "bin", "", "the daemon; by default cmd/mlvpn is built")
	f.StringVar(&o.json, "json", filepath.Join(os.TempDir(), "multilink-bench.json"), "where to write the raw results")
	f.BoolVar(&o.verbose, "v", false, "show what the daemons log")
	f.Func("set", "`key=value` to add to the daemons' [general], or with server., client., link. or lineN. before it, to that file or section; may be repeated", func(s string) error {
		if !strings.Contains(s, "=") {
			return errors.New("want key=value")
		}
		o.settings = append(o.settings, s)
		return nil
	})
	if err := f.Parse(args); err != nil || list {
		return o, list, err
	}
	o.only, o.congestion = strings.Split(*only, ","), strings.Split(*congestion, ",")
	if o.directions, err = parseDirections(*directions); err != nil {
		return o, false, err
	}
	for _, kind := range o.only {
		if !slices.Contains([]string{report.Raw, report.Alone, report.Tunnel, report.MPTCP, report.Blackhole}, kind) {
			return o, false, fmt.Errorf("-only %s: no such measurement", kind)
		}
	}
	names := f.Args()
	if len(names) == 0 {
		names = []string{profile.GroupDesign}
	}
	o.profiles, err = profile.Select(names)
	return o, false, err
}

func parseDirections(s string) (all []profile.Direction, err error) {
	for _, name := range strings.Split(s, ",") {
		i := slices.IndexFunc(profile.Directions[:], func(d profile.Direction) bool { return d.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("-dir %s: want down, up or both", name)
		}
		all = append(all, profile.Directions[i])
	}
	return all, nil
}

func listProfiles(w io.Writer) error {
	table, err := profile.Table()
	if err != nil {
		return err
	}
	for _, p := range table {
		fmt.Fprintf(w, "%-7s %-18s %s\n", p.Group, p.Name, p)
	}
	return nil
}

func findTools(only []string) error {
	tools := []string{"iperf3"}
	if slices.Contains(only, report.MPTCP) {
		tools = append(tools, "mptcpize", "ip")
	}
	for _, name := range tools {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%w: on Debian, apt-get install iperf3 mptcpize iproute2; without mptcpize, leave out mptcp with -only", err)
		}
	}
	return nil
}
