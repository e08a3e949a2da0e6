package linksim

import (
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/multilink-vpn/multilink/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// numbered returns a datagram of size bytes that carries n.
func numbered(n, size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint32(b, uint32(n))
	return b
}

type received struct {
	n    int
	size int
	at   time.Duration
	from link.Addr
}

// collect receives until the receiver is closed, and reports on the channel that it
// returns then.
func collect(t testing.TB, receive func([][]byte, []int, []link.Addr) (int, error)) <-chan []received {
	start := time.Now()
	done := make(chan []received, 1)
	go func() {
		var all []received
		bufs, sizes, from := make([][]byte, 16), make([]int, 16), make([]link.Addr, 16)
		for i := range bufs {
			bufs[i] = make([]byte, 2048)
		}
		for {
			n, err := receive(bufs, sizes, from)
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("receive: %v", err)
				}
				done <- all
				return
			}
			for i := range n {
				r := received{size: sizes[i], at: time.Since(start), from: from[i]}
				if sizes[i] >= 4 {
					r.n = int(binary.BigEndian.Uint32(bufs[i]))
				}
				all = append(all, r)
			}
		}
	}()
	return done
}

func collectLink(t testing.TB, l *Link) <-chan []received {
	return collect(t, func(bufs [][]byte, sizes []int, _ []link.Addr) (int, error) {
		return l.Receive(bufs, sizes)
	})
}

func send(t testing.TB, l link.Link, pkts ...[]byte) {
	t.Helper()
	if n, err := l.Send(pkts); n != len(pkts) || err != nil {
		t.Fatalf("Send of %d = %d, %v", len(pkts), n, err)
	}
}
