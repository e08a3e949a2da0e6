package netlab

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/internal/netlab/netns"
	"github.com/multilink-vpn/multilink/internal/netlab/wan"
)

// NewHosts makes hosts without any interface but an idle loopback one, for a test that
// joins them itself, with these names. They end with the test, and with the test process
// if that dies first. Call [Require] first.
func NewHosts(tb testing.TB, names ...string) map[string]*Host {
	tb.Helper()
	hosts, err := startHosts(tb, names)
	if err != nil {
		tb.Fatalf("netlab: hosts: %v", err)
	}
	return hosts
}

func startHosts(tb testing.TB, names []string) (map[string]*Host, error) {
	tool, err := buildTool()
	if err != nil {
		return nil, err
	}
	b, err := startBridge(tool)
	if err != nil {
		return nil, err
	}
	first, err := claim()
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	base := strings.TrimSuffix(first, "-cl")
	full := []string{base + "-cl"} // claim's own, which holds the name
	hosts := make(map[string]*Host)
	for _, name := range names {
		hosts[name] = &Host{Name: fmt.Sprintf("%s-%s", base, name), tool: tool}
		full = append(full, hosts[name].Name)
	}
	tb.Cleanup(func() {
		err := b.close()
		for _, name := range full {
			err = errors.Join(err, netns.Remove(name))
		}
		if err != nil {
			tb.Errorf("netlab: close: %v", err)
		}
	})
	if _, err := b.call(wan.Request{Guard: full}); err != nil {
		return nil, err
	}
	for _, name := range full[1:] {
		if err := netns.Create(name); err != nil {
			return nil, err
		}
	}
	return hosts, nil
}
