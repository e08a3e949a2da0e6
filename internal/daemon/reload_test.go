package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/multilink-vpn/multilink/internal/conf"
)

// fakePart records what a reload does with it.
type fakePart struct {
	name string
	err  error
	did  *[]string
}

func (p fakePart) prepare(old, new *settings) (func() string, func(), error) {
	note := func(what string) { *p.did = append(*p.did, what+" "+p.name) }
	note("prepare")
	if p.err != nil {
		return nil, nil, p.err
	}
	return func() string { note("commit"); return p.name + " changed" }, func() { note("abort") }, nil
}

// reloading returns a reloader for a configuration file, which runs as text says, and
// its log.
func reloading(t *testing.T, text string, parts ...part) (r *reloader, write func(text string), log *bytes.Buffer) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mlvpn.conf")
	write = func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	log = new(bytes.Buffer)
	opts := Options{Config: file, Log: slog.New(slog.NewTextHandler(log, nil))}
	read := func() (*conf.Files, error) { return conf.Read(file) }
	now, err := readSettings(opts, read, nil)
	if err != nil {
		t.Fatal(err)
	}
	parts = append(parts, restartOnly{opts.Log, now})
	return &reloader{opts: opts, read: read, now: now, parts: parts}, write, log
}

func TestReloadIsAllOrNothing(t *testing.T) {
	var did []string
	first, second := fakePart{"first", nil, &did}, &fakePart{"second", errors.New("the second cannot"), &did}
	r, write, log := reloading(t, clientText, first, second)
	was := r.now

	write(clientText + "# a comment\n")
	if err := r.reload(); err == nil {
		t.Error("no error although a part refuses")
	}
	if want := []string{"prepare first", "prepare second", "abort first"}; !slices.Equal(did, want) {
		t.Errorf("did %q, want %q", did, want)
	}
	if r.now != was {
		t.Error("the refused settings are in force")
	}
	if !strings.Contains(log.String(), "the second cannot") || !strings.Contains(log.String(), "the old one stays in force") {
		t.Errorf("the log does not say why:\n%s", log)
	}

	did, second.err = nil, nil
	if err := r.reload(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"prepare first", "prepare second", "commit first", "commit second"}; !slices.Equal(did, want) {
		t.Errorf("did %q, want %q", did, want)
	}
	if r.now == was {
		t.Error("the old settings are in force")
	}
}

func TestReloadRefusesBadFiles(t *testing.T) {
	var did []string
	for name, test := range map[string]struct {
		spoil func(file string) error
		want  string
	}{
		"syntax": {func(file string) error { return os.WriteFile(file, []byte("[general]\nmode = \"x\"\n"), 0o600) }, "mlvpn.conf:2"},
		"gone":   {os.Remove, "no such file"},
		"mode":   {func(file string) error { return os.Chmod(file, 0o644) }, "chmod 600"},
		"other end": {func(file string) error {
			return os.WriteFile(file, []byte("[general]\nmode = \"server\"\npassword = \"a very long random string, really\"\n[dsl]\nbindport = 5080\n"), 0o600)
		}, "mode cannot change"},
	} {
		t.Run(name, func(t *testing.T) {
			did = nil
			r, _, log := reloading(t, clientText, fakePart{"part", nil, &did})
			was := r.now
			if err := test.spoil(r.opts.Config); err != nil {
				t.Fatal(err)
			}
			if r.reload() == nil || r.now != was || slices.Contains(did, "commit part") {
				t.Errorf("the bad file is in force: %q", did)
			}
			if !strings.Contains(log.String(), test.want) {
				t.Errorf("the log does not mention %q:\n%s", test.want, log)
			}
		})
	}
}

// TestReloadNeedsRestart changes what a reload cannot: it is said at each reload, until
// it is as it was.
func TestReloadNeedsRestart(t *testing.T) {
	r, write, log := reloading(t, clientText)
	const changed = "mtu"
	write(strings.Replace(strings.Replace(clientText, "timeout = 10\n", "timeout = 11\nmtu = 1300\n", 1), "5081", "5082", 1))
	for range 2 {
		log.Reset()
		if err := r.reload(); err != nil || !strings.Contains(log.String(), changed) {
			t.Errorf("%v, log without %q:\n%s", err, changed, log)
		}
	}
	log.Reset()
	write("# longer\n" + clientText)
	if err := r.reload(); err != nil || strings.Contains(log.String(), "restart") {
		t.Errorf("%v, nothing to apply:\n%s", err, log)
	}
}

func TestReloadRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var did []string
		r, _, _ := reloading(t, clientText, fakePart{"part", nil, &did})
		ctx, cancel := context.WithCancel(t.Context())
		requests, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			r.run(ctx, requests)
		}()
		requests <- struct{}{}
		synctest.Wait()
		if !slices.Contains(did, "commit part") {
			t.Errorf("did %q", did)
		}
		cancel()
		<-ended
	})
}
