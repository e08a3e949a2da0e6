// Command server is the far end of a tunnel over many lines: a whole bonding server on
// the public API, with a key for each client.
//
// Keys first. Each end makes its own when its key file does not exist, prints the
// public half, and ends because it knows no peer yet:
//
//	server# go run ./examples/server -key server.key
//	client# go run ./examples/client -key client.key
//
// Then let the client in, by its public key and the inner addresses that it may use,
// and run both ends as root, who may make network devices:
//
//	server# go run ./examples/server -key server.key -client 'boat=CLIENTKEY,10.9.0.2/32'
//	client# go run ./examples/client -key client.key -server SERVERKEY \
//		-remote server.example.net:5080 -via eth0 -via wwan0
//
// Each end prints the commands that give its device an address: the library configures
// nothing in the host. After that, ping 10.9.0.1 from the client, and unplug a line.
//
// All clients and all their lines arrive at one UDP port. A line is told by an index in
// each datagram, and a client by its key, never by a source address: lines may be behind
// NAT and change their addresses. More ports are for networks that block some; a list of
// clients that changes is for Server.AddClient and Server.RemoveClient, which may be
// called while the server runs.
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
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done. What it opened before an error is left to the end of
// the process.
func run(ctx context.Context, args []string, out io.Writer) error {
	var clients []mlvpn.Peer
	var listen []netip.AddrPort
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(out)
	keyFile := flags.String("key", "server.key", "`file` with the private key, made if there is none")
	tunName := flags.String("tun", "mlvpn0", "`name` of the network device")
	flags.Func("listen", "UDP `address` to listen at, repeatable (default :5080)", func(s string) error {
		addr, err := net.ResolveUDPAddr("udp", s)
		if err != nil {
			return err
		}
		ip, _ := netip.AddrFromSlice(addr.IP)
		listen = append(listen, netip.AddrPortFrom(ip.Unmap(), uint16(addr.Port)))
		return nil
	})
	flags.Func("client", "a client as `NAME=KEY[,PREFIX...]`, repeatable", func(s string) error {
		peer, err := parseClient(s)
		clients = append(clients, peer)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	key, err := loadKey(*keyFile)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "public key of this server:", key.Public())
	if len(clients) == 0 {
		return errors.New("no clients: name one with -client NAME=KEY,PREFIX")
	}
	if len(listen) == 0 {
		listen = []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), 5080)}
	}

	device, err := tun.Open(tun.Config{Name: *tunName})
	if err != nil {
		return err
	}
	server, err := mlvpn.NewServer(mlvpn.ServerConfig{
		// The Logger hears of links that come and go; OnEvent would tell the program.
		Config:  mlvpn.Config{Device: device, Key: key, Logger: slog.Default()},
		Clients: clients,
	})
	if err != nil {
		return err
	}
	for _, addr := range listen {
		socket, err := link.ListenUDP(link.UDPConfig{Local: addr})
		if err != nil {
			return err
		}
		// Without a Bandwidth the client's word counts for what to send on each line.
		if err := server.AddSocket(socket, mlvpn.LinkConfig{Name: socket.LocalAddr().String()}); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "now give the device an address:\n\tip addr add 10.9.0.1/24 dev %[1]s\n\tip link set %[1]s up\n", *tunName)
	return server.Run(ctx)
}

// parseClient parses NAME=KEY[,PREFIX...].
func parseClient(s string) (mlvpn.Peer, error) {
	name, rest, _ := strings.Cut(s, "=")
	fields := strings.Split(rest, ",")
	key, err := crypto.ParsePublicKey(fields[0])
	peer := mlvpn.Peer{Name: name, Key: key}
	for _, f := range fields[1:] {
		prefix, e := netip.ParsePrefix(f)
		err = errors.Join(err, e)
		peer.Prefixes = append(peer.Prefixes, prefix)
	}
	return peer, err
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
