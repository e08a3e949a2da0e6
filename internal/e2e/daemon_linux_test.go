package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

// two20 are two good lines of 20 Mbit/s.
func two20() []netlab.Line {
	return []netlab.Line{
		{Up: 20e6, Down: 20e6, Delay: 5 * time.Millisecond},
		{Up: 20e6, Down: 20e6, Delay: 5 * time.Millisecond},
	}
}

// carried returns how many bytes each line has carried while fn ran.
func carried(lab *netlab.Lab, fn func()) (bytes []int64) {
	before := lab.Stats()
	fn()
	for k, after := range lab.Stats() {
		bytes = append(bytes, int64(after.Up.Bytes+after.Down.Bytes-before[k].Up.Bytes-before[k].Down.Bytes))
	}
	return bytes
}

// upload sends n bytes through the tunnel, all of which must arrive as they were.
func (p *pair) upload(t *testing.T, n int64) {
	t.Helper()
	if _, err := netlab.TransferHash(p.lab.Client, p.lab.Server, serverInner, n); err != nil {
		t.Fatal(err)
	}
}

// rewrite changes a configuration file and has the process reload it.
func rewrite(t *testing.T, p *netlab.Process, file string, change func(text string) string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(change(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	n := strings.Count(p.Output(), "configuration reloaded")
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); strings.Count(p.Output(), "configuration reloaded") == n; {
		if time.Now().After(deadline) {
			t.Fatal("the daemon does not reload")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// startPair starts two daemons with these configurations.
func startPair(t *testing.T, lab *netlab.Lab, server, client string) (p *pair, clientFile string) {
	t.Helper()
	bin := netlab.BuildDaemon(t)
	clientFile = writeConfig(t, "client.conf", client)
	p = &pair{lab: lab, lines: len(lab.Stats())}
	p.server = lab.Server.Start(t, bin, "--yes-run-as-root", "--debug", "-c", writeConfig(t, "server.conf", server))
	p.client = lab.Client.Start(t, bin, "--yes-run-as-root", "--debug", "-c", clientFile)
	return p, clientFile
}

func general(mode string, own, peer netip.Addr, more string) string {
	return fmt.Sprintf("[general]\nmode = %q\npassword = %q\nip4 = \"%s/30\"\nip4_gateway = \"%s\"\ntimeout = 4\n%s", mode, password, own, peer, more)
}

// TestUDPBlocked has a firewall drop UDP on three of four lines: links over TCP, TLS and
// WebSocket work there, beside one over UDP on the last.
func TestUDPBlocked(t *testing.T) {
	netlab.Require(t)
	line := netlab.Line{Up: 20e6, Down: 20e6, Delay: 5 * time.Millisecond}
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{line, line, line, line}})
	rules := "add table inet fw; add chain inet fw in { type filter hook input priority 0; }; "
	for k := range 3 {
		rules += fmt.Sprintf("add rule inet fw in ip saddr %s meta l4proto udp drop; ", lab.ClientAddr(k))
	}
	if _, err := lab.Server.Run("nft", rules); err != nil {
		t.Fatal(err)
	}
	server, client := general("server", serverInner, clientInner, ""), general("client", clientInner, serverInner, "")
	for k, transport := range []string{"tcp", "tls", "websocket", "udp"} {
		server += fmt.Sprintf("[line%d]\nbindport = %d\ntransport = %q\n", k+1, 5080+k, transport)
		client += fmt.Sprintf("[line%d]\nbindhost = \"%s\"\nremotehost = \"%s\"\nremoteport = %d\ntransport = %q\n", k+1, lab.ClientAddr(k), lab.PublicAddr(), 5080+k, transport)
	}
	server += "[blocked]\nbindport = 6000\n"
	client += fmt.Sprintf("[blocked]\nbindhost = \"%s\"\nremotehost = \"%s\"\nremoteport = 6000\n", lab.ClientAddr(0), lab.PublicAddr())
	p, _ := startPair(t, lab, server, client)
	p.waitUp(t)
	for k, bytes := range carried(lab, func() { p.upload(t, 10e6) }) {
		if bytes < 1e6 {
			t.Errorf("line %d carried %d bytes", k+1, bytes)
		}
	}
	if strings.Contains(p.client.Output(), "\"link up\" link=blocked") {
		t.Error("the link over UDP is up: there is no firewall")
	}
}

// TestQuota has a line use up its quota in the middle of a connection, which goes on by
// the other. A restart does not forget.
func TestQuota(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: two20()})
	state := filepath.Join(t.TempDir(), "state")
	p := newPair(t, lab, pairConfig{
		clientGeneral: fmt.Sprintf("state_dir = %q\n", state),
		links:         []string{"quota_day = 3000000"},
	})
	// The server's section has no say in this.
	p.waitUp(t)
	first := carried(lab, func() { p.upload(t, 12e6) })
	t.Logf("the lines carried %d bytes", first)
	p.client.WaitOutput(t, "has used up its quota", 5*time.Second)
	if first[0] < 2.5e6 || first[0] > 8e6 {
		t.Errorf("the line with a quota of 3 MB carried %d bytes", first[0])
	}
	for _, when := range []string{"at its quota", "after a restart"} {
		if when == "after a restart" {
			p.client.Stop()
			p.client = p.startClient(t)
			p.client.WaitOutput(t, "has used up its quota", 10*time.Second)
			p.client.WaitOutput(t, "link=line2", 10*time.Second)
			p.ping(t)
		}
		bytes := carried(lab, func() { p.upload(t, 3e6) })
		if bytes[0] > 0.1e6 || bytes[1] < 3e6 {
			t.Errorf("%s, the lines carried %d bytes", when, bytes)
		}
	}
}

// TestCost keeps data off a dear line until it may take the overflow, which SIGHUP says.
func TestCost(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: two20()})
	server, client := general("server", serverInner, clientInner, ""), general("client", clientInner, serverInner, "")
	for k := range 2 {
		server += fmt.Sprintf("[line%d]\nbindport = %d\n", k+1, 5080+k)
		client += fmt.Sprintf("[line%d]\nbindhost = \"%s\"\nremotehost = \"%s\"\nremoteport = %d\nbandwidth_upload = 2400000\ncost = %d\n", k+1, lab.ClientAddr(k), lab.PublicAddr(), 5080+k, k)
	}
	p, file := startPair(t, lab, server, client)
	p.waitUp(t)
	if bytes := carried(lab, func() { p.upload(t, 3e6) }); bytes[1] > 0.1e6 {
		t.Errorf("the dear line carried %d bytes beside the cheap one", bytes[1])
	}
	rewrite(t, p.client, file, func(text string) string { return text + "overflow = 1\n" })
	if bytes := carried(lab, func() { p.upload(t, 8e6) }); bytes[0] < 3e6 || bytes[1] < 1e6 {
		t.Errorf("with overflow the lines carried %d bytes", bytes)
	}
	if bytes := carried(lab, func() { p.ping(t) }); bytes[1] > bytes[0]*2 {
		t.Errorf("a ping made the lines carry %d bytes", bytes)
	}
}

// TestBindFIB has a link go by the routing table of the second line, with no address to
// bind to. The rule for it goes when the daemon does.
func TestBindFIB(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: two20()})
	server := general("server", serverInner, clientInner, "") + "[line2]\nbindport = 5080\n"
	client := general("client", clientInner, serverInner, "") + fmt.Sprintf("[line2]\nremotehost = \"%s\"\nremoteport = 5080\nbindfib = 102\n", lab.PublicAddr())
	p, _ := startPair(t, lab, server, client)
	p.client.WaitOutput(t, "\"link up\" link=line2", 10*time.Second)
	if bytes := carried(lab, func() { p.ping(t) }); bytes[0] != 0 || bytes[1] == 0 {
		t.Errorf("the lines carried %d bytes, want the second one's only", bytes)
	}
	if out, err := lab.Client.Run("ip", "rule"); err != nil || !strings.Contains(out, "fwmark 0x4d000066 lookup 102") {
		t.Errorf("rules: %v\n%s", err, out)
	}
	if err := p.client.Stop(); err != nil {
		t.Error(err)
	}
	if out, err := lab.Client.Run("ip", "rule"); err != nil || strings.Contains(out, "fwmark") {
		t.Errorf("rules after the end: %v\n%s", err, out)
	}
}

// TestReloadSIGHUP reloads a client again and again, which adds, changes and removes a
// link, while pings go by the other. A bad file changes nothing.
func TestReloadSIGHUP(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: two20()})
	server, client := general("server", serverInner, clientInner, ""), general("client", clientInner, serverInner, "")
	section := func(k int, more string) string {
		return fmt.Sprintf("[line%d]\nbindhost = \"%s\"\nremotehost = \"%s\"\nremoteport = %d\n%s", k+1, lab.ClientAddr(k), lab.PublicAddr(), 5080+k, more)
	}
	for k := range 2 {
		server += fmt.Sprintf("[line%d]\nbindport = %d\n", k+1, 5080+k)
	}
	client += section(0, "")
	p, file := startPair(t, lab, server, client)
	p.client.WaitOutput(t, "\"link up\" link=line1", 10*time.Second)
	n := 50
	if os.Getenv("MULTILINK_LONG") == "1" {
		n = 1000
	}
	done := make(chan struct{})
	lost := make(chan string, 1)
	go func() {
		sent, received := 0, 0
		for {
			res, err := lab.Client.PingWith(netlab.PingConfig{Interval: 2 * time.Millisecond}, serverInner, 100)
			if err != nil {
				lost <- err.Error()
				return
			}
			sent, received = sent+100, received+res.Received
			select {
			case <-done:
				lost <- fmt.Sprintf("%d of %d pings answered", received, sent)
				return
			default:
			}
		}
	}()
	for i := range n {
		text := client
		if i%3 != 0 {
			text += section(1, fmt.Sprintf("fallback_only = 1\nbandwidth_upload = %d\n", 1e6+i))
		}
		rewrite(t, p.client, file, func(string) string { return text })
	}
	if err := os.WriteFile(file, []byte(client+"[line2]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.client.Signal(syscall.SIGHUP)
	p.client.WaitOutput(t, "the old one stays in force", 5*time.Second)
	close(done)
	result := <-lost
	t.Log(result)
	var received, sent int
	if _, err := fmt.Sscanf(result, "%d of %d pings", &received, &sent); err != nil || received != sent {
		t.Error(result)
	}
	if strings.Contains(p.client.Output(), "link down\" link=line1") {
		t.Error("a reload took down a link that it did not concern")
	}
}

// TestNoCapabilities runs a client that never was root, on a device that was prepared
// for it.
func TestNoCapabilities(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: two20()[:1]})
	for _, args := range []string{
		"tuntap add dev mlvpn0 mode tun user nobody vnet_hdr",
		"addr add 10.42.42.2/30 dev mlvpn0",
		"link set mlvpn0 mtu 1400 up",
	} {
		if _, err := lab.Client.Run("ip", strings.Fields(args)...); err != nil {
			t.Fatal(err)
		}
	}
	// Others can enter neither the test's directories nor that of the program.
	dir, err := os.MkdirTemp("/var/tmp", "multilink-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const nobody = 65534
	bin, file := filepath.Join(dir, "mlvpn"), filepath.Join(dir, "client.conf")
	if out, err := exec.Command("cp", netlab.BuildDaemon(t), bin).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	socket := filepath.Join(dir, "status.sock")
	text := general("client", clientInner, serverInner, fmt.Sprintf("control_unix_path = %q\n", socket)) +
		fmt.Sprintf("[line1]\nbindhost = \"%s\"\nremotehost = \"%s\"\nremoteport = 5080\n", lab.ClientAddr(0), lab.PublicAddr())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, file} {
		if err := os.Chown(name, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	lab.Server.Start(t, netlab.BuildDaemon(t), "--yes-run-as-root", "-c",
		writeConfig(t, "server.conf", general("server", serverInner, clientInner, "")+"[line1]\nbindport = 5080\n"))
	// Usually everybody may open /dev/net/tun, but not in every container.
	tun := filepath.Join(dir, "tun")
	if err := errors.Join(syscall.Mknod(tun, syscall.S_IFCHR|0o666, 10<<8|200), os.Chmod(tun, 0o666)); err != nil {
		t.Fatal(err)
	}
	run := fmt.Sprintf("mount --bind %s /dev/net/tun && exec setpriv --reuid nobody --regid nogroup --clear-groups --bounding-set -all --no-new-privs %s -c %s", tun, bin, file)
	client := lab.Client.Start(t, "unshare", "--mount", "sh", "-c", run)
	client.WaitOutput(t, "\"link up\" link=line1", 10*time.Second)
	p := &pair{lab: lab, client: client}
	p.ping(t)

	t.Log("# and its status")
	out, err := lab.Client.Run(netlab.BuildDaemon(t), "status", "--json", "--socket", socket)
	var d struct {
		Tunnels []struct {
			Name, Status string
			SentPackets  int
		}
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &d)
	}
	if err != nil || len(d.Tunnels) != 1 || d.Tunnels[0].Status != "connected" || d.Tunnels[0].SentPackets < 20 {
		t.Errorf("status %+v, %v", d, err)
	}
	if out, err := lab.Client.Run(netlab.BuildDaemon(t), "status", "--socket", socket); err != nil || !strings.Contains(out, "line1") {
		t.Errorf("%v\n%s", err, out)
	}
	title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", client.Pid()))
	if err != nil || !strings.HasPrefix(string(title), "mlvpn: @line1") {
		t.Errorf("title %q, %v", title, err)
	}
	if err := client.Stop(); err != nil {
		t.Errorf("the client did not end well: %v", err)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is still there")
	}
}

// TestServiceUnit runs a client with the capabilities that the unit for systemd leaves,
// and listens to what it tells the service manager: that it is ready, and that it makes
// progress. It starts twice, as what it leaves behind must not be in its way.
func TestServiceUnit(t *testing.T) {
	netlab.Require(t)
	unit, err := os.ReadFile("../../packaging/mlvpn@.service")
	if err != nil {
		t.Fatal(err)
	}
	_, caps, _ := strings.Cut(string(unit), "\nCapabilityBoundingSet=")
	caps, _, _ = strings.Cut(caps, "\n")
	bounding := "-all"
	for _, c := range strings.Fields(caps) {
		bounding += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	dir, err := os.MkdirTemp("/var/tmp", "multilink-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // as /run and /var/lib are
		t.Fatal(err)
	}
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err == nil {
		err = os.Chmod(filepath.Join(dir, "notify"), 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	script := filepath.Join(dir, "updown.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ $2 = tuntap_up ] && ip addr add $IP4 dev $1 && ip link set $1 mtu $MTU up\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	lab := netlab.New(t, netlab.Config{Lines: two20()[:1]})
	lab.Server.Start(t, netlab.BuildDaemon(t), "--yes-run-as-root", "-c",
		writeConfig(t, "server.conf", general("server", serverInner, clientInner, "")+"[line1]\nbindport = 5080\n"))
	socket := filepath.Join(dir, "status.sock")
	file := filepath.Join(dir, "client.conf")
	text := general("client", clientInner, serverInner, fmt.Sprintf("statuscommand = %q\ncontrol_unix_path = %q\nstate_dir = %q\n", script, socket, filepath.Join(dir, "state"))) +
		fmt.Sprintf("[line1]\nbindhost = \"%s\"\nremotehost = \"%s\"\nremoteport = 5080\nquota_month = 1000000000\n", lab.ClientAddr(0), lab.PublicAddr())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		cmd := lab.Client.Command("setpriv", "--bounding-set", bounding, "--inh-caps", "-all", "--no-new-privs",
			netlab.BuildDaemon(t), "--config", file, "--user", "nobody", "--name", "boat")
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(dir, "notify"), "WATCHDOG_USEC=500000")
		client := lab.Client.StartCommand(t, cmd)
		client.WaitOutput(t, "\"link up\" name=boat link=line1", 10*time.Second)
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if res, err := lab.Client.Ping(serverInner, 1); err == nil && res.Received == 1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("no ping through the tunnel")
			}
		}
		heard := make(map[string]bool)
		buf := make([]byte, 1000)
		for manager.SetReadDeadline(time.Now().Add(5 * time.Second)); !heard["READY=1"] || !heard["WATCHDOG=1"] || !heard["STATUS=@line1"]; {
			n, err := manager.Read(buf)
			if err != nil {
				t.Fatalf("the service manager heard %v: %v", heard, err)
			}
			heard[string(buf[:n])] = true
		}
		if out, err := lab.Client.Run(netlab.BuildDaemon(t), "status", "-c", file); err != nil || !strings.Contains(out, "connected") {
			t.Errorf("status: %v\n%s", err, out)
		}
		rewrite(t, client, file, func(text string) string { return text + "# a comment\n" })
		if err := client.Stop(); err != nil {
			t.Errorf("the client did not end well: %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "state", "quota-mlvpn0.json")); err != nil {
			t.Error(err)
		}
	}
}
