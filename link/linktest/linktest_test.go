package linktest

import (
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/multilink-vpn/multilink/link"
)

// memLink is a link over channels that obeys the contract and makes all promises.
type memLink struct {
	out    chan<- []byte
	in     <-chan []byte
	closed chan struct{}
	once   *sync.Once
}

const memMTU = 1400

func memPair(testing.TB) (a, b link.Link) {
	ab, ba := make(chan []byte, 512), make(chan []byte, 512)
	return &memLink{ab, ba, make(chan struct{}), new(sync.Once)},
		&memLink{ba, ab, make(chan struct{}), new(sync.Once)}
}

func (l *memLink) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

func (l *memLink) Send(pkts [][]byte) (int, error) {
	if l.isClosed() {
		return 0, net.ErrClosed
	}
	for i, p := range pkts {
		if len(p) > memMTU {
			return i, link.ErrTooLarge
		}
		select {
		case l.out <- append([]byte{}, p...):
		default:
			return i, link.ErrFull
		}
	}
	return len(pkts), nil
}

func (l *memLink) Receive(bufs [][]byte, sizes []int) (int, error) {
	for {
		if l.isClosed() {
			return 0, net.ErrClosed
		}
		select {
		case p := <-l.in:
			if len(p) <= len(bufs[0]) {
				sizes[0] = copy(bufs[0], p)
				return 1, nil
			}
		case <-l.closed:
		}
	}
}

func (l *memLink) MTU() int { return memMTU }

func (l *memLink) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func TestMemLink(t *testing.T) {
	TestLink(t, memPair, Traits{Lossless: true, Ordered: true, NoDup: true})
}

func TestMemLinkVirtual(t *testing.T) {
	TestLink(t, memPair, Traits{Lossless: true, Ordered: true, NoDup: true, Virtual: true})
}

// lossyPair loses every third datagram and doubles every fifth: both are allowed.
func lossyPair(tb testing.TB) (a, b link.Link) {
	a, b = memPair(tb)
	lossy := func(l link.Link) link.Link {
		count := 0
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			if _, err := l.Send(nil); err != nil {
				return 0, err
			}
			for i, p := range pkts {
				count++
				copies := [][]byte{p}
				switch {
				case count%3 == 0 && len(p) <= memMTU:
					copies = nil
				case count%5 == 0:
					copies = [][]byte{p, p}
				}
				if _, err := l.Send(copies); err != nil {
					return i, err
				}
			}
			return len(pkts), nil
		}}
	}
	return lossy(a), lossy(b)
}

func TestLossyLink(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for lost datagrams in real time")
	}
	TestLink(t, lossyPair, Traits{Ordered: true})
}

func TestLossyLinkVirtual(t *testing.T) { TestLink(t, lossyPair, Traits{Ordered: true, Virtual: true}) }

// TestSentences checks that the suite quotes the documentation as it is.
func TestSentences(t *testing.T) {
	var doc strings.Builder
	for _, name := range []string{"../link.go", "linktest.go"} {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(src)) {
			doc.WriteString(strings.TrimPrefix(strings.TrimSpace(line), "//"))
		}
	}
	text := strings.Join(strings.Fields(doc.String()), " ")
	for _, s := range []string{
		sIntact, sConcurrent, sKeep, sTransmit, sNoWait, sCount, sFull, sTooLarge, sSendClosed, sReceive, sShort,
		sRecvClosed, sMTU, sClose, sTwice, sAddr, sMapped, sOrigin, sSendTo, sBound, sLossless, sOrdered, sNoDup, sVirtual,
	} {
		if !strings.Contains(text, s) {
			t.Errorf("the documentation does not say %q", s)
		}
	}
}
