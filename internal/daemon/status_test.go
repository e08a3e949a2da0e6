package daemon

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/sdnotify"
	"github.com/multilink-vpn/multilink/internal/status"
	"github.com/multilink-vpn/multilink/mlvpn"
)

func TestMonitor(t *testing.T) {
	p1, p2 := freePort(t), freePort(t)
	r := newRig(t, serverConf(serverLink("adsl1", p1, ""), serverLink("adsl2", p2, "")),
		clientConf(clientLink("adsl1", p1, "cost = 1\n"), clientLink("adsl2", p2, "")))
	r.waitUp("adsl1", "adsl2")
	load := r.stream(time.Millisecond)
	time.Sleep(200 * time.Millisecond)
	load.wantAll(t)

	var titles []string
	m := newMonitor(r.client.now.conf, Options{Name: "boat", Version: "1"}, func(title string) { titles = append(titles, title) })
	m.tunnel = r.mclient
	for _, ev := range []mlvpn.Event{
		{Kind: mlvpn.LinkUp, Peer: "server", Link: "adsl2"},
		{Kind: mlvpn.SessionUp, Peer: "server"},
		{Kind: mlvpn.LinkDegraded, Peer: "server", Link: "adsl1"},
		{Kind: mlvpn.LinkDown, Peer: "server", Link: "adsl1"},
	} {
		m.handle(ev)
	}
	if want := []string{"!adsl1 @adsl2", "~adsl1 @adsl2", "!adsl1 @adsl2"}; !slices.Equal(titles, want) {
		t.Errorf("titles %q, want %q", titles, want)
	}
	d := m.document()
	if d.Name != "boat" || d.Mode != "client" || len(d.Tunnels) != 2 || len(d.Sessions) != 1 || !d.Sessions[0].Up {
		t.Fatalf("%+v", d)
	}
	a, b := d.Tunnels[0], d.Tunnels[1]
	if a.Name != "adsl1" || a.Status != status.LinkUp || a.Disconnects != 1 || a.Cost != 1 || a.DestAddr != "127.0.0.1" || a.BindAddr != "any" {
		t.Errorf("%+v", a)
	}
	if b.SentPackets < 10 || b.RecvPackets < 10 || b.LastPacket == 0 || b.RTT == 0 || b.Timeout != 10 {
		t.Errorf("%+v", b)
	}
	if b.Measured == nil || b.Measured.Capacity == 0 || b.Measured.Datagrams < 10 || d.Sessions[0].Limited.Application == 0 {
		t.Errorf("not measured: %+v, %+v", b.Measured, d.Sessions[0])
	}
	if !strings.Contains(string(d.Detail), "Drops") {
		t.Errorf("detail %s", d.Detail)
	}

	s := newMonitor(r.server.now.conf, Options{}, func(string) {})
	s.tunnel = r.mserver
	if d := s.document(); len(d.Tunnels) != 2 || d.Tunnels[0].Peer != "rig" || d.Tunnels[0].BindPort != portText(p1) || d.Tunnels[0].Status != status.LinkUp {
		t.Errorf("server: %+v", d.Tunnels)
	}
	r.stop()
	if d := m.document(); len(d.Tunnels) != 2 || d.Tunnels[0].Status != status.LinkDown {
		t.Errorf("after the end: %+v", d.Tunnels)
	}
}

func TestLinkStatus(t *testing.T) {
	l := &conf.Link{LossTolerance: 10}
	for _, tc := range []struct {
		stats mlvpn.LinkStats
		want  string
	}{
		{mlvpn.LinkStats{State: mlvpn.LinkProbing}, status.LinkWaiting},
		{mlvpn.LinkStats{State: mlvpn.LinkIsUp, Loss: 0.5}, status.LinkUp},
		{mlvpn.LinkStats{State: mlvpn.LinkIsDegraded, Loss: 0.2}, status.LinkLossy},
		{mlvpn.LinkStats{State: mlvpn.LinkIsDegraded}, status.LinkSlow},
		{mlvpn.LinkStats{State: mlvpn.LinkIsDown}, status.LinkDown},
	} {
		if got := linkStatus(l, &tc.stats); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.stats, got, tc.want)
		}
	}
}

func TestOpenControl(t *testing.T) {
	dir := t.TempDir()
	c := &conf.Config{ControlUnixPath: filepath.Join(dir, "s"), ControlBindHost: "127.0.0.1", ControlBindPort: freePort(t)}
	ctl, err := openControl(c, "")
	if err != nil || ctl.unix == nil || ctl.http == nil {
		t.Fatalf("%+v, %v", ctl, err)
	}
	c.ControlUnixPath = filepath.Join(dir, "other")
	if _, err := openControl(c, ""); err == nil || !strings.Contains(err.Error(), "control_bind_host") {
		t.Errorf("a port in use: %v", err)
	}
	ctl.close()
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("files are left behind: %v", entries)
	}
}

// fakeTunnel is measured as told.
type fakeTunnel struct {
	mu      sync.Mutex
	traffic []mlvpn.PortTraffic
	stuck   chan struct{} // Stats waits for it, if it is not nil
}

func (f *fakeTunnel) Stats() mlvpn.Stats {
	if f.stuck != nil {
		<-f.stuck
	}
	return mlvpn.Stats{}
}

func (f *fakeTunnel) Traffic() []mlvpn.PortTraffic {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.traffic
}

// fakeLinks records what it is told.
type fakeLinks struct {
	links
	did []string
}

func (f *fakeLinks) spent(name string, is bool) {
	if is {
		name += " spent"
	}
	f.did = append(f.did, name)
}

func TestQuotas(t *testing.T) {
	c := parse(t, strings.Replace(clientText, "[lte]\n", "[lte]\nquota_day = 10000\n", 1))
	c.StateDir = t.TempDir()
	q, err := openQuotas(c, "", discard)
	if err != nil {
		t.Fatal(err)
	}
	tunnel, took := &fakeTunnel{}, &fakeLinks{}
	q.tunnel, q.links = tunnel, took
	carry := func(packets, bytes uint64) {
		tunnel.traffic = []mlvpn.PortTraffic{{Name: "dsl", SentBytes: 1 << 40}, {Name: "lte", SentPackets: packets, ReceivedBytes: bytes}}
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.Local)
	carry(100, 7199) // and 28 bytes of headers for each packet
	q.count(now)
	if len(took.did) != 0 {
		t.Errorf("before the quota: %q", took.did)
	}
	carry(100, 7200)
	q.count(now)
	q.count(now)
	if want := []string{"lte spent"}; !slices.Equal(took.did, want) {
		t.Errorf("at the quota: %q, want %q", took.did, want)
	}
	if s := q.of("lte"); s == nil || !s.Spent || s.DayUsed != 10000 || q.of("dsl") != nil {
		t.Errorf("account %+v, %+v", s, q.of("dsl"))
	}
	q.save()

	t.Log("# after a restart")
	took.did = nil
	if q, err = openQuotas(c, "", discard); err != nil {
		t.Fatal(err)
	}
	q.tunnel, q.links = tunnel, took
	carry(0, 0)
	q.count(now.Add(time.Hour))
	q.count(now.Add(24 * time.Hour))
	if want := []string{"lte spent", "lte"}; !slices.Equal(took.did, want) {
		t.Errorf("after a restart, and the day after: %q, want %q", took.did, want)
	}

	t.Log("# a link that was taken away and added again")
	carry(0, 5000)
	q.count(now.Add(25 * time.Hour))
	carry(0, 100)
	q.count(now.Add(25 * time.Hour))
	if s := q.of("lte"); s.DayUsed != 5000 {
		t.Errorf("%d bytes used, want 5000", s.DayUsed)
	}
}

// TestWatchdog feeds the watchdog as long as the tunnel answers.
func TestWatchdog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "20000")
	fed := func(stuck chan struct{}) (n int) {
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { feedWatchdog(ctx, sdnotify.FromEnv(), &fakeTunnel{stuck: stuck}, discard) })
		buf := make([]byte, 100)
		l.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		for n < 3 {
			if _, err := l.Read(buf); err != nil {
				break
			}
			n++
		}
		cancel()
		running.Wait()
		return n
	}
	if n := fed(nil); n != 3 {
		t.Errorf("the watchdog was fed %d times, want 3", n)
	}
	for l.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); ; {
		if _, err := l.Read(make([]byte, 100)); err != nil {
			break
		}
	}
	stuck := make(chan struct{})
	defer close(stuck)
	if n := fed(stuck); n != 0 {
		t.Errorf("the watchdog was fed %d times for a tunnel that is stuck", n)
	}
}
