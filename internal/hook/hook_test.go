//go:build unix

package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// limit is how long a test waits for what must happen.
const limit = 20 * time.Second

// script writes an executable script and returns its path.
func script(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "updown.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.Join(lines, "\n")+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// A logBuffer collects log lines for many goroutines.
type logBuffer struct {
	mu sync.Mutex // guards the following
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A testRunner is a Runner whose Run is under way.
type testRunner struct {
	*Runner
	t      *testing.T
	log    *logBuffer
	cancel context.CancelFunc
	ended  chan struct{}
}

func start(t *testing.T, cfg Config) *testRunner {
	t.Helper()
	log := new(logBuffer)
	cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tr := &testRunner{Runner: r, t: t, log: log, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(tr.ended)
		if err := r.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); tr.wait() })
	return tr
}

// wait waits until Run has returned.
func (r *testRunner) wait() {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(limit):
		r.t.Fatal("Run does not return")
	}
}

// drain lets all events be run.
func (r *testRunner) drain() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := r.Drain(ctx); err != nil {
		r.t.Fatalf("Drain: %v\n%s", err, r.log)
	}
	r.wait()
}

func (r *testRunner) wantLog(want string) {
	r.t.Helper()
	if !strings.Contains(r.log.String(), want) {
		r.t.Errorf("%q is not in the log:\n%s", want, r.log)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// waitFile waits until a script has written the file.
func waitFile(t *testing.T, path string) string {
	t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(path); err == nil && bytes.HasSuffix(b, []byte("\n")) {
			return string(b)
		}
	}
	t.Fatalf("no script has written %s", path)
	return ""
}

func TestContract(t *testing.T) {
	t.Setenv("LD_PRELOAD", "")
	t.Setenv("BASH_ENV", "/nowhere")
	out := filepath.Join(t.TempDir(), "out")
	r := start(t, Config{
		Path: script(t, `{ echo "$# [$1] [$2] [$3]"; pwd; /usr/bin/env | /usr/bin/sort; /bin/cat; } >> `+out), Interface: "mlvpn0",
		IP4: "10.42.42.2/30", IP4Gateway: "10.42.42.1", IP4Routes: "192.168.0.0/24 10.0.0.0/8", MTU: 1400,
	})
	r.Post(Event{Type: RtunUp, Link: "adsl 1"})
	r.Post(Event{Type: TuntapUp, Link: "unused"})
	r.drain()
	env := "/\nDEVICE=mlvpn0\nIP4=10.42.42.2/30\nIP4_GATEWAY=10.42.42.1\nIP4_ROUTES=192.168.0.0/24 10.0.0.0/8\n" +
		"IP6=\nIP6_GATEWAY=\nIP6_ROUTES=\nMTU=1400\nPATH=" + path + "\n"
	var got []string
	for line := range strings.Lines(read(t, out)) {
		if !strings.HasPrefix(line, "PWD=") && !strings.HasPrefix(line, "SHLVL=") && !strings.HasPrefix(line, "OLDPWD=") && !strings.HasPrefix(line, "_=") {
			got = append(got, line) // the others are the shell's own
		}
	}
	want := "3 [mlvpn0] [rtun_up] [adsl 1]\n" + env + "2 [mlvpn0] [tuntap_up] []\n" + env
	if text := strings.Join(got, ""); text != want {
		t.Errorf("the script saw\n%s\nwant\n%s", text, want)
	}
}

func TestSetMTU(t *testing.T) {
	r := start(t, Config{Path: script(t, "echo mtu $MTU"), MTU: 1400})
	r.SetMTU(1372)
	r.Post(Event{Type: TuntapUp})
	r.drain()
	r.wantLog("mtu 1372")
}

// TestOrder runs a few events of a slow script and wants all of them, one at a time.
func TestOrder(t *testing.T) {
	dir := t.TempDir()
	r := start(t, Config{Path: script(t,
		"mkdir "+dir+"/lock || echo overlap >> "+dir+"/out",
		"sleep 0.02",
		"echo $2 $3 >> "+dir+"/out",
		"rmdir "+dir+"/lock")})
	var want strings.Builder
	for i := range 5 {
		for _, e := range []Event{{RtunUp, fmt.Sprint("l", i)}, {RtunDown, fmt.Sprint("l", i)}} {
			r.Post(e)
			fmt.Fprintln(&want, e.Type, e.Link)
		}
	}
	r.drain()
	if got := read(t, dir+"/out"); got != want.String() {
		t.Errorf("ran\n%swant\n%s", got, want.String())
	}
}

// TestLatestWins fills the queue while a script hangs and wants only the last state of
// each link after it.
func TestLatestWins(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(dir+"/gate", 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, Config{Path: script(t,
		"echo $2 $3 >> "+dir+"/out",
		"[ -e "+dir+"/passed ] || { read x < "+dir+"/gate; : > "+dir+"/passed; }")})
	r.Post(Event{Type: TuntapUp})
	waitFile(t, dir+"/out")
	for range 500 {
		r.Post(Event{Type: RtunUp, Link: "a"})
		r.Post(Event{Type: RtunDown, Link: "b"})
		r.Post(Event{Type: RtunDown, Link: "a"})
		r.Post(Event{Type: RtunUp, Link: "b"})
		// The script was told this last, so that there is nothing to tell.
		r.Post(Event{Type: TuntapDown})
		r.Post(Event{Type: TuntapUp})
	}
	if n := len(r.queue); n > longQueue+1 {
		t.Errorf("%d events wait", n)
	}
	if err := os.WriteFile(dir+"/gate", []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	r.drain()
	lines := strings.Split(strings.TrimSpace(read(t, dir+"/out")), "\n")
	last := make(map[string]string)
	for _, line := range lines {
		event, link, _ := strings.Cut(line, " ")
		last[link] = event
	}
	if len(lines) > longQueue+2 || last["a"] != "rtun_down" || last["b"] != "rtun_up" || last[""] != "tuntap_up" {
		t.Errorf("%d runs, ending with %v", len(lines), last)
	}
}

// TestToldOnce wants nothing queued for links that end as the script saw them last.
func TestToldOnce(t *testing.T) {
	r := &Runner{last: map[string]Type{"link a": RtunUp, "link b": RtunUp}, wake: make(chan struct{}, 1)}
	for len(r.queue) < longQueue {
		r.Post(Event{Type: RtunDown, Link: "a"})
		r.Post(Event{Type: RtunDown, Link: "b"})
	}
	r.Post(Event{Type: RtunUp, Link: "a"})
	if want := []Event{{RtunDown, "b"}}; !slices.Equal(r.queue, want) {
		t.Errorf("%v wait, want %v", r.queue, want)
	}
}

// TestCoalesce compares the queue, without a script, with a naive model: after any
// events, running what is queued leaves each link in the state that was posted last.
func TestCoalesce(t *testing.T) {
	r := &Runner{last: make(map[string]Type), wake: make(chan struct{}, 1)}
	want := make(map[string]Type)
	told := make(map[string]Type)
	seed := uint32(1)
	random := func(n uint32) uint32 { seed = seed*1664525 + 1013904223; return (seed >> 16) % n }
	for range 20000 {
		if random(4) == 0 {
			if e, ok, _ := r.next(); ok {
				told[e.subject()] = e.Type
			}
			continue
		}
		e := Event{Type: []Type{RtunUp, RtunDown}[random(2)], Link: fmt.Sprint(random(20))}
		if random(10) == 0 {
			e = Event{Type: []Type{TuntapUp, TuntapDown}[random(2)]}
		}
		r.Post(e)
		want[e.subject()] = e.Type
		if len(r.queue) > longQueue+21 {
			t.Fatalf("%d events wait", len(r.queue))
		}
		after := make(map[string]Type)
		for s, typ := range told {
			after[s] = typ
		}
		for _, e := range r.queue {
			after[e.subject()] = e.Type
		}
		for s, typ := range want {
			if after[s] != typ {
				t.Fatalf("%q ends as %q, want %q", s, after[s], typ)
			}
		}
	}
}

// TestTimeout wants the script and what it started killed, and the next event run.
func TestTimeout(t *testing.T) {
	dir := t.TempDir()
	r := start(t, Config{Timeout: 300 * time.Millisecond, Path: script(t,
		"[ $2 = tuntap_up ] || { echo ran; exit 0; }",
		"sleep 600 &",
		"echo $! > "+dir+"/pid",
		"trap '' TERM",
		"sleep 600")})
	r.Post(Event{Type: TuntapUp})
	r.Post(Event{Type: TuntapDown})
	r.drain()
	r.wantLog("it took too long")
	r.wantLog("line=ran")
	wantGone(t, strings.TrimSpace(read(t, dir+"/pid")))
}

// wantGone waits until the process has ended. A zombie, which nobody waits for here,
// has.
func wantGone(t *testing.T, pid string) {
	t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var n int
		if _, err := fmt.Sscan(pid, &n); err != nil {
			t.Fatal(err)
		}
		if syscall.Kill(n, 0) != nil {
			return
		}
		if stat, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && bytes.Contains(stat, []byte(") Z ")) {
			return
		}
	}
	t.Errorf("process %s is still there", pid)
}

// TestCancel wants Run to end at once with the script killed.
func TestCancel(t *testing.T) {
	dir := t.TempDir()
	r := start(t, Config{Path: script(t, "echo $$ > "+dir+"/pid", "sleep 600", "echo unreachable")})
	r.Post(Event{Type: TuntapUp})
	r.Post(Event{Type: TuntapDown})
	pid := waitFile(t, dir+"/pid")
	r.cancel()
	r.wait()
	wantGone(t, strings.TrimSpace(pid))
	r.wantLog("the daemon stops")
	if err := r.Drain(context.Background()); !errors.Is(err, ErrStopped) {
		t.Errorf("Drain after the end: %v", err)
	}
}

// TestDrainDeadline wants Drain to end Run at its deadline.
func TestDrainDeadline(t *testing.T) {
	dir := t.TempDir()
	r := start(t, Config{Path: script(t, "echo $$ > "+dir+"/pid", "sleep 600")})
	r.Post(Event{Type: TuntapUp})
	waitFile(t, dir+"/pid")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := r.Drain(ctx); !errors.Is(err, ErrStopped) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain: %v", err)
	}
	r.wait()
	if err := r.Drain(context.Background()); err != nil {
		t.Errorf("Drain once more: %v", err)
	}
	r.Post(Event{Type: TuntapDown})
	if len(r.queue) != 0 {
		t.Error("an event is queued after Drain")
	}
}

func TestRunTwiceAndDrainUnstarted(t *testing.T) {
	r, err := New(Config{Path: script(t, "true")})
	if err != nil {
		t.Fatal(err)
	}
	r.Post(Event{Type: TuntapUp})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Drain(ctx); !errors.Is(err, ErrStopped) {
		t.Errorf("Drain without Run: %v", err)
	}
	if err := r.Run(context.Background()); err != nil {
		t.Errorf("Run after Drain: %v", err)
	}
	if err := r.Drain(context.Background()); !errors.Is(err, ErrStopped) {
		t.Errorf("the event was run after Drain gave up: %v", err)
	}
	if err := r.Run(context.Background()); err == nil {
		t.Error("Run can be called twice")
	}
}

func TestOutput(t *testing.T) {
	r := start(t, Config{Path: script(t,
		"echo first; echo second >&2; printf unfinished",
		"i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done",
		"exit 3")})
	r.Post(Event{Type: RtunDown, Link: "lte"})
	r.drain()
	r.wantLog("event=rtun_down link=lte line=first")
	r.wantLog("line=second")
	r.wantLog("line=unfinished0123")
	r.wantLog("longer than the limit")
	r.wantLog("exit status 3")
	if n := strings.Count(r.log.String(), "0123456789\n"); n < 1500 || n > maxOutput/41 {
		t.Errorf("%d lines logged", n)
	}
}

// TestLeftBehind wants a background process that holds the output open not to stop
// the events after it.
func TestLeftBehind(t *testing.T) {
	dir := t.TempDir()
	r := start(t, Config{Path: script(t, "[ $2 = tuntap_up ] || exit 0", "sleep 600 & echo $! > "+dir+"/pid")})
	r.Post(Event{Type: TuntapUp})
	r.Post(Event{Type: TuntapDown})
	r.drain()
	r.wantLog("left a process behind")
	var pid int
	fmt.Sscan(read(t, dir+"/pid"), &pid)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the process that the script left behind is gone: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	good := script(t, "true")
	dir := t.TempDir()
	mode := func(m fs.FileMode) string {
		path := filepath.Join(dir, fmt.Sprintf("mode%o", m))
		if err := os.WriteFile(path, nil, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, m); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(open, "x"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(open, "x"), link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o770); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Path: "updown.sh"}, "not an absolute path"},
		{Config{Path: filepath.Join(dir, "none")}, "no such file"},
		{Config{Path: dir}, "not a regular file"},
		{Config{Path: fifo}, "not a regular file"},
		{Config{Path: mode(0o600)}, "not executable (mode 0600)"},
		{Config{Path: mode(0o770)}, "writable by others (mode 0770): run chmod 700"},
		{Config{Path: mode(0o702)}, "writable by others"},
		{Config{Path: filepath.Join(open, "x")}, "directory " + open + " is writable by others"},
		{Config{Path: link}, "directory " + open + " is writable by others"},
		{Config{Path: good, Interface: "a\x00b"}, "not printable ASCII"},
		{Config{Path: good, IP4Routes: "a\nPATH=b"}, "not printable ASCII"},
	} {
		if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.cfg, err, tt.want)
		}
	}
	if _, err := New(Config{Path: mode(0o755)}); err != nil {
		t.Errorf("mode 755: %v", err)
	}
	if os.Geteuid() == 0 {
		theirs := mode(0o711)
		if err := os.Chown(theirs, 65534, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{Path: theirs}); err == nil || !strings.Contains(err.Error(), "belongs to uid 65534") {
			t.Errorf("a stranger's script: %v", err)
		}
	} else if os.Getenv("MULTILINK_REQUIRE_ROOT") == "1" {
		t.Error("not root")
	}
}

// TestCheckedAtEachRun changes the script's mode after New.
func TestCheckedAtEachRun(t *testing.T) {
	path := script(t, "echo ran")
	r := start(t, Config{Path: path})
	if err := os.Chmod(path, 0o722); err != nil {
		t.Fatal(err)
	}
	r.Post(Event{Type: TuntapUp})
	r.drain()
	r.wantLog("status command refused")
	if strings.Contains(r.log.String(), "line=ran") {
		t.Errorf("the script was run:\n%s", r.log)
	}
}

// TestZeroLog runs without a logger.
func TestZeroLog(t *testing.T) {
	r, err := New(Config{Path: script(t, "echo x; exit 1")})
	if err != nil {
		t.Fatal(err)
	}
	r.Post(Event{Type: TuntapUp})
	ended := make(chan error, 1)
	go func() { ended <- r.Run(context.Background()) }()
	if err := errors.Join(r.Drain(context.Background()), <-ended); err != nil {
		t.Error(err)
	}
}

func TestLineLogger(t *testing.T) {
	var b bytes.Buffer
	w := &lineLogger{log: slog.New(slog.NewTextHandler(&b, nil)), left: 12}
	for _, part := range []string{"on", "e\n\ntw", "o\r\nlonger than that\n"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("Write: %d, %v", n, err)
		}
	}
	w.finish()
	var lines []string
	for line := range strings.Lines(b.String()) {
		_, msg, _ := strings.Cut(strings.TrimSpace(line), "msg=")
		_, text, _ := strings.Cut(msg, "line=")
		lines = append(lines, text)
	}
	if want := []string{"one", "two", "lo", ""}; !slices.Equal(lines, want) {
		t.Errorf("logged %q, want %q", lines, want)
	}
}

func ExampleRunner() {
	r, err := New(Config{Path: "updown.sh", Interface: "mlvpn0", MTU: 1400})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	go r.Run(ctx)
	r.Post(Event{Type: RtunUp, Link: "adsl1"})
	r.Post(Event{Type: TuntapUp})
	r.Drain(ctx)
	// Output: status command: "updown.sh" is not an absolute path
}
