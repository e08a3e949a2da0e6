package mlvpn

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/link/linksim"
)

// TestReproducible runs the same session several times: lines without loss deliver the
// same content each time, and those with loss the same amount within 1 %. (Which packet
// takes which line depends on how goroutines interleave, and so does what is lost. The
// mechanisms alone are reproducible to the bit: see linksim, scheduler and reorder.)
func TestReproducible(t *testing.T) {
	const runs, packets = 3, 3000
	for _, tc := range []struct {
		name string
		loss float64
	}{{"without loss", 0}, {"with loss", 0.02}} {
		t.Run(tc.name, func(t *testing.T) {
			var first, last [sha256.Size]byte
			least, most := packets, 0
			for run := range runs {
				synctest.Test(t, func(t *testing.T) {
					var n int
					last, n = deliver(t, packets, tc.loss)
					least, most = min(least, n), max(most, n)
				})
				if run == 0 {
					first = last
				}
				if tc.loss == 0 && last != first {
					t.Errorf("run %d delivered other content than the first", run)
				}
			}
			t.Logf("%d to %d of %d packets", least, most, packets)
			if tc.loss == 0 && least != packets {
				t.Errorf("only %d of %d packets arrived", least, packets)
			}
			if most-least > packets/100 {
				t.Errorf("%d to %d packets arrived, which differ by more than 1 %%", least, most)
			}
		})
	}
}

// deliver sends one flow over three unequal lines, and returns a hash of what arrives
// and how many packets that was.
func deliver(t *testing.T, packets int, loss float64) (sum [sha256.Size]byte, n int) {
	lines := []line{
		{up: mbit(8, 20*time.Millisecond), down: mbit(1, 20*time.Millisecond)},
		{up: mbit(20, 30*time.Millisecond), down: mbit(10, 30*time.Millisecond)},
		{up: mbit(40, 40*time.Millisecond), down: mbit(10, 40*time.Millisecond)},
	}
	for i := range lines {
		p := &lines[i].up
		p.Jitter, p.Loss = 8*time.Millisecond, loss
		lines[i].cfg.Bandwidth = p.Rate * 1032 / (1032 + linksim.OverheadUDP4) * 95 / 100
		lines[i].cfg.Pace = true
	}
	w := newWorld(t, worldConfig{lines: lines, seed: 42})
	defer w.close()
	w.sleep(time.Second)
	for i := range uint64(packets) {
		w.inject(w.cdev, udp(true, 1, i, 1000))
		time.Sleep(200 * time.Microsecond) // 40 of 68 Mbit/s
	}
	w.sleep(time.Second)
	h := sha256.New()
	for _, x := range receive(t, w.sdev) {
		h.Write(binary.BigEndian.AppendUint64(nil, x))
		n++
	}
	return [sha256.Size]byte(h.Sum(nil)), n
}
