//go:build unix

package hook

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serveEnv makes the test binary the other process of a Remote.
const serveEnv = "HOOK_TEST_SERVE"

// serveIfAsked is the other process of a Remote, when the test binary is that.
func serveIfAsked() {
	if os.Getenv(serveEnv) == "" {
		return
	}
	if err := Serve(os.Stdin, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

func other() *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{serveEnv + "=1"}
	cmd.Stderr = os.Stderr
	return cmd
}

func TestRemote(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	path := script(t, `echo "$1 $2 $3 $IP4 $MTU $`+serveEnv+`." >> `+out)
	r, err := StartRemote(Config{Path: path, Interface: "mlvpn0", IP4: "10.0.0.1/24", MTU: 1400}, other())
	if err != nil {
		t.Fatal(err)
	}
	r.Post(Event{Type: RtunUp, Link: "dsl"})
	r.Post(Event{Type: TuntapUp})
	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want := "mlvpn0 rtun_up dsl 10.0.0.1/24 1400 .\nmlvpn0 tuntap_up  10.0.0.1/24 1400 .\n"
	if string(got) != want {
		t.Errorf("the script saw\n%s\nwant\n%s", got, want)
	}
	r.Post(Event{Type: TuntapDown}) // does nothing
}

func TestRemoteRefusesWhatNewRefuses(t *testing.T) {
	if _, err := StartRemote(Config{Path: "/nonexistent"}, other()); err == nil {
		t.Error("no error")
	}
}

func TestRemoteDiesOrHangs(t *testing.T) {
	path := script(t, "true")
	r, err := StartRemote(Config{Path: path}, exec.Command("false"))
	if err != nil {
		t.Fatal(err)
	}
	r.Post(Event{Type: TuntapUp})
	if err := r.Drain(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("a process that dies: %v", err)
	}
	cmd := exec.Command("sleep", "60")
	if r, err = StartRemote(Config{Path: path}, cmd); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Drain(ctx); !errors.Is(err, ErrStopped) {
		t.Errorf("a process that hangs: %v", err)
	}
	cmd.Process.Kill()
	<-r.ended
}

func TestServeRefusesNonsense(t *testing.T) {
	for _, in := range []string{"", "nonsense", `{"Path":"/nonexistent"}`} {
		if err := Serve(strings.NewReader(in), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%q: no error", in)
		}
	}
	path := script(t, "true")
	if err := Serve(strings.NewReader(`{"Path":"`+path+`"} nonsense`), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("nonsense after the configuration: no error")
	}
}

// TestServeRefusesStrangeEvents plays a daemon that somebody has taken over: the script
// hears of no event that a good one could not report.
func TestServeRefusesStrangeEvents(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	path := script(t, `echo "$2 $3" >> `+out)
	in := `{"Path":"` + path + `"}` +
		`{"Type":"rtun_up","Link":"dsl 1"}` +
		`{"Type":"shutdown"}` +
		`{"Type":"rtun_up","Link":""}` +
		`{"Type":"rtun_up","Link":"--help"}` +
		`{"Type":"rtun_up","Link":"a\nb"}` +
		`{"Type":"rtun_up","Link":"a\"b"}` +
		`{"Type":"rtun_up","Link":"` + strings.Repeat("x", 64) + `"}` +
		`{"Type":"tuntap_up","Link":"--ignored"}`
	if err := Serve(strings.NewReader(in), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if want := "rtun_up dsl 1\ntuntap_up \n"; err != nil || string(got) != want {
		t.Errorf("the script heard %q, %v, want %q", got, err, want)
	}
}
