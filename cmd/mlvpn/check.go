package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/multilink-vpn/multilink/internal/daemon"
	"github.com/multilink-vpn/multilink/internal/netcfg"
)

// checkCommand examines the host.
func checkCommand() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Say what on this host is in the way of a configuration",
		Long: "Say what on this host is missing, contradictory or dangerous for a configuration, and\n" +
			"what to do about it. It changes nothing. The exit status is 0 if there is no error.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return errNoConfig
			}
			problems := daemon.Check(cmd.Context(), file)
			if err := printProblems(cmd.OutOrStdout(), problems, asJSON); err != nil {
				return err
			}
			for _, p := range problems {
				if p.Severity == netcfg.Failure {
					return errors.New("something is wrong, see above")
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the configuration `FILE`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printProblems(w io.Writer, problems []netcfg.Problem, asJSON bool) error {
	if asJSON {
		if problems == nil {
			problems = []netcfg.Problem{}
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Problems []netcfg.Problem `json:"problems"`
		}{problems})
	}
	if len(problems) == 0 {
		fmt.Fprintln(w, "nothing is wrong")
	}
	for _, p := range problems {
		line := ""
		if p.Line != "" {
			line = "[" + p.Line + "] "
		}
		fmt.Fprintf(w, "%s: %s%s\n", p.Severity, line, p.Text)
		if p.Fix != "" {
			fmt.Fprintf(w, "    %s\n", p.Fix)
		}
	}
	return nil
}
