package demo

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// The demo runs in real time (gVisor keeps its own clock), as its users see it. Its own checks are the test's: the
// rates are chosen so that they hold with a wide margin on a machine under load.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 25 s")
	}
	defer goleak.VerifyNone(t)
	var out bytes.Buffer
	r, err := Run(t.Context(), Config{Out: &out})
	t.Logf("%s", &out)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Intact || r.Sent == 0 || r.Received != r.Sent {
		t.Errorf("sent %d bytes, received %d, intact: %v", r.Sent, r.Received, r.Intact)
	}
	if r.Bonded > r.Sum || r.Single > lines[fastest(lines)].down {
		t.Errorf("%.1f Mbit/s over lines of %.1f, %.1f over the best: more than they can carry", r.Bonded, r.Sum, r.Single)
	}
	if r.Cut.Noticed < 0 || r.Cut.Noticed > cutFor {
		t.Errorf("the cut was noticed after %v, want at most %v", r.Cut.Noticed, cutFor)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("escape sequences without a terminal")
	}
}

func TestInterrupt(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	_, err := Run(ctx, Config{Out: &out, Terminal: true})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if got := out.String(); strings.LastIndex(got, showCursor) < strings.LastIndex(got, hideCursor) {
		t.Error("the cursor stays hidden")
	}
}

func TestWindow(t *testing.T) { synctest.Test(t, testWindow) }

func testWindow(t *testing.T) {
	w := window{length: 500 * time.Millisecond}
	for i := range 20 {
		r := w.add(sample{at: time.Now(), tcp: int64(i) * 125_000, lines: []uint64{uint64(i) * 12_500}})
		if i > 0 && (!near(r.tcp, 10) || !near(r.lines[0], 1)) {
			t.Fatalf("sample %d: %+v, want 10 and 1 Mbit/s", i, r)
		}
		if len(w.samples) > 7 {
			t.Fatalf("%d samples of 100 ms in a window of %v", len(w.samples), w.length)
		}
		time.Sleep(100 * time.Millisecond)
	}
	// What happened before the window is forgotten.
	for range 6 {
		w.add(sample{at: time.Now(), tcp: 19 * 125_000, lines: []uint64{0}})
		time.Sleep(100 * time.Millisecond)
	}
	if r := w.add(sample{at: time.Now(), tcp: 19 * 125_000, lines: []uint64{0}}); r.tcp != 0 {
		t.Errorf("%v Mbit/s in a window without traffic", r.tcp)
	}
}

func near(got, want float64) bool { return got > 0.999*want && got < 1.001*want }
