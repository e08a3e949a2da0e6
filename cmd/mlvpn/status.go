package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/status"
)

// statusCommand shows the state of a daemon that runs.
func statusCommand() *cobra.Command {
	var config, socket string
	var asJSON, explain bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the links of a daemon that runs",
		Long: "Show the links of a daemon that runs. It is asked on its Unix socket, which control_unix_path\n" +
			"in its configuration names and its user and root may use.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if socket == "" {
				c, _, err := conf.Load(config)
				if err != nil {
					return fmt.Errorf("%w\nname the daemon's configuration with -c, or its socket with --socket", err)
				}
				if socket = c.ControlUnixPath; socket == "" {
					return errors.New(config + ": the daemon cannot be asked: write control_unix_path = \"/run/mlvpn/mlvpn0.sock\" in [general] and restart it")
				}
			}
			d, err := status.Fetch(cmd.Context(), socket)
			if err != nil {
				return err
			}
			switch {
			case asJSON:
				e := json.NewEncoder(os.Stdout)
				e.SetIndent("", "  ")
				return e.Encode(d)
			case explain:
				return status.WriteExplanations(os.Stdout, d)
			}
			return status.WriteTable(os.Stdout, d)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", defaultConfig, "the daemon's configuration `FILE`")
	f.StringVar(&socket, "socket", "", "the daemon's Unix `SOCKET`, instead of a configuration")
	f.BoolVar(&asJSON, "json", false, "print everything, as JSON")
	f.BoolVar(&explain, "explain", false, "say why the tunnel is as fast as it is")
	return cmd
}
