package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

var (
	clientInner = netip.MustParseAddr("10.42.42.2")
	serverInner = netip.MustParseAddr("10.42.42.1")
)

const (
	password  = "a long string that is random enough here"
	firstPort = 5080
	upTimeout = 15 * time.Second
)

// tunnel is a running server and client.
type tunnel struct {
	dir            string
	server, client *netlab.Process
}

// startTunnel starts both ends with nothing configured but what -set asks for, and waits
// until packets pass and all of the given lines are up.
func (c *course) startTunnel(lines []int) (_ *tunnel, err error) {
	dir, err := os.MkdirTemp("", "multilink-bench-")
	if err != nil {
		return nil, err
	}
	t := &tunnel{dir: dir}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nthe daemons' last words:\n%s", err, tail(t.stop(), 1000))
		}
	}()
	t.server, err = t.start(c.lab.Server, c.binary, "server", config("server", serverInner, clientInner, c.settings, lines, func(k int) string {
		return fmt.Sprintf("bindport = %d\n", firstPort+k)
	}))
	if err != nil {
		return nil, err
	}
	t.client, err = t.start(c.lab.Client, c.binary, "client", config("client", clientInner, serverInner, c.settings, lines, func(k int) string {
		return fmt.Sprintf("bindhost = %q\nremotehost = %q\nremoteport = %d\n", c.lab.ClientAddr(k), c.lab.PublicAddr(), firstPort+k)
	}))
	if err != nil {
		return nil, err
	}
	for _, k := range lines {
		if err := t.client.AwaitOutput(fmt.Sprintf(`"link up" link=line%d`, k+1), upTimeout); err != nil {
			return nil, err
		}
	}
	for deadline := time.Now().Add(upTimeout); ; {
		res, err := c.lab.Client.PingWith(netlab.PingConfig{}, serverInner, 1)
		if err == nil && res.Received > 0 {
			return t, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no ping passes the tunnel after %v", upTimeout)
		}
	}
}

func (t *tunnel) start(h *netlab.Host, binary, name, text string) (*netlab.Process, error) {
	path := filepath.Join(t.dir, name+".conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return h.Launch(h.Command(binary, "--yes-run-as-root", "-c", path))
}

// config returns one end's configuration file. link has the lines of a link's section.
func config(mode string, own, peer netip.Addr, settings []string, lines []int, link func(k int) string) string {
	var b strings.Builder
	section := func(names ...string) {
		for _, s := range settings {
			key, value, _ := strings.Cut(s, "=")
			scope, name, scoped := strings.Cut(key, ".")
			if !scoped {
				scope, name = "", key
			}
			for _, n := range names {
				if scope == n {
					fmt.Fprintf(&b, "%s = %s\n", name, quote(value))
				}
			}
		}
	}
	fmt.Fprintf(&b, "[general]\nmode = %q\ninterface_name = \"mlvpn0\"\npassword = %q\nip4 = \"%s/30\"\nip4_gateway = %q\n", mode, password, own, peer)
	section("", mode)
	for _, k := range lines {
		name := fmt.Sprintf("line%d", k+1)
		fmt.Fprintf(&b, "[%s]\n%s", name, link(k))
		section("link", name)
	}
	return b.String()
}

// quote puts a value that is no number in quotes.
func quote(value string) string {
	if strings.Trim(value, "0123456789") == "" || strings.HasPrefix(value, `"`) {
		return value
	}
	return `"` + value + `"`
}

// cpu returns the processor time that each end has used so far, in seconds.
func (t *tunnel) cpu() (client, server float64, err error) {
	c, err := t.client.CPU()
	if err != nil {
		return 0, 0, err
	}
	s, err := t.server.CPU()
	return c.Seconds(), s.Seconds(), err
}

// stop ends both ends and returns what they wrote.
func (t *tunnel) stop() (log string) {
	for _, p := range []*netlab.Process{t.client, t.server} {
		if p != nil {
			// How it ends is for the daemon's own tests.
			_ = p.Stop()
			log += p.Output()
		}
	}
	os.RemoveAll(t.dir)
	return log
}

// tail returns the end of a text.
func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	return s[max(len(s)-n, 0):]
}
