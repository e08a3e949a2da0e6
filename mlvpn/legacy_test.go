package mlvpn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/legacy"
	"github.com/multilink-vpn/multilink/link/linksim"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// A relic is two ends that speak MLVPN's protocol over simulated lines.
type relic struct {
	*world
	ends [2]*Legacy // client, server
	logs [2]*eventLog
	stop [2]func()
	conf LegacyConfig
	text *lockedText // of both logs
}

// lockedText collects what is logged.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if testing.Verbose() {
		os.Stderr.Write(b)
	}
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newRelic(t *testing.T, lines []line, conf LegacyConfig) *relic {
	t.Helper()
	r := &relic{world: &world{t: t, cfg: worldConfig{lines: lines}, net: linksim.NewNetwork(1)}, conf: conf, text: new(lockedText)}
	r.conf.AcceptRisk = true
	if r.conf.Password == "" {
		r.conf.Password = "secret"
	}
	r.start(1)
	r.start(0)
	return r
}

// start starts the client (0) or the server (1), the first time or again.
func (r *relic) start(which int) {
	r.t.Helper()
	dev := tuntest.New(tuntest.Config{Name: "tun0", MTU: 1400, Queue: 1 << 14})
	r.logs[which] = new(eventLog)
	conf := r.conf
	conf.Device, conf.Server = dev, which == 1
	conf.OnEvent = r.logs[which].add
	conf.Logger = slog.New(slog.NewTextHandler(r.text, nil)).With("end", which)
	end, err := NewLegacy(conf)
	if err != nil {
		r.t.Fatal(err)
	}
	r.ends[which] = end
	for i, l := range r.cfg.lines {
		l.cfg.Name = string(rune('a' + i))
		if which == 1 {
			r.sdev = dev
			sock, err := r.net.Listen(socketAddr(i))
			if err == nil {
				err = end.AddSocket(sock, l.cfg)
			}
			if err != nil {
				r.t.Fatal(err)
			}
			continue
		}
		if i == 0 {
			r.cdev, r.lines, r.ids = dev, nil, nil
		}
		ln := r.dialLegacy(i, l)
		id, err := end.AddLink(ln, l.cfg)
		if err != nil {
			r.t.Fatal(err)
		}
		r.lines, r.ids = append(r.lines, ln), append(r.ids, id)
	}
	r.stop[which] = r.run(fmt.Sprint(which), end.Run)
}

func (r *relic) dialLegacy(i int, l line) *linksim.Link {
	local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}), 0)
	ln, err := r.net.Dial(local, socketAddr(i), l.up, l.down)
	if err != nil {
		r.t.Fatal(err)
	}
	return ln
}

func (r *relic) close() {
	r.stop[0]()
	r.stop[1]()
}

func (r *relic) wantEvents(which int, want ...string) {
	r.t.Helper()
	got := r.logs[which].take()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.t.Errorf("events of end %d: %q, want %q", which, got, want)
	}
}

func legacyLines() []line { return timeouts(twoLines(), 5*time.Second) }

func TestLegacy(t *testing.T) {
	for _, clear := range []bool{false, true} {
		t.Run(fmt.Sprintf("clear=%v", clear), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testLegacy(t, clear) })
		})
	}
}

// testLegacy checks that both ends talk over both links, in order, and that all ends well.
func testLegacy(t *testing.T, clear bool) {
	r := newRelic(t, legacyLines(), LegacyConfig{ClearData: clear})
	r.sleep(1500 * time.Millisecond)
	for which := range 2 {
		r.wantEvents(which, "link up a", "link up b", "session up")
	}
	r.exchange(1000, 2*time.Second)
	for which, end := range r.ends {
		s := end.Stats().Sessions[0]
		if !s.Legacy || !s.Up || len(s.Links) != 2 || s.Cipher == "none" != clear {
			t.Errorf("end %d: %+v", which, s)
		}
		for _, l := range s.Links {
			if l.State != LinkIsUp || l.SentPackets < 300 || l.RTT < 15*time.Millisecond || l.RTT > 60*time.Millisecond || l.Loss != 0 {
				t.Errorf("end %d: %+v", which, l)
			}
		}
	}
	r.stop[0]()
	r.sleep(100 * time.Millisecond)
	r.wantEvents(1, "link down a", "link down b", "session down")
	r.stop[1]()
	if n := strings.Count(r.text.String(), "not secure") + strings.Count(r.text.String(), "unencrypted"); n != 2 {
		t.Errorf("%d warnings of two ends", n)
	}
	if strings.Contains(r.text.String(), "secret") {
		t.Error("the log has the password")
	}
}

func TestLegacyRestart(t *testing.T) { synctest.Test(t, testLegacyRestart) }

// testLegacyRestart checks that either end can be started anew, with or without a word.
func testLegacyRestart(t *testing.T) {
	lines := timeouts(twoLines(), 30*time.Second)
	r := newRelic(t, lines, LegacyConfig{})
	defer r.close()
	r.sleep(1500 * time.Millisecond)
	r.exchange(100, time.Second)
	for round, which := range []int{0, 1, 0, 1} {
		if round >= 2 {
			// Nothing is heard of the end that stops.
			for _, l := range r.lines {
				l.Cut()
			}
		}
		r.stop[which]()
		if which == 1 && round >= 2 {
			for _, l := range r.lines {
				l.Restore()
			}
		}
		r.start(which)
		r.sleep(8 * time.Second)
		r.exchange(100, time.Second)
	}
}

func TestLegacyLinkLost(t *testing.T) { synctest.Test(t, testLegacyLinkLost) }

// testLegacyLinkLost checks that a dead link is left and found again, by both ends.
func testLegacyLinkLost(t *testing.T) {
	r := newRelic(t, legacyLines(), LegacyConfig{})
	defer r.close()
	r.sleep(1500 * time.Millisecond)
	r.logs[0].take()
	r.logs[1].take()
	r.lines[1].Cut()
	r.sleep(4500 * time.Millisecond)
	r.exchange(100, time.Second) // it is suspect, and nothing is sent by it
	r.sleep(2 * time.Second)
	for which := range 2 {
		r.wantEvents(which, "link degraded b", "link down b")
	}
	r.lines[1].Restore()
	r.sleep(2 * time.Second)
	for which := range 2 {
		r.wantEvents(which, "link up b")
	}
	r.exchange(100, time.Second)
}

func TestLegacyRebind(t *testing.T) { synctest.Test(t, testLegacyRebind) }

// testLegacyRebind checks that a server follows a client, and that a client gets a new
// transport.
func testLegacyRebind(t *testing.T) {
	r := newRelic(t, legacyLines(), LegacyConfig{})
	defer r.close()
	r.sleep(1500 * time.Millisecond)
	r.lines[0].Rebind(netip.MustParseAddrPort("192.0.2.7:7777"))
	r.sleep(1500 * time.Millisecond)
	r.exchange(100, time.Second)
	if err := r.ends[0].ReplaceLink(r.ids[1], r.dialLegacy(1, r.cfg.lines[1])); err != nil {
		t.Fatal(err)
	}
	r.sleep(1500 * time.Millisecond)
	r.exchange(100, time.Second)
	r.logs[1].take()
	if err := r.ends[0].RemoveLink(r.ids[0]); err != nil {
		t.Fatal(err)
	}
	r.sleep(100 * time.Millisecond)
	r.wantEvents(1, "link down a")
	r.exchange(100, time.Second)
	if err := r.ends[0].RemoveLink(r.ids[0]); err == nil {
		t.Error("a link can be removed twice")
	}
}

func TestLegacyWrongPassword(t *testing.T) { synctest.Test(t, testLegacyWrongPassword) }

func testLegacyWrongPassword(t *testing.T) {
	r := newRelic(t, legacyLines(), LegacyConfig{})
	defer r.close()
	r.sleep(1500 * time.Millisecond)
	r.stop[0]()
	r.conf.Password = "other"
	r.start(0)
	r.sleep(10 * time.Second)
	r.wantEvents(0)
	if s := r.ends[0].Stats().Sessions[0]; s.Up {
		t.Error("up with another password")
	}
	if d := r.ends[1].Stats().Drops; d.Unauthentic < 10 {
		t.Errorf("%+v", d)
	}
	if n := strings.Count(r.text.String(), "another password"); n != 1 {
		t.Errorf("%d log lines about the password, want 1 a minute", n)
	}
}

// TestLegacyClearForged checks that clear data is taken from the peer's address alone, and
// moves nothing.
func TestLegacyClearForged(t *testing.T) { synctest.Test(t, testLegacyClearForged) }

func testLegacyClearForged(t *testing.T) {
	r := newRelic(t, legacyLines(), LegacyConfig{ClearData: true})
	defer r.close()
	r.sleep(1500 * time.Millisecond)
	seen := make(chan []byte, 100)
	r.lines[0].Close() // of what follows, nothing comes from the client
	spy, err := r.net.Dial(netip.MustParseAddrPort("192.0.2.66:666"), socketAddr(0), mbit(50, time.Millisecond), mbit(50, time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer spy.Close()
	go func() {
		bufs, sizes := [][]byte{make([]byte, 2000)}, make([]int, 1)
		for {
			if _, err := spy.Receive(bufs, sizes); err != nil {
				return
			}
			seen <- slices.Clone(bufs[0][:sizes[0]])
		}
	}()
	client := r.ends[0]
	var forged []byte
	if err := client.e.call(func(now time.Time) {
		p := client.epoch.tx.paths[0].legacy()
		forged = p.out.Data(nil, now, p.codec, 5, stampBits, udp(true, 7, 666, 100))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := spy.Send([][]byte{forged}); err != nil {
		t.Fatal(err)
	}
	r.sleep(1500 * time.Millisecond)
	if got := receive(t, r.sdev); len(got) != 0 {
		t.Errorf("packets %v from another address were delivered", got)
	}
	if len(seen) != 0 {
		t.Errorf("%d datagrams went to another address", len(seen))
	}
}

func TestLegacyErrors(t *testing.T) {
	good := func() LegacyConfig {
		return LegacyConfig{Config: Config{Device: tuntest.New(tuntest.Config{})}, Password: "x", AcceptRisk: true}
	}
	for what, spoil := range map[string]func(*LegacyConfig){
		"no device":   func(c *LegacyConfig) { c.Device = nil },
		"no password": func(c *LegacyConfig) { c.Password = "" },
		"AcceptRisk":  func(c *LegacyConfig) { c.AcceptRisk = false },
		"neither keys": func(c *LegacyConfig) {
			c.Key = crypto.GeneratePrivateKey()
		},
		"nor networks": func(c *LegacyConfig) { c.Network = "home" },
		"rule 1":       func(c *LegacyConfig) { c.Rules = []Rule{{}} },
	} {
		c := good()
		spoil(&c)
		if _, err := NewLegacy(c); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want one that says %q", err, what)
		}
	}
	for server, want := range map[bool]string{true: "AddSocket", false: "AddLink"} {
		c := good()
		c.Server = server
		l, err := NewLegacy(c)
		if err != nil {
			t.Fatal(err)
		}
		net := linksim.NewNetwork(1)
		if server {
			ln, e := net.Dial(netip.MustParseAddrPort("198.51.100.1:0"), socketAddr(0), linksim.Profile{}, linksim.Profile{})
			if e != nil {
				t.Fatal(e)
			}
			_, err = l.AddLink(ln, LinkConfig{Name: "a"})
		} else {
			sock, e := net.Listen(socketAddr(0))
			if e != nil {
				t.Fatal(e)
			}
			err = l.AddSocket(sock, LinkConfig{Name: "a"})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("server %v: error %v, want one that says %s", server, err, want)
		}
	}
	l, err := NewLegacy(good())
	if err != nil {
		t.Fatal(err)
	}
	if l.cfg.Password != "" {
		t.Error("the password is kept")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestLegacyRecall(t *testing.T) { synctest.Test(t, testLegacyRecall) }

// testLegacyRecall checks that a server which was started anew tells a client to call,
// and nobody else.
func testLegacyRecall(t *testing.T) {
	r := newRelic(t, legacyLines()[:1], LegacyConfig{})
	defer r.close()
	r.sleep(1500 * time.Millisecond)
	r.lines[0].Cut() // the client hears no goodbye, and is not heard
	r.stop[1]()
	r.start(1)
	spy, err := r.net.Dial(netip.MustParseAddrPort("192.0.2.66:666"), socketAddr(0), mbit(50, time.Millisecond), mbit(50, time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer spy.Close()
	codec := legacy.Codec{Key: legacy.PasswordKey("secret")}
	other := legacy.Codec{Key: legacy.PasswordKey("other")}
	out := legacy.NewOutgoing(time.Now(), 77, new(legacy.DataSeq))
	heard := make(chan string, 10)
	go func() {
		bufs, sizes := [][]byte{make([]byte, 2000)}, make([]int, 1)
		for {
			if _, err := spy.Receive(bufs, sizes); err != nil {
				return
			}
			h, _, err := codec.Open(nil, bufs[0][:sizes[0]])
			heard <- fmt.Sprint(h.Type, " ", err)
		}
	}()
	answer := func(c *legacy.Codec, typ legacy.Type) string {
		t.Helper()
		if _, err := spy.Send([][]byte{out.Control(nil, time.Now(), c, typ)}); err != nil {
			t.Fatal(err)
		}
		select {
		case s := <-heard:
			return s
		case <-time.After(100 * time.Millisecond):
			return "nothing"
		}
	}
	if got := answer(&codec, legacy.KeepAlive); got != "DISCONNECT <nil>" {
		t.Errorf("a client that has not called is told %s", got)
	}
	if got := answer(&codec, legacy.KeepAlive); got != "nothing" {
		t.Errorf("again at once: %s", got)
	}
	r.sleep(2 * time.Second)
	if got := answer(&codec, legacy.KeepAlive); got != "DISCONNECT <nil>" {
		t.Errorf("a second later: %s", got)
	}
	r.sleep(2 * time.Second)
	if got := answer(&other, legacy.KeepAlive); got != "nothing" {
		t.Errorf("a client with another password is told %s", got)
	}
}
