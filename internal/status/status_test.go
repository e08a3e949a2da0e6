package status

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func sample() *Document {
	return &Document{
		Name: "mlvpn", Version: "1.2", Uptime: 1700000000, PID: 42, Mode: "client",
		Tuntap: Tuntap{Type: "tun", Name: "mlvpn0"},
		Tunnels: []Tunnel{
			{Name: "adsl1", Mode: "client", Status: LinkDown, DestAddr: "192.0.2.1", DestPort: "5080"},
			{Name: "adsl2", Status: LinkUp, Peer: "a \"server\"", SRTT: 30, RTT: 0.03, SendRate: 1.25e6, SentBytes: 7, Transport: "tls"},
			{Name: "3g", Status: LinkLossy, Loss: 5, LossRatio: 0.05, Quota: &Quota{Spent: true}, Cost: 2},
		},
		Sessions: []Session{{Peer: "server", Up: true}},
		Detail:   json.RawMessage(`{"Drops":{"Malformed":3,"Replayed":0,"Text":"x"},"Sessions":[]}`),
	}
}

func TestTitle(t *testing.T) {
	if got, want := Title(sample().Tunnels), "!adsl1 @adsl2 ~3g"; got != want {
		t.Errorf("title %q, want %q", got, want)
	}
	two := []Tunnel{{Name: "a", Status: LinkSlow}, {Name: "a", Status: LinkUp}, {Name: "a", Status: LinkDown}}
	if got := Title(two); got != "@a" {
		t.Errorf("of three links of a name: %q", got)
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := WriteTable(&b, sample()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"mlvpn 1.2, client on mlvpn0", "192.0.2.1:5080", "30.0 ms", "10.0 Mbit/s", "quota used up, cost 2", "tls"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestMetrics(t *testing.T) {
	var b bytes.Buffer
	if err := WriteMetrics(&b, sample()); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		`mlvpn_link_up{peer="",link="adsl1"} 0`, `mlvpn_link_up{peer="a \"server\"",link="adsl2"} 1`, `mlvpn_link_degraded{peer="",link="3g"} 1`,
		`mlvpn_link_rtt_seconds{peer="a \"server\"",link="adsl2"} 0.03`, `mlvpn_drops_total{reason="Malformed"} 3`, `mlvpn_session_up{peer="server"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%q is missing", want)
		}
	}
	checkFormat(t, text)
	if !strings.Contains(text, "mlvpn_legacy_peers 0\n") {
		t.Error("no legacy peers are not counted")
	}
	old := sample()
	old.Sessions[0].Legacy = true
	b.Reset()
	if err := WriteMetrics(&b, old); err != nil || !strings.Contains(b.String(), "mlvpn_legacy_peers 1\n") {
		t.Errorf("a legacy peer is not counted, error %v", err)
	}
}

// checkFormat checks what Prometheus insists on: each family once, with its help and its
// type before its samples.
func checkFormat(t *testing.T, text string) {
	t.Helper()
	seen := make(map[string]bool)
	var family string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			family, _, _ = strings.Cut(rest, " ")
			if seen[family] {
				t.Errorf("%s is there twice", family)
			}
			seen[family] = true
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			if f := strings.Fields(rest); len(f) != 2 || f[0] != family || f[1] != "gauge" && f[1] != "counter" {
				t.Errorf("bad line %q", line)
			}
			continue
		}
		var v float64
		i := strings.LastIndexByte(line, ' ')
		if _, err := fmt.Sscan(line[i+1:], &v); err != nil || !strings.HasPrefix(line, family+" ") && !strings.HasPrefix(line, family+"{") {
			t.Errorf("bad line %q", line)
		}
	}
}

func serve(t *testing.T, run func(s *Server, ctx context.Context)) {
	t.Helper()
	s := &Server{State: sample, Names: []string{"router.example"}, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { run(s, ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func TestHTTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, func(s *Server, ctx context.Context) { s.Serve(ctx, l) })
	for _, tc := range []struct {
		method, path, host string
		want               int
	}{
		{"GET", "/status", "", 200},
		{"GET", "/metrics", "localhost:1040", 200},
		{"HEAD", "/status", "127.0.0.1", 200},
		{"GET", "/status", "[::1]:1040", 200},
		{"GET", "/status", "ROUTER.example:1040", 200},
		{"GET", "/status", "evil.example", 403},
		{"GET", "/status", "127.0.0.1.evil.example", 403},
		{"POST", "/status", "localhost", 405},
		{"GET", "/", "localhost", 404},
	} {
		req, _ := http.NewRequest(tc.method, "http://"+l.Addr().String()+tc.path, nil)
		req.Host, req.Close = tc.host, true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%s %s at %q: %s, want %d", tc.method, tc.path, tc.host, resp.Status, tc.want)
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Error("web pages may read the answer")
		}
		if tc.want != 200 && bytes.Contains(body, []byte("adsl1")) {
			t.Errorf("%s %s at %q gives the state away", tc.method, tc.path, tc.host)
		}
	}
}

func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(path, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v, want it for its owner only", fi, err)
	}
	serve(t, func(s *Server, ctx context.Context) { s.ServeUnix(ctx, l) })

	d, err := Fetch(t.Context(), path)
	if err != nil || len(d.Tunnels) != 3 || d.Tunnels[1].SRTT != 30 || d.PID != 42 {
		t.Errorf("%+v, %v", d, err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "STATUS\r\n")
	r := json.NewDecoder(c)
	var fields map[string]any
	if err := r.Decode(&fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields("name version uptime last_reload pid tuntap tunnels") {
		if _, ok := fields[name]; !ok {
			t.Errorf("MLVPN's field %s is missing", name)
		}
	}
	link := fields["tunnels"].([]any)[1].(map[string]any)
	for _, name := range strings.Fields("name mode bindaddr bindport destaddr destport status sentpackets recvpackets sentbytes recvbytes bandwidth srtt loss disconnects last_packet timeout") {
		if _, ok := link[name]; !ok {
			t.Errorf("MLVPN's field %s of a tunnel is missing", name)
		}
	}
	io.WriteString(c, "nonsense\nquit\n")
	rest := bufio.NewReader(io.MultiReader(r.Buffered(), c))
	text, _ := io.ReadAll(rest)
	if !strings.Contains(string(text), "unknown command") || !strings.Contains(string(text), "bye") {
		t.Errorf("after nonsense and quit: %q", text)
	}

	if _, err := ListenUnix(path, 0, 0); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("a socket in use: %v", err)
	}
}

func TestListenUnix(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	fresh, err := ListenUnix(stale, 0, 0)
	if err != nil {
		t.Fatalf("a socket that nobody answers on: %v", err)
	}
	fresh.Close()
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("files are left behind: %v", entries)
	}
	file := filepath.Join(dir, "file")
	os.WriteFile(file, []byte("precious"), 0o600)
	if _, err := ListenUnix(file, 0, 0); err == nil {
		t.Error("a file was replaced by a socket")
	}
	made, err := ListenUnix(filepath.Join(dir, "made", "s"), 0, 0)
	if err != nil {
		t.Fatalf("a directory that is to be made: %v", err)
	}
	made.Close()
	if _, err := ListenUnix(filepath.Join(dir, "no", "such", "s"), 0, 0); err == nil {
		t.Error("a socket in no directory")
	}
}
