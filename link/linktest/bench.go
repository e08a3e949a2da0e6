package linktest

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// BenchmarkLink measures the links of mk: Send is a flood in one direction, in batches,
// with what of it was lost (lost%); RoundTrip is a datagram there and back. One
// operation is one batch, or one round trip.
func BenchmarkLink(b *testing.B, mk MakePair) {
	for _, batch := range []int{1, 32} {
		b.Run(fmt.Sprintf("Send/batch=%d", batch), func(b *testing.B) { benchmarkSend(b, mk, batch) })
	}
	b.Run("RoundTrip", func(b *testing.B) { benchmarkRoundTrip(b, mk) })
}

func benchmarkSend(b *testing.B, mk MakePair, batch int) {
	x, y := mk(b)
	defer x.Close()
	size := min(x.MTU(), 1440)
	slab := make([]byte, batch*size)
	pkts := make([][]byte, batch)
	for i := range pkts {
		pkts[i] = slab[i*size : (i+1)*size]
	}
	var received atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		bufs, sizes := buffers(64, y.MTU())
		for {
			n, err := y.Receive(bufs, sizes)
			if err != nil {
				return
			}
			received.Add(int64(n))
		}
	}()
	b.SetBytes(int64(batch * size))
	b.ReportAllocs()
	sent := 0
	for b.Loop() {
		for rest := pkts; len(rest) > 0; {
			n, err := x.Send(rest)
			rest = rest[n:]
			sent += n
			if err == nil {
				continue
			}
			if !errors.Is(err, link.ErrFull) {
				b.Fatal(err)
			}
			runtime.Gosched()
		}
	}
	// What is still under way is not lost.
	for last := int64(-1); last != received.Load() && last < int64(sent); {
		last = received.Load()
		time.Sleep(50 * time.Millisecond)
	}
	b.ReportMetric(100*(1-float64(received.Load())/float64(sent)), "lost%")
	y.Close()
	<-done
}

func benchmarkRoundTrip(b *testing.B, mk MakePair) {
	x, y := mk(b)
	// A link that loses a datagram would wait for ever.
	watchdog := time.AfterFunc(time.Minute, func() { x.Close(); y.Close() })
	defer watchdog.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		bufs, sizes := buffers(1, y.MTU())
		for {
			n, err := y.Receive(bufs, sizes)
			if err != nil {
				return
			}
			if n > 0 {
				bufs[0] = bufs[0][:sizes[0]]
				_, _ = y.Send(bufs)
				bufs[0] = bufs[0][:cap(bufs[0])]
			}
		}
	}()
	pkts := [][]byte{make([]byte, min(x.MTU(), 100))}
	bufs, sizes := buffers(1, x.MTU())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.Send(pkts); err != nil {
			b.Fatal(err)
		}
		if _, err := x.Receive(bufs, sizes); err != nil {
			b.Fatal(err)
		}
	}
	x.Close()
	y.Close()
	<-done
}

func buffers(n, size int) ([][]byte, []int) {
	bufs := make([][]byte, n)
	for i := range bufs {
		bufs[i] = make([]byte, size)
	}
	return bufs, make([]int, n)
}
