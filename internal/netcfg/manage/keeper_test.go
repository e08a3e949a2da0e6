package manage

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/multilink-vpn/multilink/internal/netcfg"
)

var discard = slog.New(slog.DiscardHandler)

// fakeHost is a host in memory. It can fail or crash in the middle of changes.
type fakeHost struct {
	h     netcfg.Host
	left  int // single changes until crash, if not negative
	calls int
}

var errCrash = errors.New("crash")

func (f *fakeHost) Observe(files ...string) (*netcfg.Host, error) {
	h := f.h
	h.Routes, h.Rules = slices.Clone(h.Routes), slices.Clone(h.Rules)
	h.Sysctls, h.NFT = maps.Clone(h.Sysctls), maps.Clone(h.NFT)
	h.Files = make(map[string]string)
	for _, name := range files {
		if text, ok := f.h.Files[name]; ok {
			h.Files[name] = text
		}
	}
	return &h, nil
}

func (f *fakeHost) Forget(mark, mask uint32) error { return nil }

// Apply makes one change after the other, as a kernel does.
func (f *fakeHost) Apply(c *netcfg.Changes) error {
	f.calls++
	var steps []func()
	for _, s := range c.SetSysctls {
		steps = append(steps, func() { f.h.Sysctls[s.Name] = s.Value })
	}
	slot := func(r netcfg.Route) string { return fmt.Sprint(r.Family, r.Table, r.Dst, r.Metric) }
	drop := func(r netcfg.Route) {
		f.h.Routes = slices.DeleteFunc(f.h.Routes, func(o netcfg.Route) bool { return o.Ours && slot(o) == slot(r) })
	}
	for _, r := range c.AddRoutes {
		steps = append(steps, func() { drop(r); r.Ours = true; f.h.Routes = append(f.h.Routes, r) })
	}
	if n := c.SetNFT; n != nil {
		steps = append(steps, func() { f.h.NFT[n.Name] = n.Fingerprint() })
	}
	for _, r := range c.AddRules {
		steps = append(steps, func() { r.Ours = true; f.h.Rules = append(f.h.Rules, r) })
	}
	for _, r := range c.DelRules {
		steps = append(steps, func() {
			r.Ours = true
			f.h.Rules = slices.DeleteFunc(f.h.Rules, func(o netcfg.Rule) bool { return o == r })
		})
	}
	if c.DelNFT != "" {
		steps = append(steps, func() { delete(f.h.NFT, c.DelNFT) })
	}
	for _, r := range c.DelRoutes {
		steps = append(steps, func() { drop(r) })
	}
	for _, w := range c.Write {
		steps = append(steps, func() { f.h.Files[w.Path] = w.Content })
	}
	for _, name := range c.Remove {
		steps = append(steps, func() { delete(f.h.Files, name) })
	}
	for _, step := range steps {
		if f.left == 0 {
			return errCrash
		}
		f.left--
		step()
	}
	return nil
}

// text is all of the host, in an order of its own.
func (f *fakeHost) text() string {
	var lines []string
	for _, r := range f.h.Rules {
		lines = append(lines, fmt.Sprintf("%d %s", r.Family, r))
	}
	for _, r := range f.h.Routes {
		lines = append(lines, fmt.Sprintf("%d %s", r.Family, r))
	}
	for _, m := range []map[string]string{f.h.Sysctls, f.h.NFT, f.h.Files} {
		for k, v := range m {
			lines = append(lines, k+" "+v)
		}
	}
	slices.Sort(lines)
	return fmt.Sprint(lines)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func newFakeHost() *fakeHost {
	prefix := func(s string) netcfg.InterfaceAddr { return netcfg.InterfaceAddr{Prefix: netip.MustParsePrefix(s)} }
	return &fakeHost{left: -1, h: netcfg.Host{
		Interfaces: []netcfg.Interface{
			{Name: "eth0", Up: true, Addrs: []netcfg.InterfaceAddr{prefix("192.168.1.2/24"), prefix("192.168.2.2/24")}},
			{Name: "mlvpn0", Up: true, PointToPoint: true, MTU: 1400, Addrs: []netcfg.InterfaceAddr{prefix("10.42.42.2/30")}},
		},
		Routes: []netcfg.Route{{Family: netcfg.V4, Table: netcfg.MainTable, Dst: netcfg.V4.Any(), Device: "eth0", Gateway: addr("192.168.1.1")}},
		Rules:  []netcfg.Rule{{Family: netcfg.V4, Priority: 100, Table: 42}},
		Sysctls: map[string]string{
			netcfg.Forward4Sysctl: "0", "net/ipv4/fib_multipath_hash_policy": "0",
			"net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/eth0/rp_filter": "0", "net/ipv4/conf/mlvpn0/rp_filter": "1",
		},
		NFT: map[string]string{}, Files: map[string]string{},
	}}
}

func config() *netcfg.Config {
	return &netcfg.Config{
		Instance: "mlvpn0",
		Lines: []netcfg.LineConfig{
			{Name: "adsl1", Addr: addr("192.168.1.2")},
			{Name: "adsl2", Addr: addr("192.168.2.2"), Gateway4: addr("192.168.2.1")},
		},
		Tunnel: &netcfg.Tunnel{Device: "mlvpn0", Routes: []netip.Prefix{netcfg.V4.Any(), netip.MustParsePrefix("10.0.0.0/8")}, Block: true},
		Reply:  true, Forward4: true, ClampMSS: true, NameTables: true,
	}
}

func keeper(t *testing.T, f *fakeHost, path string) *Keeper {
	t.Helper()
	k, err := NewKeeper(f, path, discard)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeeperUndoes(t *testing.T) {
	f, path := newFakeHost(), filepath.Join(t.TempDir(), "journal")
	before := f.text()
	k := keeper(t, f, path)
	k.Set(config())
	if err := k.Reconcile(); err != nil {
		t.Fatal(err)
	}
	managed := f.text()
	if managed == before {
		t.Fatal("nothing has changed")
	}
	calls := f.calls
	if err := k.Reconcile(); err != nil || f.calls != calls {
		t.Errorf("a host that is as planned is changed (%v)", err)
	}
	if err := k.Undo(); err != nil {
		t.Fatal(err)
	}
	if after := f.text(); after != before {
		t.Errorf("after\n%s\nbefore\n%s", after, before)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the journal stays")
	}
}

// TestKeeperSpares has others change what is ours, and own what we want.
func TestKeeperSpares(t *testing.T) {
	f, path := newFakeHost(), filepath.Join(t.TempDir(), "journal")
	theirs := netcfg.Route{Family: netcfg.V4, Table: netcfg.MainTable, Dst: netip.MustParsePrefix("10.0.0.0/8"), Device: "eth0", Gateway: addr("192.168.1.9")}
	f.h.Routes = append(f.h.Routes, theirs)
	k := keeper(t, f, path)
	k.Set(config())
	if err := k.Reconcile(); err != nil {
		t.Fatal(err)
	}
	k.Update(func(s *netcfg.State) { s.TunnelUp = true })
	if err := k.Reconcile(); err != nil {
		t.Fatal(err)
	}
	f.h.Sysctls["net/ipv4/conf/mlvpn0/rp_filter"] = "0" // somebody's wish while we run: not loose any more
	f.h.Sysctls[netcfg.Forward4Sysctl] = "1"
	if err := k.Undo(); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(f.h.Routes, func(r netcfg.Route) bool { return fmt.Sprint(r) == fmt.Sprint(theirs) }) {
		t.Error("somebody else's route is gone")
	}
	if got := f.h.Sysctls["net/ipv4/conf/mlvpn0/rp_filter"]; got != "0" {
		t.Errorf("a setting that somebody has changed since is %s, want 0", got)
	}
}

// TestKeeperCrashes ends the process at any point of any change, and wants the next one
// to undo everything.
func TestKeeperCrashes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 80 {
		f, path := newFakeHost(), filepath.Join(t.TempDir(), "journal")
		before := f.text()
		for range 1 + r.IntN(4) {
			k := keeper(t, f, path)
			cfg := config()
			cfg.NameTables, cfg.Balance, cfg.Reply = r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0
			if r.IntN(2) == 0 {
				cfg.Lines = cfg.Lines[:1]
			}
			k.Set(cfg)
			f.left = r.IntN(40) - 1
			_ = k.Reconcile() // which may crash
			k.Update(func(s *netcfg.State) { s.TunnelUp = true })
			_ = k.Reconcile()
			if r.IntN(3) == 0 {
				_ = k.Undo()
			}
		}
		f.left = -1
		if err := keeper(t, f, path).Undo(); err != nil {
			t.Fatal(err)
		}
		if after := f.text(); after != before {
			t.Fatalf("round %d: after\n%s\nbefore\n%s", round, after, before)
		}
	}
}

// TestKeeperPutsRight has somebody remove what is ours.
func TestKeeperPutsRight(t *testing.T) {
	f := newFakeHost()
	k := keeper(t, f, filepath.Join(t.TempDir(), "journal"))
	k.Set(config())
	if err := k.Reconcile(); err != nil {
		t.Fatal(err)
	}
	managed := f.text()
	f.h.Rules, f.h.NFT = f.h.Rules[:1], map[string]string{}
	f.h.Routes = f.h.Routes[:3]
	f.h.Sysctls[netcfg.Forward4Sysctl] = "0"
	if err := k.Reconcile(); err != nil {
		t.Fatal(err)
	}
	if got := f.text(); got != managed {
		t.Errorf("got\n%s\nwant\n%s", got, managed)
	}
}

// TestKeeperNeedsJournal changes nothing when that could not be undone after a crash.
func TestKeeperNeedsJournal(t *testing.T) {
	f := newFakeHost()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := f.text()
	k := keeper(t, f, filepath.Join(dir, "journal"))
	k.path = filepath.Join(dir, "file", "journal")
	k.Set(config())
	if err := k.Reconcile(); err == nil {
		t.Error("no error without a journal")
	}
	if f.text() != before {
		t.Error("the host is changed")
	}
}
