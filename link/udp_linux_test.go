package link_test

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// inNetns runs the calling test again in a process with a network namespace of its own,
// and reports whether this is that process.
func inNetns(t *testing.T) bool {
	t.Helper()
	const env = "LINK_TEST_NETNS"
	if os.Getenv(env) == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), env+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
	return false
}

func run(t *testing.T, command string) {
	t.Helper()
	args := strings.Fields(command)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Skipf("%s: %v: %s", command, err, out)
	}
}

// A link over a slow interface refuses what does not fit its buffer, at once.
func TestUDPFullAndTooLarge(t *testing.T) {
	if !inNetns(t) {
		return
	}
	run(t, "ip link add slow type veth peer name far")
	run(t, "ip link set far up")
	run(t, "ip link set slow mtu 1400 up")
	run(t, "ip addr add 10.9.0.1/24 dev slow")
	run(t, "ip addr add fd09::1/64 dev slow nodad")
	run(t, "ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev slow")
	run(t, "ip neigh add fd09::2 lladdr 02:00:00:00:00:02 dev slow")
	run(t, "tc qdisc add dev slow root tbf rate 1mbit burst 3000 limit 10000000")

	for _, remote := range []string{"10.9.0.2:1", "[fd09::2]:1"} {
		s := listenUDP(t, "")
		l := dialUDP(t, link.UDPConfig{Remote: netip.MustParseAddrPort(remote), WriteBuffer: 64 << 10})
		send := map[string]func(pkts [][]byte) (int, error){
			"UDP": l.Send,
			"UDPSocket": func(pkts [][]byte) (int, error) {
				return s.SendTo(pkts, link.Addr{Remote: netip.MustParseAddrPort(remote)})
			},
		}
		for name, send := range send {
			small, big := make([]byte, 100), make([]byte, 1450)
			if n, err := send([][]byte{small, big, small}); n != 1 || err != link.ErrTooLarge {
				t.Errorf("%s to %s: a datagram larger than the interface takes: n = %d, %v", name, remote, n, err)
			}
			if n, err := send([][]byte{small}); n != 1 {
				t.Errorf("%s to %s: Send after ErrTooLarge: %v", name, remote, err)
			}
			pkts := make([][]byte, 3000)
			for i := range pkts {
				pkts[i] = make([]byte, 1300)
			}
			start := time.Now()
			n, err := send(pkts)
			if n == 0 || n == len(pkts) || err != link.ErrFull {
				t.Errorf("%s to %s: %d of %d datagrams on a slow interface: %v", name, remote, n, len(pkts), err)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("%s to %s: Send took %v", name, remote, d)
			}
		}
	}

	// Without a route, the error is not final, and says so.
	run(t, "ip link set slow down")
	_, err := link.DialUDP(link.UDPConfig{Remote: netip.MustParseAddrPort("10.9.0.2:1")})
	if !errors.Is(err, syscall.ENETUNREACH) || !strings.Contains(err.Error(), "check that the interface is up") {
		t.Errorf("dial without a route: %v", err)
	}
}

// Linux has no routing table for a socket: whoever asks for one must not go by another.
func TestRoutingTableIsRefused(t *testing.T) {
	_, err := link.DialUDP(link.UDPConfig{Remote: netip.MustParseAddrPort("127.0.0.1:9"), RoutingTable: 7})
	if err == nil || !strings.Contains(err.Error(), "routing table") {
		t.Errorf("error %v, want one about the routing table", err)
	}
}
