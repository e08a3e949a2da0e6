package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/internal/bench/report"
	"github.com/multilink-vpn/multilink/internal/netlab"
)

// require skips the test where the bench cannot run, unless that is forbidden.
func require(t *testing.T) {
	t.Helper()
	netlab.Require(t)
	if err := findTools([]string{report.MPTCP}); err != nil {
		if os.Getenv("MULTILINK_REQUIRE_ROOT") == "1" {
			t.Fatalf("%v, and MULTILINK_REQUIRE_ROOT=1 forbids skipping", err)
		}
		t.Skip(err)
	}
}

// TestBench measures a little of everything. How much gets through is no matter here, but
// it cannot be more than the lines have.
func TestBench(t *testing.T) {
	require(t)
	file := filepath.Join(t.TempDir(), "results.json")
	only := "tunnel,mptcp"
	if os.Getenv("MULTILINK_LONG") == "1" {
		only = "raw,alone,tunnel,mptcp,blackhole"
	}
	var stdout, stderr strings.Builder
	args := []string{"-only", only, "-dir", "up", "-cc", "cubic", "-warm", "1s", "-t", "1s", "-json", file, "few: 8/6, 5 + 8/4, 10"}
	err := run(args, &stdout, &stderr)
	t.Logf("%s%s", stderr.String(), stdout.String())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var runs []report.Run
	if err := json.Unmarshal(text, &runs); err != nil {
		t.Fatal(err)
	}
	done := make(map[string]bool)
	for _, r := range runs {
		if !r.Counts() {
			continue // and was made again
		}
		done[r.Kind] = true
		if r.Goodput <= 0 || r.Goodput > 2*r.Sum {
			t.Errorf("%s: %.2f Mbit/s over lines of %.2f", r.Kind, r.Goodput, r.Sum)
		}
		if r.Kind == report.Raw {
			continue
		}
		if r.Gap <= 0 || len(r.Series) < 15 || r.Idle.Received == 0 || r.Loaded.Received == 0 || r.Idle.Min < 10 {
			t.Errorf("%s: gap %v ms, series %v, ping idle %+v, loaded %+v", r.Kind, r.Gap, r.Series, r.Idle, r.Loaded)
		}
	}
	for _, kind := range strings.Split(only, ",") {
		if !done[kind] {
			t.Errorf("no run of kind %s counts", kind)
		}
	}
	for _, want := range []string{"| few | 8/6, 5 + 8/4, 10 |", "| few | up | cubic | 10.0 |"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-only", "everything"}, "everything"},
		{[]string{"-dir", "sideways"}, "sideways"},
		{[]string{"-set", "mtu"}, "key=value"},
		{[]string{"nowhere"}, "nowhere"},
	} {
		var stderr strings.Builder
		if err := run(c.args, &stderr, &stderr); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want it to mention %q", c.args, err, c.want)
		}
	}
}

func TestList(t *testing.T) {
	var stdout, stderr strings.Builder
	if err := run([]string{"-list"}, &stdout, &stderr); err != nil || !strings.Contains(stdout.String(), "fibre_lte ") {
		t.Errorf("%v, %q", err, stdout.String())
	}
}

func TestConfig(t *testing.T) {
	settings := []string{"mtu=1300", "client.timeout=5", "server.timeout=6", "link.bandwidth_upload=7", "line2.fallback_only=1", "statuscommand=/bin/true"}
	got := config("client", clientInner, serverInner, settings, []int{0, 1}, func(int) string { return "remoteport = 1\n" })
	want := `[general]
mode = "client"
interface_name = "mlvpn0"
password = "` + password + `"
ip4 = "10.42.42.2/30"
ip4_gateway = "10.42.42.1"
mtu = 1300
timeout = 5
statuscommand = "/bin/true"
[line1]
remoteport = 1
bandwidth_upload = 7
[line2]
remoteport = 1
bandwidth_upload = 7
fallback_only = 1
`
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}
