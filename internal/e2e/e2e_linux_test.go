package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

var (
	clientInner = netip.MustParseAddr("10.42.42.2")
	serverInner = netip.MustParseAddr("10.42.42.1")
)

const password = "a very long random string, really"

// A pair is a server and a client with a tunnel between them.
type pair struct {
	lab            *netlab.Lab
	server, client *netlab.Process
}

// pairConfig describes a pair: what to add to the configuration files.
type pairConfig struct {
	general        string   // both ends' [general]
	links          []string // of each line: both ends' section
	edit           func(*strings.Builder, string)
	server, client string // password of each end, the common one if empty
}

// newPair starts a daemon on each host of the lab, with one link per line, and waits
// for nothing.
func newPair(t *testing.T, lab *netlab.Lab, lines int, cfg pairConfig) *pair {
	t.Helper()
	bin := netlab.BuildDaemon(t)
	var srv, cli strings.Builder
	for _, end := range []struct {
		b                      *strings.Builder
		mode, password, ip, gw string
	}{
		{&srv, "server", cfg.server, serverInner.String(), clientInner.String()},
		{&cli, "client", cfg.client, clientInner.String(), serverInner.String()},
	} {
		if end.password == "" {
			end.password = password
		}
		fmt.Fprintf(end.b, "[general]\nmode = %q\ninterface_name = \"mlvpn0\"\npassword = %q\n", end.mode, end.password)
		fmt.Fprintf(end.b, "ip4 = \"%s/30\"\nip4_gateway = %q\n%s\n", end.ip, end.gw, cfg.general)
		for k := range lines {
			fmt.Fprintf(end.b, "[line%d]\n", k+1)
			if end.mode == "server" {
				fmt.Fprintf(end.b, "bindport = %d\n", 5080+k)
			} else {
				fmt.Fprintf(end.b, "bindhost = %q\nremotehost = %q\nremoteport = %d\n", lab.ClientAddr(k), lab.PublicAddr(), 5080+k)
			}
			if k < len(cfg.links) {
				fmt.Fprintln(end.b, cfg.links[k])
			}
		}
	}
	p := &pair{lab: lab}
	p.server = lab.Server.Start(t, bin, "--yes-run-as-root", "--debug", "-c", writeConfig(t, "server.conf", srv.String()))
	p.client = lab.Client.Start(t, bin, "--yes-run-as-root", "--debug", "-c", writeConfig(t, "client.conf", cli.String()))
	return p
}

// waitUp waits until both ends have their links up.
func (p *pair) waitUp(t *testing.T, lines int) {
	t.Helper()
	for k := range lines {
		up := fmt.Sprintf("\"link up\" link=line%d", k+1)
		p.client.WaitOutput(t, up, 10*time.Second)
		p.server.WaitOutput(t, up, 10*time.Second)
	}
}

func writeConfig(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPingAndTransfer(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{
		{Up: 20e6, Down: 20e6, Delay: 10 * time.Millisecond},
		{Up: 20e6, Down: 20e6, Delay: 10 * time.Millisecond},
	}})
	p := newPair(t, lab, 2, pairConfig{})
	p.waitUp(t, 2)
	ping, err := lab.Client.Ping(serverInner, 20)
	if err != nil || ping.Received < 20 || ping.Median() > 60*time.Millisecond {
		t.Fatalf("ping through the tunnel: %v, %+v", err, ping)
	}
	for _, dir := range []struct {
		name     string
		from, to *netlab.Host
		addr     netip.Addr
	}{
		{"upload", lab.Client, lab.Server, serverInner},
		{"download", lab.Server, lab.Client, clientInner},
	} {
		res, err := netlab.TransferHash(dir.from, dir.to, dir.addr, 30e6)
		if err != nil {
			t.Fatalf("%s: %v", dir.name, err)
		}
		t.Logf("%s: %.2f Mbit/s, %d retransmits", dir.name, res.Goodput/1e6, res.Retransmits)
	}
}
