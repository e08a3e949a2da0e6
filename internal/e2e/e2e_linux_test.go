package e2e

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

var (
	clientInner = netip.MustParseAddr("10.42.42.2")
	serverInner = netip.MustParseAddr("10.42.42.1")
)

const password = "a very long random string, really"

// A pair is a server and a client with a tunnel between them, one link per line of the
// lab.
type pair struct {
	lab            *netlab.Lab
	cfg            pairConfig
	lines          int
	server, client *netlab.Process
}

// pairConfig describes a pair: what to add to the configuration files.
type pairConfig struct {
	general        string   // to both ends' [general]
	serverGeneral  string   // to the server's
	clientGeneral  string   // to the client's
	links          []string // to both ends' section of each line
	server, client string   // password of each end, the common one if empty
	clientArgs     []string // instead of --yes-run-as-root
}

// newPair starts a daemon on each host of the lab.
func newPair(t *testing.T, lab *netlab.Lab, cfg pairConfig) *pair {
	t.Helper()
	p := &pair{lab: lab, cfg: cfg, lines: len(lab.Stats())}
	p.server, p.client = p.startServer(t), p.startClient(t)
	return p
}

func (p *pair) startServer(t *testing.T) *netlab.Process {
	text := p.config("server", cmp.Or(p.cfg.server, password), serverInner, clientInner, func(k int) string {
		return fmt.Sprintf("bindport = %d\n", 5080+k)
	})
	return p.lab.Server.Start(t, netlab.BuildDaemon(t), "--yes-run-as-root", "--debug", "-c", writeConfig(t, "server.conf", text))
}

func (p *pair) startClient(t *testing.T) *netlab.Process {
	text := p.config("client", cmp.Or(p.cfg.client, password), clientInner, serverInner, func(k int) string {
		return fmt.Sprintf("bindhost = %q\nremotehost = %q\nremoteport = %d\n", p.lab.ClientAddr(k), p.lab.PublicAddr(), 5080+k)
	})
	args := p.cfg.clientArgs
	if args == nil {
		args = []string{"--yes-run-as-root"}
	}
	args = append(args, "--debug", "-c", writeConfig(t, "client.conf", text))
	return p.lab.Client.Start(t, netlab.BuildDaemon(t), args...)
}

// config returns one end's configuration file.
func (p *pair) config(mode, password string, own, peer netip.Addr, link func(k int) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[general]\nmode = %q\ninterface_name = \"mlvpn0\"\npassword = %q\n", mode, password)
	fmt.Fprintf(&b, "ip4 = \"%s/30\"\nip4_gateway = \"%s\"\n%s\n", own, peer, p.cfg.general)
	if mode == "client" {
		b.WriteString(p.cfg.clientGeneral)
	} else {
		b.WriteString(p.cfg.serverGeneral)
	}
	for k := range p.lines {
		fmt.Fprintf(&b, "[line%d]\n%s", k+1, link(k))
		if k < len(p.cfg.links) {
			fmt.Fprintln(&b, p.cfg.links[k])
		}
	}
	return b.String()
}

// waitUp waits until both ends have all links up.
func (p *pair) waitUp(t *testing.T) {
	t.Helper()
	for k := range p.lines {
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

// The goodput of a perfect tunnel: 1348 bytes of payload for 1498 on the line, at an
// inner MTU of 1400 with TCP timestamps. Ethernet framing adds 38 to each packet.
const perfect = 1348.0 / (1400 + 32 + 28 + 38)

// both runs fn for an upload and a download through the tunnel.
func (p *pair) both(t *testing.T, fn func(t *testing.T, x netlab.Transfer)) {
	t.Run("upload", func(t *testing.T) {
		fn(t, netlab.Transfer{From: p.lab.Client, To: p.lab.Server, Addr: serverInner})
	})
	t.Run("download", func(t *testing.T) {
		fn(t, netlab.Transfer{From: p.lab.Server, To: p.lab.Client, Addr: clientInner})
	})
}

func (p *pair) ping(t *testing.T) {
	t.Helper()
	res, err := p.lab.Client.Ping(serverInner, 20)
	if err != nil || res.Received < 20 {
		t.Fatalf("ping through the tunnel: %v, %+v", err, res)
	}
}

func TestTwoEqualLines(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{
		{Up: 20e6, Down: 20e6, Delay: 10 * time.Millisecond},
		{Up: 20e6, Down: 20e6, Delay: 10 * time.Millisecond},
	}})
	p := newPair(t, lab, pairConfig{})
	p.waitUp(t)
	p.ping(t)
	p.both(t, func(t *testing.T, x netlab.Transfer) {
		x.Duration = 8 * time.Second
		p.wantRate(t, x, 0.95*40e6*perfect)
	})
}

// wantRate makes a transfer, which must reach a goodput in bits per second once TCP has
// found its rate. The processor is shared with others here: a transfer that they disturb
// is made again, twice at most.
func (p *pair) wantRate(t *testing.T, x netlab.Transfer, want float64) {
	t.Helper()
	for try := 1; ; try++ {
		res, err := x.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := res.Steady(2 * time.Second)
		t.Logf("try %d: %.2f of %.2f Mbit/s, %d retransmits", try, got/1e6, want/1e6, res.Retransmits)
		if got >= want {
			return
		}
		if try == 3 {
			t.Errorf("%.2f Mbit/s, want at least %.2f", got/1e6, want/1e6)
			return
		}
	}
}

// TestWeights gives the rates of two unequal lines in the configuration: a flow gets
// their sum, and each line carries its share.
func TestWeights(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{
		{Up: 50e6, Down: 50e6, Delay: 10 * time.Millisecond},
		{Up: 12e6, Down: 12e6, Delay: 10 * time.Millisecond},
	}})
	p := newPair(t, lab, pairConfig{links: []string{
		"bandwidth_upload = 6250000",
		"bandwidth_upload = 1500000",
	}})
	p.waitUp(t)
	p.both(t, func(t *testing.T, x netlab.Transfer) {
		x.Duration = 8 * time.Second
		before := lab.Stats()
		p.wantRate(t, x, 0.90*62e6*perfect)
		after := lab.Stats()
		bytes := func(k int) float64 {
			if x.From == lab.Client {
				return float64(after[k].Up.Bytes - before[k].Up.Bytes)
			}
			return float64(after[k].Down.Bytes - before[k].Down.Bytes)
		}
		share := bytes(0) / (bytes(0) + bytes(1))
		t.Logf("the first line carried %.2f %% of the bytes", 100*share)
		if want := 50.0 / 62; share < 0.95*want || share > 1.05*want {
			t.Errorf("the first line carried %.2f %% of the bytes, want %.2f %%", 100*share, 100*want)
		}
	})
}

// TestBlackhole lets a line die without a word while a connection uses it.
func TestBlackhole(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{
		{Up: 20e6, Down: 20e6, Delay: 10 * time.Millisecond},
		{Up: 20e6, Down: 20e6, Delay: 10 * time.Millisecond},
	}})
	p := newPair(t, lab, pairConfig{general: "timeout = 2"})
	p.waitUp(t)
	p.both(t, func(t *testing.T, x netlab.Transfer) {
		x.Duration = 14 * time.Second
		var used time.Duration // until the line carried data again
		var outage sync.WaitGroup
		outage.Go(func() {
			time.Sleep(3 * time.Second)
			lab.Blackhole(0, true)
			time.Sleep(4 * time.Second)
			lab.Blackhole(0, false)
			used = p.untilUsed(x, 0)
		})
		res, err := x.Run(t.Context())
		outage.Wait()
		if err != nil {
			t.Fatalf("the connection was lost: %v", err)
		}
		var mbit []string
		for i := 0; i+5 <= len(res.Series); i += 5 {
			sum := int64(0)
			for _, b := range res.Series[i : i+5] {
				sum += b
			}
			mbit = append(mbit, fmt.Sprintf("%.0f", float64(sum)*8/0.5/1e6))
		}
		t.Logf("Mbit/s per 0.5 s: %s", strings.Join(mbit, " "))
		t.Logf("longest gap %v, line used again after %v", res.LongestGap.Round(time.Millisecond), used.Round(10*time.Millisecond))
		if used == 0 || used > 2*time.Second {
			t.Errorf("the line was used again %v after its return, want at most 2 s", used)
		}
		if res.LongestGap > 3*time.Second {
			t.Errorf("the flow stood still for %v", res.LongestGap)
		}
	})
}

// untilUsed returns how long it takes until a line carries data, and 0 if it takes
// longer than 3 s.
func (p *pair) untilUsed(x netlab.Transfer, k int) time.Duration {
	bytes := func() uint64 {
		st := p.lab.Stats()[k]
		if x.From == p.lab.Client {
			return st.Up.Bytes
		}
		return st.Down.Bytes
	}
	start := time.Now()
	for last := bytes(); time.Since(start) < 3*time.Second; {
		time.Sleep(20 * time.Millisecond)
		now := bytes()
		if now-last > 10*1500 { // more than probes
			return time.Since(start)
		}
		last = now
	}
	return 0
}

// TestWrongPassword wants silence on the line, and one clear line in each log.
func TestWrongPassword(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{Up: 20e6, Down: 20e6}}})
	p := newPair(t, lab, pairConfig{client: "another long and random string"})
	const refused, unanswered = "refused a handshake", "does not answer on any link"
	p.server.WaitOutput(t, refused, 10*time.Second)
	p.client.WaitOutput(t, unanswered, 10*time.Second)
	if res, err := lab.Client.PingWith(netlab.PingConfig{Timeout: 200 * time.Millisecond}, serverInner, 3); err == nil && res.Received > 0 {
		t.Error("packets pass")
	}
	for _, end := range []struct {
		name, output, line string
	}{{"server", p.server.Output(), refused}, {"client", p.client.Output(), unanswered}} {
		if n := strings.Count(end.output, end.line); n != 1 {
			t.Errorf("the %s says %d times %q", end.name, n, end.line)
		}
		if strings.Contains(end.output, "link up") {
			t.Errorf("the %s has a link up", end.name)
		}
	}
	if down := lab.Stats()[0].Down.Packets; down > 3 {
		t.Errorf("the server sent %d packets to somebody without the password", down)
	}
}

// TestStatusCommand runs a script as MLVPN's users have them: it sets the interface up,
// for which it needs root also when the daemon has given that up.
func TestStatusCommand(t *testing.T) {
	t.Run("root", func(t *testing.T) { testStatusCommand(t, nil) })
	t.Run("user", func(t *testing.T) { testStatusCommand(t, []string{"-u", "nobody"}) })
}

func testStatusCommand(t *testing.T, args []string) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{Up: 20e6, Down: 20e6}, {Up: 20e6, Down: 20e6}}})
	dir, err := os.MkdirTemp("/var/tmp", "multilink-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	script, events := filepath.Join(dir, "updown.sh"), filepath.Join(dir, "events")
	text := `#!/bin/sh
echo "$2 $3" >> ` + events + `
[ "$2" = tuntap_up ] && ip addr add $IP4 dev $1 && ip link set dev $DEVICE mtu $MTU up
exit 0
`
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	p := newPair(t, lab, pairConfig{clientGeneral: fmt.Sprintf("statuscommand = %q\n", script), clientArgs: args})
	p.waitUp(t)
	for range 50 {
		if res, err := lab.Client.Ping(serverInner, 1); err == nil && res.Received == 1 {
			break
		}
	}
	p.ping(t)
	if err := p.client.Stop(); err != nil {
		t.Errorf("the client did not end well: %v", err)
	}
	log, err := os.ReadFile(events)
	if err != nil {
		t.Fatal(err)
	}
	text = string(log)
	t.Logf("events: %q", text)
	for _, want := range []string{"rtun_up line1\n", "rtun_up line2\n", "tuntap_up", "rtun_down line1\n", "rtun_down line2\n", "tuntap_down"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("event %q came %d times: %q", want, strings.Count(text, want), text)
		}
	}
}

// TestRestart kills each end in turn.
func TestRestart(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{Up: 20e6, Down: 20e6}, {Up: 20e6, Down: 20e6}}})
	p := newPair(t, lab, pairConfig{general: "timeout = 2"})
	p.waitUp(t)
	p.ping(t)
	for _, end := range []string{"client", "server"} {
		if end == "client" {
			p.client.Kill()
			p.client = p.startClient(t)
		} else {
			p.server.Kill()
			p.server = p.startServer(t)
		}
		p.server.WaitOutput(t, "session up", 15*time.Second)
		p.client.WaitOutput(t, "session up", 15*time.Second)
		deadline := time.Now().Add(10 * time.Second)
		for {
			res, err := lab.Client.Ping(serverInner, 5)
			if err == nil && res.Received == 5 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("no ping through the tunnel after the %s was killed", end)
			}
		}
	}
}

// TestMistakes starts the daemon with configurations that it must refuse, each with a
// message that says where the mistake is, and without having made an interface.
func TestMistakes(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{Up: 20e6, Down: 20e6}}})
	bin := netlab.BuildDaemon(t)
	for _, tc := range []struct {
		name, config, want string
		mode               os.FileMode
	}{
		{"short password", "[general]\nmode = \"server\"\npassword = \"short\"\n[a]\nbindport = 5080\n", ":3: ", 0o600},
		{"no port", "[general]\nmode = \"server\"\npassword = \"" + password + "\"\n[a]\nbindhost = \"::\"\n", "bindport", 0o600},
		{"readable by all", "[general]\nmode = \"server\"\npassword = \"" + password + "\"\n[a]\nbindport = 5080\n", "chmod 600", 0o644},
		{"foreign address", "[general]\nmode = \"server\"\npassword = \"" + password + "\"\n[a]\nbindport = 5080\nbindhost = \"192.0.2.1\"\n", "192.0.2.1", 0o600},
		{"no script", "[general]\nmode = \"server\"\nstatuscommand = \"/nonexistent\"\npassword = \"" + password + "\"\n[a]\nbindport = 5080\n", "/nonexistent", 0o600},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := writeConfig(t, "mlvpn.conf", tc.config)
			if err := os.Chmod(path, tc.mode); err != nil {
				t.Fatal(err)
			}
			_, err := lab.Server.Run(bin, "--yes-run-as-root", "-c", path)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the daemon says %v, want it to mention %q", err, tc.want)
			}
		})
	}
	if out, err := lab.Server.Run("ip", "-o", "link"); err != nil || strings.Contains(out, "mlvpn") {
		t.Errorf("an interface was made: %v\n%s", err, out)
	}
	ok := "[general]\nmode = \"server\"\npassword = \"" + password + "\"\n[a]\nbindport = 5080\n"
	if _, err := lab.Server.Run(bin, "-c", writeConfig(t, "ok.conf", ok)); err == nil || !strings.Contains(err.Error(), "--user") {
		t.Errorf("as root without --user, the daemon says %v", err)
	}
}

// TestPrivileges runs a client without root. It can read its configuration again all the
// same.
func TestPrivileges(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{Up: 20e6, Down: 20e6}}})
	p := newPair(t, lab, pairConfig{clientArgs: []string{"-u", "nobody"}})
	p.waitUp(t)
	p.ping(t)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.client.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(status), "Uid:\t0") {
		t.Errorf("the client still runs as root:\n%s", status)
	}
	if err := p.client.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.client.WaitOutput(t, "configuration reloaded", 5*time.Second)
	p.ping(t)
}

// TestTAP bridges Ethernet frames: the hosts find each other by ARP through the tunnel.
func TestTAP(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{Up: 20e6, Down: 20e6}, {Up: 20e6, Down: 20e6}}})
	p := newPair(t, lab, pairConfig{general: "tuntap = \"tap\""})
	p.waitUp(t)
	p.ping(t)
	if _, err := netlab.TransferHash(lab.Client, lab.Server, serverInner, 5e6); err != nil {
		t.Error(err)
	}
}

// TestInnerIPv6 carries IPv6 over lines that have only IPv4.
func TestInnerIPv6(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{Up: 20e6, Down: 20e6}, {Up: 20e6, Down: 20e6}}})
	p := newPair(t, lab, pairConfig{
		serverGeneral: "ip6 = \"fd42::1/126\"\nip6_gateway = \"fd42::2\"\n",
		clientGeneral: "ip6 = \"fd42::2/126\"\nip6_gateway = \"fd42::1\"\n",
	})
	p.waitUp(t)
	server6 := netip.MustParseAddr("fd42::1")
	if res, err := lab.Client.Ping(server6, 20); err != nil || res.Received < 20 {
		t.Fatalf("ping: %v, %+v", err, res)
	}
	if _, err := netlab.TransferHash(lab.Client, lab.Server, server6, 5e6); err != nil {
		t.Error(err)
	}
}

// TestTwoClients has one server with two ports serve two clients with the same password,
// each with a line to each port.
func TestTwoClients(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{Up: 20e6, Down: 20e6}, {Up: 20e6, Down: 20e6}}})
	bin := netlab.BuildDaemon(t)
	text := "[general]\nmode = \"server\"\ninterface_name = \"mlvpn0\"\npassword = \"" + password + "\"\n" +
		"ip4 = \"10.42.42.1/24\"\n[line1]\nbindport = 5080\n[line2]\nbindport = 5081\n"
	lab.Server.Start(t, bin, "--yes-run-as-root", "-c", writeConfig(t, "server.conf", text))
	for i := range 2 {
		text := fmt.Sprintf("[general]\nmode = \"client\"\ninterface_name = \"mlvpn%d\"\npassword = %q\nip4 = \"10.42.42.%d/24\"\n", i, password, 2+i)
		for k := range 2 {
			text += fmt.Sprintf("[line%d]\nbindhost = \"%s\"\nremotehost = \"%s\"\nremoteport = %d\n", k+1, lab.ClientAddr(k), lab.PublicAddr(), 5080+k)
		}
		c := lab.Client.Start(t, bin, "--yes-run-as-root", "-c", writeConfig(t, "client.conf", text))
		c.WaitOutput(t, "link up\" link=line1", 10*time.Second)
		c.WaitOutput(t, "link up\" link=line2", 10*time.Second)
	}
	for i := range 2 {
		own := netip.AddrFrom4([4]byte{10, 42, 42, byte(2 + i)})
		// Both devices are on one host here: without its own device, the second client's
		// answers would leave by the first.
		if _, err := lab.Client.Run("ip", "rule", "add", "from", own.String(), "lookup", fmt.Sprint(500+i)); err != nil {
			t.Fatal(err)
		}
		if _, err := lab.Client.Run("ip", "route", "add", "10.42.42.0/24", "dev", fmt.Sprintf("mlvpn%d", i), "table", fmt.Sprint(500+i)); err != nil {
			t.Fatal(err)
		}
		if res, err := lab.Server.Ping(own, 10); err != nil || res.Received < 10 {
			t.Errorf("client %d: %v, %+v", i, err, res)
		}
	}
}

// TestPreparedDevice uses a device that was there before: it is left as it was.
func TestPreparedDevice(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{Up: 20e6, Down: 20e6}}})
	if _, err := lab.Client.Run("ip", "tuntap", "add", "dev", "mlvpn0", "mode", "tun", "vnet_hdr"); err != nil {
		t.Fatal(err)
	}
	p := newPair(t, lab, pairConfig{})
	p.waitUp(t)
	p.ping(t)
	if err := p.client.Stop(); err != nil {
		t.Errorf("the client did not end well: %v", err)
	}
	out, err := lab.Client.Run("ip", "-o", "addr", "show", "dev", "mlvpn0")
	if err != nil || strings.Contains(out, clientInner.String()) {
		t.Errorf("the device is gone or keeps its address: %v\n%s", err, out)
	}
}
