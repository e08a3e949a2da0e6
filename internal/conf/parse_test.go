package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// withoutLines returns c without what depends on the layout of the file.
func withoutLines(c *Config) *Config {
	d := *c
	d.File = ""
	d.Links = append([]Link(nil), c.Links...)
	for i := range d.Links {
		d.Links[i].Line = 0
	}
	d.Filters = append([]Filter(nil), c.Filters...)
	for i := range d.Filters {
		d.Filters[i].Line = 0
	}
	return &d
}

// reparse checks that c, rendered, is a file with the same meaning and no error.
func reparse(t *testing.T, c *Config, text string) {
	t.Helper()
	again, _, err := Parse("rendered", strings.NewReader(text))
	if err != nil {
		t.Fatalf("the rendered file has errors: %v\n%s", err, text)
	}
	if got, want := withoutLines(again), withoutLines(c); !reflect.DeepEqual(got, want) {
		t.Fatalf("parsed\n%s\nwant\n%s\nfrom\n%s", render(got), render(want), text)
	}
}

// randomRouting returns keys for a network that is managed.
func randomRouting(r *rand.Rand, v4, v6 func() netip.Addr) Routing {
	flag := func() bool { return r.IntN(2) == 0 }
	prefix := func(a netip.Addr) []netip.Prefix { return []netip.Prefix{netip.PrefixFrom(a, 8+r.IntN(24)).Masked()} }
	return Routing{
		Manage: true, Direct: flag(), Balance: flag(), ClampMSS: flag(), Reply: flag(), NameTables: flag(),
		IP4Lan: prefix(v4()), IP6Lan: prefix(v6()), IP4Direct: prefix(v4()), IP6Direct: prefix(v6()),
		NAT:           []string{"none", "auto", "eth0"}[r.IntN(3)],
		ProbeTargets:  []string{"icmp:192.0.2.1", "tcp:192.0.2.1:443"}[:1+r.IntN(2)],
		ProbeInterval: time.Duration(100+r.IntN(1000)) * time.Millisecond,
		ProbeTimeout:  time.Duration(50+r.IntN(1000)) * time.Millisecond,
	}
}

// randomConfig returns a valid Config.
func randomConfig(r *rand.Rand) *Config {
	text := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = " abcxyzAZ019=#[]+/.,;'"[r.IntN(22)]
		}
		b[0], b[n-1] = 'a', 'z'
		return string(b)
	}
	maybe := func(s string) string {
		if r.IntN(2) == 0 {
			return ""
		}
		return s
	}
	tolerance := func() (time.Duration, int, time.Duration) {
		return time.Duration(2+r.IntN(100)) * time.Second, r.IntN(101), time.Duration(r.IntN(1000)) * time.Millisecond
	}
	v4 := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
	}
	v6 := func() netip.Addr { return netip.AddrFrom16([16]byte{0xfd, byte(r.Uint32()), 15: byte(r.Uint32())}) }
	c := &Config{
		Mode:            []Mode{Client, Server}[r.IntN(2)],
		StatusCommand:   maybe("/" + text(5)),
		Interface:       fmt.Sprintf("tun%d", r.IntN(100)),
		Device:          []DeviceType{TUN, TAP}[r.IntN(2)],
		Network:         maybe(text(4)),
		ClientsDir:      maybe("/etc/" + text(4)),
		PublicHost:      maybe("server.example.net"),
		ControlUnixPath: maybe("/run/" + text(3)),
		StateDir:        maybe("/var/" + text(3)),
		Scheduler:       []Scheduler{Adaptive, Weighted, Sticky, Redundant}[r.IntN(4)],
		ReorderBuffer:   r.IntN(1000),
		MTU:             r.IntN(2) * (1280 + r.IntN(7721)),
	}
	c.Routing = Routing{ClampMSS: true, Reply: true, NAT: "none"}
	if r.IntN(2) == 0 {
		c.Routing = randomRouting(r, v4, v6)
	}
	if r.IntN(2) == 0 {
		c.ControlBindHost, c.ControlBindPort = "localhost", uint16(1+r.IntN(65535))
	}
	c.Timeout, c.LossTolerance, c.LatencyTolerance = tolerance()
	if r.IntN(2) == 0 {
		c.Password = text(16 + r.IntN(30))
	} else {
		c.PrivateKey, c.PeerKey, c.PresharedKey = text(20), text(20), maybe(text(20))
	}
	if r.IntN(2) == 0 {
		c.IP4 = netip.PrefixFrom(v4(), 1+r.IntN(32))
		c.IP6 = netip.PrefixFrom(v6(), 1+r.IntN(128))
		for c.IP4Gateway = v4(); c.IP4Gateway == c.IP4.Addr(); c.IP4Gateway = v4() {
		}
		for c.IP6Gateway = v6(); c.IP6Gateway == c.IP6.Addr(); c.IP6Gateway = v6() {
		}
		for i := range r.IntN(4) {
			c.IP4Routes = append(c.IP4Routes, netip.PrefixFrom(v4(), 8+8*i).Masked())
			c.IP4Local, c.IP6Remote = c.IP4Routes, c.IP6Routes
			c.IP6Routes = append(c.IP6Routes, netip.PrefixFrom(v6(), 8+8*i).Masked())
		}
	}
	for i := range 1 + r.IntN(4) {
		l := Link{
			Name:              fmt.Sprintf("link %d", i),
			BindHost:          maybe(v4().String()),
			BindPort:          uint16(1 + r.IntN(65535)),
			BindFIB:           r.IntN(3),
			Gateway4:          []netip.Addr{{}, v4()}[r.IntN(2)],
			Gateway6:          []netip.Addr{{}, v6()}[r.IntN(2)],
			Weight:            r.IntN(1001),
			BindDev:           maybe("eth0"),
			RemoteHost:        "host.example",
			RemotePort:        uint16(1 + r.IntN(65535)),
			BandwidthUpload:   r.Uint64N(1e10),
			BandwidthDownload: r.Uint64N(1e10),
			FallbackOnly:      r.IntN(2) == 0,
			Transport:         []Transport{UDP, TCP, TLS, WebSocket}[r.IntN(4)],
			WebSocketPath:     "/",
			Cost:              r.IntN(maxCost + 1),
			Overflow:          r.IntN(2) == 0,
			QuotaDay:          r.Uint64N(1e12),
			QuotaMonth:        1 + r.Uint64N(1e12),
			QuotaResetDay:     1 + r.IntN(31),
		}
		if l.Transport == TLS || l.Transport == WebSocket {
			l.TLSName = maybe("www.example.org")
			if r.IntN(2) == 0 {
				l.TLSCertificate, l.TLSKey = "/"+text(3), "/"+text(3)
			}
		}
		if l.Transport == WebSocket {
			l.WebSocketPath, l.WebSocketPlain = "/"+text(3), r.IntN(2) == 0
		}
		l.Timeout, l.LossTolerance, l.LatencyTolerance = tolerance()
		c.Links = append(c.Links, l)
	}
	for range r.IntN(3) {
		c.Filters = append(c.Filters, Filter{Expression: text(6), Link: c.Links[r.IntN(len(c.Links))].Name})
	}
	return c
}

// TestRenderedParsesTheSame checks random valid files in random order of sections.
func TestRenderedParsesTheSame(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := randomConfig(r)
		text := render(c)
		if r.IntN(2) == 0 {
			general, rest, _ := strings.Cut(text, "\n[")
			text = "[" + rest + strings.TrimSuffix(general, "\n")
		}
		if r.IntN(2) == 0 {
			text = strings.ReplaceAll(text, "\n", "  # comment \"\r\n\n")
		}
		reparse(t, c, text)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*", "*.conf"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, warnings, err := fixed().Parse("fuzz", strings.NewReader(text))
		if (c == nil) == (err == nil) {
			t.Fatalf("Config %v with error %v", c, err)
		}
		lines := strings.Count(text, "\n") + 1
		var errs Errors
		if err != nil && (!errors.As(err, &errs) || len(errs) == 0) && len(text) <= maxFile {
			t.Fatalf("error %T: %v", err, err)
		}
		last := 0
		for _, e := range errs {
			if e.Line < last || e.Line > lines || strings.ContainsAny(e.Message, "\n\x00\x1b") {
				t.Errorf("bad problem %q in a file of %d lines", e, lines)
			}
			last = e.Line
		}
		for _, w := range warnings {
			if w.Line < 1 || w.Line > lines || strings.ContainsAny(w.Message, "\n\x00\x1b") {
				t.Errorf("bad warning %q in a file of %d lines", w, lines)
			}
		}
		if c != nil {
			reparse(t, c, render(c))
		}
	})
}

func TestErrorsUnwrap(t *testing.T) {
	_, _, err := Parse("x.conf", strings.NewReader("[general]\nmode = \"neither\"\n"))
	var first *Error
	if !errors.As(err, &first) || first.File != "x.conf" || first.Line == 0 && first.Message == "" {
		t.Errorf("errors.As finds %+v in %v", first, err)
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines != len(err.(Errors)) {
		t.Errorf("%d lines for %d problems", lines, len(err.(Errors)))
	}
}

func TestConfigHidesSecrets(t *testing.T) {
	c := &Config{File: "x.conf", Mode: Server, Password: "hunter2hunter2hunter2", PrivateKey: "hunter2"}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("text", "config", c, "value", *c)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("json", "config", c, "value", *c)
	fmt.Fprintf(&b, "%v %+v %#v %s %v %+v %#v", c, c, c, c, *c, *c, *c)
	if strings.Contains(b.String(), "hunter") || strings.Count(b.String(), "x.conf (server, 0 links)") != 11 {
		t.Errorf("logged %s", b.String())
	}
}

func TestLimits(t *testing.T) {
	if _, _, err := Parse("big", strings.NewReader(strings.Repeat("#\n", maxFile))); err == nil {
		t.Error("a file of 2 MiB is accepted")
	}
	if _, _, err := Parse("broken", brokenReader{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a broken reader gives %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func TestNearest(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"bindprot", "bindport", "bindport"}, // neighbours swapped
		{"BINDPORT", "bindport", "bindport"},
		{"timeot", "timeout", "timeout"},
		{"mtuu", "mtu", "mtu"},
		{"ip", "ip4", "ip4"},
		{"x", "mtu", ""},
		{"password2000", "password", ""},
		{"", "mtu", ""},
	} {
		if got := nearest(tt.a, []string{"zzzzzzzzzz", tt.b}); got != tt.want {
			t.Errorf("nearest to %q is %q, want %q", tt.a, got, tt.want)
		}
	}
}

// TestEditDistance compares with the definition, computed recursively.
func TestEditDistance(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, r.IntN(6))
		for i := range b {
			b[i] = "abc"[r.IntN(3)]
		}
		return string(b)
	}
	var naive func(a, b string) int
	naive = func(a, b string) int {
		if a == "" || b == "" {
			return len(a) + len(b)
		}
		la, lb := a[:len(a)-1], b[:len(b)-1]
		d := min(naive(la, b), naive(a, lb)) + 1
		if a[len(la)] == b[len(lb)] {
			d = min(d, naive(la, lb))
		} else {
			d = min(d, naive(la, lb)+1)
		}
		if len(la) > 0 && len(lb) > 0 && a[len(la)] == b[len(lb)-1] && a[len(la)-1] == b[len(lb)] {
			d = min(d, naive(a[:len(la)-1], b[:len(lb)-1])+1)
		}
		return d
	}
	for range 300 {
		a, b := word(), word()
		if got, want := editDistance(a, b), naive(a, b); got != want {
			t.Fatalf("distance of %q and %q is %d, want %d", a, b, got, want)
		}
	}
}

func ExampleParse() {
	file := "[general]\nmode = \"client\"\npassword = \"not a published one\"\n[lte]\nremotehost = \"192.0.2.1\"\nremoteprot = 5080\n"
	_, warnings, err := Parse("mlvpn0.conf", strings.NewReader(file))
	for _, w := range warnings {
		fmt.Println("warning:", w)
	}
	fmt.Println(err)
	// Output:
	// warning: mlvpn0.conf:6: unknown key remoteprot is ignored: did you mean remoteport?
	// mlvpn0.conf:4: remoteport is missing in [lte]: write for example remoteport = 5080
}
