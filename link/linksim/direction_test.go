package linksim

import (
	"slices"
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

// BenchmarkLinkRealTime keeps a line of 100 Mbit/s full, in real time, and reports the
// share of the rate that arrives, and how late datagrams are received after they were
// due.
func BenchmarkLinkRealTime(b *testing.B) {
	p := Profile{Rate: 12_500_000, Delay: 5 * time.Millisecond, Overhead: OverheadUDP4}
	x, y := Pair(p, p, 1)
	defer x.Close()
	type arrivals struct {
		late    []time.Duration
		batches int
		elapsed time.Duration
	}
	const size = 1400
	each := time.Duration((size + OverheadUDP4) * uint64(time.Second) / p.Rate)
	done := make(chan arrivals)
	b.ResetTimer()
	start := time.Now()
	go func() {
		bufs, sizes := make([][]byte, 64), make([]int, 64)
		for i := range bufs {
			bufs[i] = make([]byte, size)
		}
		var a arrivals
		for len(a.late) < b.N {
			n, err := y.Receive(bufs, sizes)
			if err != nil {
				break
			}
			a.elapsed = time.Since(start) - p.Delay
			for range n {
				a.late = append(a.late, a.elapsed-time.Duration(len(a.late)+1)*each)
			}
			a.batches++
		}
		done <- a
	}()
	pkts := [][]byte{make([]byte, size)}
	for n := 0; n < b.N; {
		for ; n < b.N && x.out.line.Backlog(time.Now()) < p.queue()/2; n++ {
			x.Send(pkts)
		}
		time.Sleep(2 * time.Millisecond)
	}
	a := <-done
	y.Close()
	slices.Sort(a.late)
	b.ReportMetric(float64(a.late[len(a.late)/2].Microseconds()), "late-p50-µs")
	b.ReportMetric(float64(a.late[len(a.late)*99/100].Microseconds()), "late-p99-µs")
	b.ReportMetric(float64(len(a.late))/float64(a.batches), "datagrams/batch")
	b.ReportMetric(100*float64(len(a.late))*each.Seconds()/a.elapsed.Seconds(), "%rate")
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
