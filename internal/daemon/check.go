package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/hook"
	"github.com/multilink-vpn/multilink/internal/netcfg"
	"github.com/multilink-vpn/multilink/internal/netcfg/kernel"
	"github.com/multilink-vpn/multilink/internal/netcfg/manage"
	"github.com/multilink-vpn/multilink/internal/netcfg/probe"
)

// checkTimeout bounds each question that a check asks the network.
const checkTimeout = 2 * time.Second

// overhead is what a packet of the tunnel needs on a line beyond the inner packet: 32
// bytes of ours and the headers of UDP and IP.
func overhead(server netip.Addr) int {
	if server.Is4() {
		return 32 + 8 + 20
	}
	return 32 + 8 + 40
}

// Check examines this host against a configuration, and returns what is wrong, the worst
// first. It changes nothing.
func Check(ctx context.Context, path string) []netcfg.Problem {
	problems := check(ctx, path)
	rank := map[netcfg.Severity]int{netcfg.Failure: 0, netcfg.Warning: 1, netcfg.Note: 2}
	slices.SortStableFunc(problems, func(a, b netcfg.Problem) int { return rank[a.Severity] - rank[b.Severity] })
	return problems
}

func check(ctx context.Context, path string) (problems []netcfg.Problem) {
	fail := func(code string, err error, fix string) {
		for line := range strings.Lines(err.Error()) {
			problems = append(problems, netcfg.Problem{Severity: netcfg.Failure, Code: code, Text: strings.TrimSuffix(line, "\n"), Fix: fix})
		}
	}
	files, err := conf.Read(path)
	if err != nil {
		fail("file", err, "")
		return problems
	}
	c, _, warnings, err := files.Parse(conf.Options{})
	for _, w := range warnings {
		problems = append(problems, netcfg.Problem{Severity: netcfg.Warning, Code: "config", Text: w.String()})
	}
	if err != nil {
		fail("config", err, "")
		return problems
	}
	if c.StatusCommand != "" {
		if _, err := hook.New(hook.Config{Path: c.StatusCommand, Interface: c.Interface}); err != nil {
			fail("script", err, "")
		}
	}
	managed := *c
	managed.Routing.Manage = true
	s, err := networkSettings(&managed, uint32(os.Geteuid()))
	if err != nil {
		fail("config", err, "")
		return problems
	}
	h, err := kernel.Observe()
	if err != nil {
		fail("host", err, "run the check as root, on Linux")
		return problems
	}
	return append(problems, checkHost(ctx, c, s, h)...)
}

// checkHost compares the host with the configuration.
func checkHost(ctx context.Context, c *conf.Config, s *manage.Settings, h *netcfg.Host) (problems []netcfg.Problem) {
	servers, err := resolveServers(ctx, s.Servers)
	if err != nil {
		problems = append(problems, netcfg.Problem{Severity: netcfg.Failure, Code: "name", Text: err.Error(), Fix: "check remotehost and the host's resolver, or write an address"})
	}
	_, running := h.NFT[netcfg.TableName(c.Interface)]
	lines, good := netcfg.CheckLines(s.Network, h, servers, kernel.Lookup)
	if c.Routing.Manage {
		problems = append(problems, netcfg.CheckRules(s.Network, h)...)
		problems = append(problems, managers()...)
		a, err := netcfg.Allocate(s.Network, h, nil)
		if err != nil {
			return append(problems, netcfg.Problem{Severity: netcfg.Failure, Code: "host", Text: err.Error()})
		}
		problems = append(problems, netcfg.Compute(s.Network, &netcfg.State{}, h, a).Problems...)
		if !running {
			problems = append(problems, netcfg.Problem{Severity: netcfg.Note, Code: "not-running", Text: "the daemon does not run: lines that need its routing tables are not tried"})
		}
	}
	if !c.Routing.Manage || running {
		problems = append(problems, lines...)
	}
	if !c.Routing.Manage {
		problems = append(problems, netcfg.CheckHost(s.Network, h)...)
	}
	return append(problems, tryLines(ctx, c, h, servers, good)...)
}

// resolveServers looks the server's names up.
func resolveServers(ctx context.Context, hosts []string) (addrs []netip.Addr, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	for _, host := range hosts {
		found, lerr := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if lerr != nil {
			err = errors.Join(err, fmt.Errorf("cannot look the server up: %w", lerr))
		}
		for _, a := range found {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs, err
}

// tryLines asks the server by each line.
func tryLines(ctx context.Context, c *conf.Config, h *netcfg.Host, servers []netip.Addr, lines []netcfg.Probe) (problems []netcfg.Problem) {
	results := make([][]netcfg.Problem, len(lines))
	var running sync.WaitGroup
	for i, l := range lines {
		for _, server := range servers {
			if netcfg.FamilyOf(server) == l.Key.Family {
				running.Go(func() { results[i] = tryLine(ctx, c, h, l, server) })
				break
			}
		}
	}
	running.Wait()
	return slices.Concat(results...)
}

// tryLine asks the server by one line: whether it is there, whether the port is open, and
// whether full packets pass.
func tryLine(ctx context.Context, c *conf.Config, h *netcfg.Host, p netcfg.Probe, server netip.Addr) (problems []netcfg.Problem) {
	name := p.Key.Name
	link := findLink(c, name)
	line := probe.Line{Addr: p.Addr}
	add := func(severity netcfg.Severity, code, fix, format string, args ...any) {
		problems = append(problems, netcfg.Problem{Severity: severity, Line: name, Code: code, Text: fmt.Sprintf(format, args...), Fix: fix})
	}
	size := cmp.Or(c.MTU, defaultMTU) + overhead(server)
	if mtu := deviceMTU(h, p.Addr); mtu < size {
		add(netcfg.Failure, "mtu", fmt.Sprintf("write mtu = %d in [general], on both ends", mtu-overhead(server)),
			"full packets of the tunnel have %d bytes on the line, and its interface takes %d", size, mtu)
		return problems
	}
	ask := func(f func(ctx context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		return f(ctx)
	}
	if link.Transport == conf.UDP {
		refused := false
		_ = ask(func(ctx context.Context) error {
			refused = probe.Refused(ctx, line, netip.AddrPortFrom(server, link.RemotePort))
			return nil
		})
		if refused {
			add(netcfg.Failure, "port-closed", "start the server, or correct remoteport on this end or bindport on the other",
				"the server %s says that nobody listens on port %d", server, link.RemotePort)
		}
	}
	if err := ask(func(ctx context.Context) error { return probe.Ping(ctx, line, server, 0) }); err != nil {
		add(netcfg.Warning, "no-answer", "look whether the line works and whether the server answers pings",
			"the server %s does not answer a ping by this line", server)
		return problems
	}
	err := ask(func(ctx context.Context) error { return probe.Ping(ctx, line, server, size) })
	if err != nil {
		why := "they get no answer, while small ones do"
		if errors.Is(err, syscall.EMSGSIZE) {
			why = "the line says that they are too large"
		}
		add(netcfg.Failure, "mtu", "write a smaller mtu in [general] on both ends: 1280 fits nearly every line",
			"packets of %d bytes, which the tunnel sends, do not pass this line: %s", size, why)
	}
	return problems
}

// deviceMTU returns the MTU of the interface that has an address.
func deviceMTU(h *netcfg.Host, a netip.Addr) int {
	for _, i := range h.Interfaces {
		if slices.ContainsFunc(i.Addrs, func(x netcfg.InterfaceAddr) bool { return x.Prefix.Addr() == a }) {
			return i.MTU
		}
	}
	return 1500
}

// managers returns which programs of the host may take away what is ours, and the setting
// that tells them not to.
func managers() (problems []netcfg.Problem) {
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	if exists("/run/systemd/netif/state") {
		b, _ := os.ReadFile("/etc/systemd/networkd.conf")
		text := strings.ReplaceAll(string(b), " ", "")
		if !strings.Contains(text, "\nManageForeignRoutingPolicyRules=no") || !strings.Contains(text, "\nManageForeignRoutes=no") {
			problems = append(problems, netcfg.Problem{
				Severity: netcfg.Warning, Code: "networkd",
				Text: "systemd-networkd removes the rules and routes of others when it starts: the daemon puts them back, after a moment without",
				Fix:  "write ManageForeignRoutingPolicyRules=no and ManageForeignRoutes=no below [Network] in /etc/systemd/networkd.conf",
			})
		}
	}
	if exists("/run/NetworkManager") {
		problems = append(problems, netcfg.Problem{
			Severity: netcfg.Note, Code: "networkmanager",
			Text: "NetworkManager looks after this host's interfaces: it leaves rules and routes of others alone, but may want to manage the tunnel's interface",
			Fix:  "write unmanaged-devices=interface-name:mlvpn* below [keyfile] in /etc/NetworkManager/NetworkManager.conf",
		})
	}
	return problems
}
