package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/multilink-vpn/multilink/internal/daemon"
)

// networkCommand is for the daemon itself, which starts it before it gives up root.
func networkCommand() *cobra.Command {
	var debugging bool
	cmd := &cobra.Command{
		Use:    daemon.NetworkCommand + " FILE",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			// A service manager that ends all of a service's processes at once is not to
			// end the one that still has to undo things. It ends with the daemon.
			signal.Ignore(syscall.SIGHUP, syscall.SIGTERM, os.Interrupt)
			return daemon.ServeNetwork(args[0], os.Stdin, os.Stdout, newLogger(debugging, false, ""))
		},
	}
	cmd.Flags().BoolVar(&debugging, "debug", false, "log details")
	return cmd
}

// manageCommand shows or undoes what manage_network does.
func manageCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "network",
		Short: "Show or undo what manage_network does to the host",
		Args:  cobra.NoArgs,
	}
	show := &cobra.Command{
		Use:   "show -c FILE",
		Short: "Print what would be done, as ip and nft commands, and change nothing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return errNoConfig
			}
			text, err := daemon.ShowNetwork(file)
			if err == nil {
				_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			}
			return err
		},
	}
	undo := &cobra.Command{
		Use:   "undo -c FILE",
		Short: "Take away what a daemon that has crashed has left",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if file == "" {
				return errNoConfig
			}
			return daemon.UndoNetwork(file, newLogger(false, false, ""))
		},
	}
	cmd.PersistentFlags().StringVarP(&file, "config", "c", "", "the configuration `FILE`")
	cmd.AddCommand(show, undo)
	return cmd
}

var errNoConfig = errors.New("no configuration file: name one with -c FILE")
