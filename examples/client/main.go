// Command client is the near end of a tunnel over many lines: a whole bonding client on
// the public API, with a link for each -via. examples/server is the other end, and says
// how to make the keys.
//
//	client# go run ./examples/client -key client.key -server SERVERKEY \
//		-remote server.example.net:5080 -via eth0 -via wwan0
//
// A -via is a network interface, to which the link's socket is bound, or a local
// address, if the host routes by source address. Either way each link has to leave by a
// line of its own: two links by one line bond nothing. Rates behind it, in bytes per
// second up and down, say how to share packets out: -via eth0=125000,1250000. Give them
// to all links or to none.
//
// All that a link needs is in addLink: make a link.Link of any kind and hand it to
// Client.AddLink. Links may come and go while the client runs. Here they do not: when a
// line gets another address, its socket goes stale and the client does without it. The
// daemon, cmd/mlvpn, calls Client.ReplaceLink then.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/mlvpn"
	"github.com/multilink-vpn/multilink/tun"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

// run keeps the tunnel up until ctx is done. What it opened before an error is left to
// the end of the process.
func run(ctx context.Context, args []string, out io.Writer) error {
	var vias []via
	var serverKey crypto.PublicKey
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	flags.SetOutput(out)
	keyFile := flags.String("key", "client.key", "`file` with the private key, made if there is none")
	remote := flags.String("remote", "", "the server's `host:port`")
	tunName := flags.String("tun", "mlvpn0", "`name` of the network device")
	flags.Func("server", "the server's public `key`", func(s string) (err error) {
		serverKey, err = crypto.ParsePublicKey(s)
		return err
	})
	flags.Func("via", "a line's `INTERFACE|ADDRESS[=UP,DOWN]`, repeatable", func(s string) error {
		v, err := parseVia(s)
		vias = append(vias, v)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	key, err := loadKey(*keyFile)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "public key of this client:", key.Public())
	if serverKey.IsZero() || *remote == "" || len(vias) == 0 {
		return errors.New("no server or no line: name them with -server, -remote and -via")
	}
	addr, err := net.ResolveUDPAddr("udp", *remote)
	if err != nil {
		return err
	}

	device, err := tun.Open(tun.Config{Name: *tunName})
	if err != nil {
		return err
	}
	client, err := mlvpn.NewClient(mlvpn.ClientConfig{
		// The Logger hears of links that come and go; OnEvent would tell the program.
		Config: mlvpn.Config{Device: device, Key: key, Logger: slog.Default()},
		Server: serverKey,
	})
	if err != nil {
		return err
	}
	for _, v := range vias {
		if err := addLink(client, v, addr.AddrPort()); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "now give the device an address:\n\tip addr add 10.9.0.2/24 dev %[1]s\n\tip link set %[1]s up\n", *tunName)
	return client.Run(ctx)
}

// A via is a line to the server.
type via struct {
	name     string // of an interface, or an address
	up, down uint64 // bytes per second, 0 for unknown
}

// parseVia parses INTERFACE|ADDRESS[=UP,DOWN].
func parseVia(s string) (v via, err error) {
	name, rates, found := strings.Cut(s, "=")
	if found {
		_, err = fmt.Sscanf(rates, "%d,%d", &v.up, &v.down)
	}
	v.name = name
	return v, err
}

// addLink opens the socket of a line and gives it to the client.
func addLink(client *mlvpn.Client, v via, remote netip.AddrPort) error {
	cfg := link.UDPConfig{Remote: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())}
	if local, err := netip.ParseAddr(v.name); err == nil {
		cfg.Local = netip.AddrPortFrom(local, 0)
	} else {
		cfg.Interface = v.name
	}
	udp, err := link.DialUDP(cfg)
	if err != nil {
		return fmt.Errorf("line %s: %w", v.name, err)
	}
	_, err = client.AddLink(udp, mlvpn.LinkConfig{Name: v.name, Bandwidth: v.up, PeerBandwidth: v.down})
	return err
}

// loadKey reads a private key, and makes the file if there is none.
func loadKey(file string) (crypto.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key := crypto.GeneratePrivateKey()
		return key, os.WriteFile(file, []byte(key.EncodeText()+"\n"), 0o600)
	}
	if err != nil {
		return crypto.PrivateKey{}, err
	}
	return crypto.ParsePrivateKey(strings.TrimSpace(string(text)))
}
