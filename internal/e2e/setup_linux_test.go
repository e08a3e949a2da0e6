package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

// TestSetup goes the way of README.md: init-server, add-client, join, ping. Then a second
// client is added while the first one pings, and no ping is lost.
func TestSetup(t *testing.T) {
	netlab.Require(t)
	lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{{Up: 20e6, Down: 20e6}, {Up: 20e6, Down: 20e6}}})
	bin := netlab.BuildDaemon(t)
	dir := t.TempDir()
	serverFile := filepath.Join(dir, "server", "mlvpn.conf")
	run := func(h *netlab.Host, args ...string) string {
		t.Helper()
		out, err := h.Run(bin, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	run(lab.Server, "init-server", "-c", serverFile, "--host", lab.PublicAddr().String(), "--ip4", "10.66.0.1/24", "--ip6", "fd66::1/64")
	line := run(lab.Server, "add-client", "boat", "-c", serverFile)
	server := lab.Server.Start(t, bin, "-u", "nobody", "-c", serverFile)

	join := func(name, line string) *netlab.Process {
		t.Helper()
		file := filepath.Join(dir, name, "mlvpn.conf")
		run(lab.Client, "join", strings.TrimSpace(line), "-c", file)
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), "[w1]") || !strings.Contains(string(text), "[w2]") {
			t.Fatalf("join has not found the lines: %v\n%s", err, text)
		}
		// Both clients are on one host here.
		own := strings.Replace(string(text), "mode = \"client\"", "mode = \"client\"\ninterface_name = \"mlvpn-"+name+"\"", 1)
		if err := os.WriteFile(file, []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
		client := lab.Client.Start(t, bin, "-u", "nobody", "-c", file)
		for k := range 2 {
			client.WaitOutput(t, fmt.Sprintf("\"link up\" link=w%d", k+1), 10*time.Second)
		}
		return client
	}
	join("boat", line)
	for _, addr := range []string{"10.66.0.1", "fd66::1"} {
		waitPing(t, lab.Client, netip.MustParseAddr(addr))
	}

	t.Log("# a second client while the first one pings")
	first := netlab.PingConfig{Source: netip.MustParseAddr("10.66.0.2"), Interval: 10 * time.Millisecond}
	type result struct {
		netlab.PingResult
		err error
	}
	pings := make(chan result, 1)
	go func() {
		r, err := lab.Client.PingWith(first, netip.MustParseAddr("10.66.0.1"), 400)
		pings <- result{r, err}
	}()
	line = run(lab.Server, "add-client", "van", "-c", serverFile)
	if err := server.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	server.WaitOutput(t, "clients: added van", 5*time.Second)
	join("van", line)
	// The server finds the second client; that host would answer by the first one's device.
	if _, err := lab.Client.Run("ip", "rule", "add", "from", "10.66.0.3", "lookup", "500"); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Client.Run("ip", "route", "add", "10.66.0.0/24", "dev", "mlvpn-van", "table", "500"); err != nil {
		t.Fatal(err)
	}
	waitPing(t, lab.Server, netip.MustParseAddr("10.66.0.3"))
	for range 3 {
		if err := server.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	r := <-pings
	if r.err != nil || r.Received != r.Sent || r.Sent != 400 {
		t.Errorf("%d of %d pings of the first client came back while the second was added: %v", r.Received, r.Sent, r.err)
	}

	t.Log("# a mistake is refused, and everything goes on")
	van := filepath.Join(dir, "server", "clients.d", "van")
	if err := os.Chmod(van, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := server.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	server.WaitOutput(t, "chmod 600", 5*time.Second)
	waitPing(t, lab.Server, netip.MustParseAddr("10.66.0.3"))

	t.Log("# the second is shut out, the first is not")
	if err := os.Chmod(van, 0o600); err != nil {
		t.Fatal(err)
	}
	run(lab.Server, "remove-client", "van", "-c", serverFile)
	if err := server.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	server.WaitOutput(t, "clients: removed van", 5*time.Second)
	if res, err := lab.Server.PingWith(netlab.PingConfig{Timeout: 200 * time.Millisecond}, netip.MustParseAddr("10.66.0.3"), 5); err == nil && res.Received > 0 {
		t.Error("the client that was shut out still answers")
	}
	waitPing(t, lab.Server, netip.MustParseAddr("10.66.0.2"))
}

// waitPing waits until pings come back, and then wants all of ten.
func waitPing(t *testing.T, h *netlab.Host, to netip.Addr) {
	t.Helper()
	for range 50 {
		if res, err := h.PingWith(netlab.PingConfig{Timeout: 200 * time.Millisecond}, to, 1); err == nil && res.Received == 1 {
			break
		}
	}
	if res, err := h.Ping(to, 10); err != nil || res.Received != 10 {
		t.Fatalf("ping %v: %v, %+v", to, err, res)
	}
}
