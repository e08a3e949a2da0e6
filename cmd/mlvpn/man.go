package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/multilink-vpn/multilink/internal/conf"
)

// manCommand writes the manual pages, for packages.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.WriteFile(filepath.Join(args[0], "mlvpn.1"), []byte(manual(cmd.Root())), 0o644); err != nil {
				return err
			}
			f, err := os.Create(filepath.Join(args[0], "mlvpn.conf.5"))
			if err != nil {
				return err
			}
			if err := conf.Manual(f); err != nil {
				f.Close()
				return err
			}
			return f.Close()
		},
	}
}

// manual returns mlvpn(1), made of what the commands say of themselves.
func manual(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(".TH MLVPN 1\n.SH NAME\nmlvpn \\- " + conf.Roff(strings.ToLower(root.Short[:1])+root.Short[1:]))
	b.WriteString(".SH SYNOPSIS\n.B " + conf.Roff(root.UseLine()) + ".br\n.B mlvpn\n.I command\n")
	b.WriteString(".SH DESCRIPTION\n" + conf.Roff("Without a command, mlvpn runs a tunnel as its configuration file says, until it is told to stop with SIGTERM. "+
		"SIGHUP makes it read the file again. Its title in ps(1) shows the links: @ is up, ~ is lossy or slow, ! is down."))
	b.WriteString(".SH OPTIONS\n")
	manualFlags(&b, root)
	b.WriteString(".SH COMMANDS\n")
	for _, c := range root.Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		about := c.Long
		if about == "" {
			about = c.Short + "."
		}
		fmt.Fprintf(&b, ".SS %s%s", conf.Roff(strings.TrimPrefix(c.UseLine(), root.Name()+" ")), conf.Roff(about))
		manualFlags(&b, c)
	}
	b.WriteString(".SH FILES\n.TP\n.I /etc/mlvpn/mlvpn.conf\n" + conf.Roff("The usual place of the configuration.") +
		".TP\n.I /var/lib/mlvpn\n" + conf.Roff("What links with a quota have carried.") +
		".SH SEE ALSO\n.BR mlvpn.conf (5)\n")
	return b.String()
}

func manualFlags(b *strings.Builder, c *cobra.Command) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		value, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, ".TP\n.B %s", conf.Roff(strings.TrimSpace(name+" "+value)))
		b.WriteString(conf.Roff(strings.ToUpper(usage[:1]) + usage[1:] + "."))
	})
}
