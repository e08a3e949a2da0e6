package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/netif"
	"github.com/multilink-vpn/multilink/internal/setup"
)

// defaultConfig is where the commands that write files put them.
const defaultConfig = "/etc/mlvpn/mlvpn.conf"

// setupCommands are what makes keys and configuration files.
func setupCommands() []*cobra.Command {
	commands := []*cobra.Command{
		genkeyCommand(), pubkeyCommand(), genpskCommand(),
		initServerCommand(), addClientCommand(), removeClientCommand(), listClientsCommand(), joinCommand(),
	}
	for _, c := range commands {
		c.SilenceUsage = true
	}
	return commands
}

func genkeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "genkey",
		Short: "Print a new private key",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), crypto.GeneratePrivateKey().EncodeText())
			return err
		},
	}
}

func genpskCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "genpsk",
		Short: "Print a new preshared key",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), crypto.GeneratePresharedKey().EncodeText())
			return err
		},
	}
}

func pubkeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pubkey",
		Short: "Read a private key from standard input and print its public key",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := readKey(cmd.InOrStdin())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), key.Public())
			return err
		},
	}
}

// readKey reads a private key, alone on a line.
func readKey(r io.Reader) (crypto.PrivateKey, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return crypto.PrivateKey{}, err
	}
	return crypto.ParsePrivateKey(strings.TrimSpace(line))
}

func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", defaultConfig, "the configuration `FILE`")
}

func initServerCommand() *cobra.Command {
	var cfg setup.ServerConfig
	var ip4, ip6 string
	cmd := &cobra.Command{
		Use:   "init-server",
		Short: "Write the configuration of a new server",
		Long: `init-server writes the configuration of a new server, with a key of its own and a
random private network for the tunnel. It overwrites nothing. Let clients in with
mlvpn add-client.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if cfg.IP4, err = parseNetwork("--ip4", ip4); err != nil {
				return err
			}
			if cfg.IP6, err = parseNetwork("--ip6", ip6); err != nil {
				return err
			}
			if cfg.Host == "" {
				if cfg.Host, err = publicAddress(); err != nil {
					return err
				}
			}
			c, err := setup.InitServer(cfg)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), `wrote %s
clients reach this server at %s, UDP port %d: let that through its firewall
inside the tunnel it is %v and %v
now let a client in:

	mlvpn add-client NAME

and run the server:

	mlvpn -c %s -u nobody
`, c.File, c.PublicHost, c.Links[0].BindPort, c.IP4.Addr(), c.IP6.Addr(), c.File)
			return nil
		},
	}
	configFlag(cmd, &cfg.File)
	f := cmd.Flags()
	f.StringVar(&cfg.Host, "host", "", "the address or `NAME` by which clients reach this server (default: this host's public address)")
	f.Uint16Var(&cfg.Port, "port", setup.DefaultPort, "the UDP `PORT`")
	f.StringVar(&ip4, "ip4", "", "the server's `ADDRESS/LENGTH` inside the tunnel (default: random)")
	f.StringVar(&ip6, "ip6", "", "the same for IPv6")
	return cmd
}

func parseNetwork(flag, text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%s: write an address with the length of its network, for example 10.42.0.1/24: %w", flag, err)
	}
	return p, nil
}

// publicAddress returns the address of this host that the internet can reach, if it has
// just one, IPv4 before IPv6.
func publicAddress() (string, error) {
	uplinks, err := netif.Uplinks()
	if err != nil {
		return "", err
	}
	var four, six []netip.Addr
	for _, u := range uplinks {
		for _, a := range u.Addrs {
			switch {
			case a.IsPrivate() || sharedSpace.Contains(a):
			case a.Is4():
				four = append(four, a)
			default:
				six = append(six, a)
			}
		}
	}
	for _, found := range [][]netip.Addr{four, six} {
		if len(found) == 1 {
			return found[0].String(), nil
		}
	}
	return "", errors.New("how do clients reach this server? It has not exactly one public address: name that, or a host name, with --host")
}

// sharedSpace is what carriers use behind their NAT (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

func addClientCommand() *cobra.Command {
	var file, key string
	var client setup.NewClient
	var routes []string
	cmd := &cobra.Command{
		Use:   "add-client NAME",
		Short: "Let a client in, and print the line that it joins with",
		Long: `add-client makes keys and addresses for a client, writes its file beside the
server's configuration, and prints one line. Paste that at the client:

	mlvpn join 'LINE'

The line is a secret: who has it is that client. A server that runs lets the client
in when it is told to read its configuration again (SIGHUP).`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			client.Name = args[0]
			if key != "" {
				if client.Key, err = crypto.ParsePublicKey(key); err != nil {
					return err
				}
			}
			for _, r := range routes {
				p, err := netip.ParsePrefix(r)
				if err != nil {
					return fmt.Errorf("--route: write a network, for example 192.168.7.0/24: %w", err)
				}
				client.Routes = append(client.Routes, p)
			}
			invite, err := setup.AddClient(file, client)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), invite.EncodeText())
			fmt.Fprintf(cmd.ErrOrStderr(), "added %s; a server that runs lets it in after: pkill -HUP -x mlvpn\nat the client: mlvpn join 'LINE'\n", client.Name)
			return err
		},
	}
	configFlag(cmd, &file)
	f := cmd.Flags()
	f.StringVar(&client.Host, "host", "", "the `HOST` by which this client reaches the server (default: public_host)")
	f.StringVar(&key, "key", "", "the public `KEY` of a client that has made its own")
	f.StringArrayVar(&routes, "route", nil, "a `NETWORK` behind the client, repeatable")
	return cmd
}

func removeClientCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "remove-client NAME",
		Short: "Shut a client out",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := setup.RemoveClient(file, args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.ErrOrStderr(), "removed %s; a server that runs shuts it out after: pkill -HUP -x mlvpn\n", args[0])
			return err
		},
	}
	configFlag(cmd, &file)
	return cmd
}

func listClientsCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "list-clients",
		Short: "List the clients that are let in",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := setup.ListClients(file)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tPUBLIC KEY\tADDRESSES\tNETWORKS BEHIND IT")
			for _, c := range list {
				var addrs, routes []string
				for _, a := range []netip.Addr{c.IP4, c.IP6} {
					if a.IsValid() {
						addrs = append(addrs, a.String())
					}
				}
				for _, r := range slices.Concat(c.IP4Routes, c.IP6Routes) {
					routes = append(routes, r.String())
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Name, c.PublicKey, strings.Join(addrs, " "), strings.Join(routes, " "))
			}
			return w.Flush()
		},
	}
	configFlag(cmd, &file)
	return cmd
}

func joinCommand() *cobra.Command {
	var file, keyFile string
	var names []string
	cmd := &cobra.Command{
		Use:   "join LINE",
		Short: "Write the configuration of a client from the line of add-client",
		Long: `join writes the configuration of a client from the line that mlvpn add-client has
printed at the server, with a link for each internet line of this host: each
interface with a default route. It overwrites nothing. Name the interfaces with
--line if that is not what you want.

With - for the line, join reads it from standard input, where other users of this
host do not see it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			line := args[0]
			if line == "-" {
				text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 1<<16))
				if err != nil {
					return err
				}
				line = string(text)
			}
			invite, err := setup.ParseInvite(line)
			if err != nil {
				return err
			}
			var key crypto.PrivateKey
			if keyFile != "" {
				f, err := os.Open(keyFile)
				if err != nil {
					return err
				}
				defer f.Close()
				if key, err = readKey(f); err != nil {
					return fmt.Errorf("%s: %w", keyFile, err)
				}
			}
			uplinks, err := netif.Uplinks()
			if err != nil {
				return err
			}
			lines, others, err := chooseLines(uplinks, names)
			if err != nil {
				return err
			}
			c, err := setup.Join(file, invite, key, lines)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "wrote %s: client %s of %s\n", c.File, invite.Name, invite.Host)
			for _, l := range c.Links {
				fmt.Fprintf(out, "link %s\n", l.Name)
			}
			for _, name := range others {
				fmt.Fprintf(out, "%s has no default route and is not used: if it is an internet line, add it\n", name)
			}
			fmt.Fprintf(out, "now run the client:\n\n\tmlvpn -c %s -u nobody\n", c.File)
			return nil
		},
	}
	configFlag(cmd, &file)
	f := cmd.Flags()
	f.StringArrayVar(&names, "line", nil, "an `INTERFACE` to use, repeatable (default: those with a default route)")
	f.StringVar(&keyFile, "key", "", "the `FILE` with this client's private key, if it has made its own")
	return cmd
}

// chooseLines returns the lines of a client: those named, else those with a default
// route, else, where routes are not known, those with a global address. others are
// interfaces that might be lines.
func chooseLines(uplinks []netif.Uplink, names []string) (lines []setup.Line, others []string, err error) {
	add := func(u netif.Uplink) {
		l := setup.Line{Interface: u.Name, Bind: runtime.GOOS == "linux"} // others have no binddev
		if (u.Policy || !l.Bind) && len(u.Addrs) > 0 {
			l.Addr = u.Addrs[0]
		}
		lines = append(lines, l)
	}
	if len(names) > 0 {
		for _, name := range names {
			i := slices.IndexFunc(uplinks, func(u netif.Uplink) bool { return u.Name == name })
			if i < 0 {
				return nil, nil, fmt.Errorf("--line %s: there is no such interface that is up and has an address", name)
			}
			add(uplinks[i])
		}
		return lines, nil, nil
	}
	routed := slices.ContainsFunc(uplinks, func(u netif.Uplink) bool { return u.Default })
	for _, u := range uplinks {
		if u.Default || !routed {
			add(u)
		} else {
			others = append(others, u.Name)
		}
	}
	return lines, others, nil
}
