package routing

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

// managers returns the processes that manage the network for a daemon.
func managers(daemon int) (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		stat, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		cmd, _ := os.ReadFile(d + "/cmdline")
		if len(fields) > 1 && fields[1] == strconv.Itoa(daemon) && bytes.Contains(cmd, []byte("manage-network")) {
			pid, _ := strconv.Atoi(filepath.Base(d))
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestRounds starts, reloads, stops and kills a daemon in random order. What is left in
// the end is what was there before.
func TestRounds(t *testing.T) {
	netlab.Require(t)
	rounds := 5
	if os.Getenv("MULTILINK_LONG") == "1" {
		rounds = 100
	}
	w := newADSL(t)
	_, adslClient := adsl(t)
	file := writeConfig(t, "client.conf", adslClient)
	configs := []string{
		adslClient,
		strings.Replace(adslClient, "ip4_routes = \"default\"", "ip4_routes = \"default 10.0.0.0/8\"\nip4_direct_routes = \"192.0.2.0/24\"\nname_tables = 1", 1),
		strings.Replace(adslClient, "timeout = 5", "balance = 1\nprobe_targets = \"icmp:198.51.100.10\"\ntunnel_down = \"direct\"", 1),
	}
	before := w.snapshot("router")
	r := rand.New(rand.NewPCG(1, uint64(rounds)))
	var p *netlab.Process
	for i := range rounds {
		if err := os.WriteFile(file, []byte(configs[r.IntN(len(configs))]), 0o600); err != nil {
			t.Fatal(err)
		}
		p = w.start("router", file)
		p.WaitOutput(t, "msg=started", 10*time.Second)
		for k := range r.IntN(3) {
			text := configs[r.IntN(len(configs))] + fmt.Sprintf("# reload %d\n", k)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			was := strings.Count(p.Output(), "configuration reloaded")
			if err := p.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			eventually(t, 10*time.Second, "the configuration is reloaded", func() bool {
				return strings.Count(p.Output(), "configuration reloaded") > was
			})
		}
		how := r.IntN(3)
		if i == rounds-1 {
			how = 0
		}
		switch how {
		case 0:
			if err := p.Stop(); err != nil {
				t.Fatalf("round %d: stopped with %v", i, err)
			}
			wantSame(t, before, w.snapshot("router"))
		case 1:
			p.Kill()
		case 2:
			helpers := managers(p.Pid())
			if len(helpers) != 1 {
				t.Fatalf("round %d: the network is managed by %v", i, helpers)
			}
			syscall.Kill(helpers[0], syscall.SIGKILL)
			p.Kill()
		}
		// The next start finds the interface of the last one gone, and nobody holding the
		// journal.
		eventually(t, 5*time.Second, "the processes end", func() bool { return len(managers(p.Pid())) == 0 && len(managers(1)) == 0 })
	}
}

// TestCrashBlocks kills a daemon: nothing of the host behind it goes beside the tunnel,
// until the crash is undone by hand.
func TestCrashBlocks(t *testing.T) {
	netlab.Require(t)
	w := newADSL(t)
	w.source("web", "198.51.100.10:80")
	// As many have it, out of caution.
	w.sysctl("router", "net/ipv6/conf/all/disable_ipv6", "1")
	before := w.snapshot("router")
	_, adslClient := adsl(t)
	file := writeConfig(t, "client.conf", adslClient)
	p := w.start("router", file)
	p.WaitOutput(t, "msg=started", 10*time.Second)
	leaks := []*capture{w.capture("modem1", "lan0"), w.capture("modem2", "lan0")}
	refused := func() {
		t.Helper()
		c, err := w.hosts["router"].Dial(t.Context(), "tcp", "198.51.100.10:80")
		if err == nil {
			c.Close()
			t.Error("a connection is made beside the tunnel")
		}
		conn, err := w.hosts["lan"].ListenPacket("udp4", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, to := range []string{"198.51.100.10:53", "198.51.100.10:123", "192.168.1.1:53"} {
			conn.WriteTo([]byte("x"), udpAddr(to))
		}
		time.Sleep(200 * time.Millisecond)
		for k, c := range leaks {
			n := c.packets(func(f flow) bool {
				return !f.out && (f.dst == parseAddr("198.51.100.10") || f.src == parseAddr("192.168.0.10"))
			})
			if n > 0 {
				t.Errorf("%d packets leak by modem %d", n, k+1)
			}
		}
	}
	refused() // no server: the tunnel is not up yet
	p.Kill()
	eventually(t, 5*time.Second, "the manager ends", func() bool { return len(managers(p.Pid())) == 0 })
	refused()
	undo := w.hosts["router"].Command(netlab.BuildDaemon(t), "network", "undo", "-c", file)
	if out, err := undo.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	wantSame(t, before, w.snapshot("router"))
}

// TestWrongConfig wants a host that is not touched.
func TestWrongConfig(t *testing.T) {
	netlab.Require(t)
	w := newADSL(t)
	_, adslClient := adsl(t)
	before := w.snapshot("router")
	for name, text := range map[string]string{
		"a key":   strings.Replace(adslClient, "tun", "tunnel", 1) + "remoteport = 99999\n",
		"a probe": strings.Replace(adslClient, "timeout = 5", "probe_targets = \"ping:1.2.3.4\"", 1),
		"a name":  strings.Replace(adslClient, `bindhost = "192.168.2.2"`, `bindhost = "modem.example"`, 1),
	} {
		p := w.start("router", writeConfig(t, "client.conf", text))
		select {
		case <-p.Done():
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the daemon runs with a wrong configuration", name)
		}
		wantSame(t, before, w.snapshot("router"))
	}
}

// TestReassert takes away what the daemon has set up, as a firewall's reload and network
// managers do.
func TestReassert(t *testing.T) {
	netlab.Require(t)
	w := newADSL(t)
	_, adslClient := adsl(t)
	p := w.start("router", writeConfig(t, "client.conf", adslClient), "-u", "nobody")
	p.WaitOutput(t, "msg=started", 10*time.Second)
	managed := w.snapshot("router")
	w.in("router", func() error {
		rules, err := netlink.RuleList(netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		for _, r := range rules {
			if r.Priority >= 20000 && r.Priority < 20011 {
				if err := netlink.RuleDel(&r); err != nil {
					return err
				}
			}
		}
		return flushFirewall()
	})
	eventually(t, 5*time.Second, "rules and firewall are put right again", func() bool { return w.snapshot("router") == managed })
	if err := p.Stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
}
