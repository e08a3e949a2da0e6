package mlvpn

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func twoLines() []line {
	return []line{
		{up: mbit(20, 10*time.Millisecond), down: mbit(20, 10*time.Millisecond)},
		{up: mbit(20, 10*time.Millisecond), down: mbit(20, 10*time.Millisecond)},
	}
}

func TestConnect(t *testing.T) { synctest.Test(t, testConnect) }

func testConnect(t *testing.T) {
	w := newWorld(t, worldConfig{lines: twoLines()})
	defer w.close()
	w.sleep(200 * time.Millisecond)
	got := w.log.take()
	if len(got) != 3 || got[1] != "session up" {
		t.Fatalf("events %q, want a link up, the session up, the other link up", got)
	}
	for i := range uint64(10) {
		if err := w.cdev.Inject(udp(true, 1, i, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := w.sdev.Inject(udp(false, 1, i, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	w.sleep(100 * time.Millisecond)
	want := []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	if got := receive(t, w.sdev); !slices.Equal(got, want) {
		t.Errorf("the server got %v", got)
	}
	if got := receive(t, w.cdev); !slices.Equal(got, want) {
		t.Errorf("the client got %v", got)
	}
}
