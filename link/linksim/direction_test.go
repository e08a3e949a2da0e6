package linksim

import (
	"sync"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// batch is 32 datagrams of 1400 bytes and room to receive as many.
func batch() (pkts, bufs [][]byte, sizes []int) {
	for range 32 {
		pkts, bufs = append(pkts, make([]byte, 1400)), append(bufs, make([]byte, 1500))
	}
	return pkts, bufs, make([]int, 32)
}

func TestLinkAllocs(t *testing.T) {
	for name, p := range map[string]Profile{
		"direct": {},
		"timer":  {Delay: 200 * time.Microsecond, Jitter: 100 * time.Microsecond, Reorder: 0.1, ReorderBy: 50 * time.Microsecond},
	} {
		a, b := Pair(p, p, 1)
		pkts, bufs, sizes := batch()
		allocs := testing.AllocsPerRun(200, func() {
			if _, err := a.Send(pkts); err != nil {
				t.Fatal(err)
			}
			for got := 0; got < len(pkts); {
				n, err := b.Receive(bufs, sizes)
				if err != nil {
					t.Fatal(err)
				}
				got += n
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations for 32 datagrams", name, allocs)
		}
		a.Close()
		b.Close()
	}
}

func TestSocketAllocs(t *testing.T) {
	n := NewNetwork(1)
	s := listen(t, n, "0.0.0.0:5080")
	defer s.Close()
	l := dial(t, n, "198.51.100.1:1000", "203.0.113.1:5080", Profile{}, Profile{})
	defer l.Close()
	pkts, bufs, sizes := batch()
	from := make([]link.Addr, len(bufs))
	allocs := testing.AllocsPerRun(200, func() {
		if _, err := l.Send(pkts); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ReceiveFrom(bufs, sizes, from); err != nil {
			t.Fatal(err)
		}
		if _, err := s.SendTo(pkts, link.Addr{Remote: from[0].Remote}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Receive(bufs, sizes); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for 64 datagrams", allocs)
	}
}

// In real time a line under load must carry its rate, however late the wake-ups are.
// The bound below the rate allows for the process not running at all now and then;
// above the rate there is nothing to allow for but the first queue's worth.
func TestLinkRealTimeRate(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second of real time")
	}
	const rate = 12_500_000 // 100 Mbit/s
	p := Profile{Rate: rate, Delay: 5 * time.Millisecond, Overhead: OverheadUDP4}
	got, elapsed, _ := pump(t, p, 700*time.Millisecond)
	share := got / elapsed.Seconds() / rate
	t.Logf("%.1f%% of the rate", 100*share)
	if share > 1.001 || share < 0.6 {
		t.Errorf("%.1f%% of the rate arrived", 100*share)
	}
}

// pump keeps a line full for a while, and returns the bytes on the wire, from when to
// when they arrived, and how many batches they arrived in.
func pump(t testing.TB, p Profile, d time.Duration) (wire float64, elapsed time.Duration, batches int) {
	a, b := Pair(p, p, 1)
	defer a.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, bufs, sizes := batch()
		var first time.Time
		for {
			n, err := b.Receive(bufs, sizes)
			if err != nil {
				return
			}
			now := time.Now()
			if first.IsZero() {
				first = now
				continue
			}
			batches++
			elapsed = now.Sub(first)
			for _, s := range sizes[:n] {
				wire += float64(s + p.Overhead)
			}
		}
	})
	pkts, _, _ := batch()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		for a.out.line.Backlog(time.Now()) < p.queue()/2 {
			send(t, a, pkts...)
		}
	}
	b.Close()
	wg.Wait()
	return wire, elapsed, batches
}

func BenchmarkLinkDirect(b *testing.B) { benchmarkLink(b, Profile{}) }
func BenchmarkLinkTimer(b *testing.B) {
	benchmarkLink(b, Profile{Delay: 100 * time.Microsecond})
}

func benchmarkLink(b *testing.B, p Profile) {
	x, y := Pair(p, p, 1)
	defer x.Close()
	defer y.Close()
	pkts, bufs, sizes := batch()
	b.ReportAllocs()
	b.SetBytes(1400)
	for n := 0; n < b.N; n += 32 {
		x.Send(pkts)
		for got := 0; got < 32; {
			k, err := y.Receive(bufs, sizes)
			if err != nil {
				b.Fatal(err)
			}
			got += k
		}
	}
}
