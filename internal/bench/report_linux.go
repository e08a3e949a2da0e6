package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
	"github.com/multilink-vpn/multilink/internal/bench/report"
)

// report writes the raw results and the table.
func (b *bench) report() error {
	if len(b.runs) == 0 {
		return nil
	}
	text, err := json.MarshalIndent(b.runs, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.json, append(text, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Fprintln(b.stderr, "raw results in", b.json)
	fmt.Fprintf(b.stdout, "%s\n\n", b.circumstances())
	return report.WriteTable(b.stdout, report.Rows(b.runs), b.slowest)
}

// circumstances says what a reader needs to judge the table and to repeat it.
func (b *bench) circumstances() string {
	var s strings.Builder
	fmt.Fprintf(&s, "Measured on %s, %s, %d processors:\n\n```sh\nbench", b.started.UTC().Format("2006-01-02 15:04 MST"), kernel(), runtime.NumCPU())
	for _, arg := range b.args {
		if strings.ContainsAny(arg, " *?$`\"\\") {
			arg = "'" + arg + "'"
		}
		s.WriteString(" " + arg)
	}
	s.WriteString("\n```\n\n| profile | lines |\n|---|---|\n")
	for _, p := range b.profiles {
		fmt.Fprintf(&s, "| %s | %s |\n", p.Name, p)
	}
	return strings.TrimSuffix(s.String(), "\n")
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return runtime.GOOS
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// slowest returns the rate of the slowest line in a row's direction, in Mbit/s.
func (b *bench) slowest(r report.Row) float64 {
	d := profile.Down
	if r.Direction == profile.Up.String() {
		d = profile.Up
	}
	for _, p := range b.profiles {
		if p.Name != r.Profile || p.String() != r.Lines {
			continue
		}
		least := p.Lines[0].Rate[d]
		for _, l := range p.Lines {
			least = min(least, l.Rate[d])
		}
		return least / 1e6
	}
	return 0
}
