package linktest

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// hooked is a link some of whose methods are replaced.
type hooked struct {
	link.Link
	send    func(pkts [][]byte) (int, error)
	receive func(bufs [][]byte, sizes []int) (int, error)
	mtu     func() int
	close   func() error
}

func (h *hooked) Send(pkts [][]byte) (int, error) {
	if h.send != nil {
		return h.send(pkts)
	}
	return h.Link.Send(pkts)
}

func (h *hooked) Receive(bufs [][]byte, sizes []int) (int, error) {
	if h.receive != nil {
		return h.receive(bufs, sizes)
	}
	return h.Link.Receive(bufs, sizes)
}

func (h *hooked) MTU() int {
	if h.mtu != nil {
		return h.mtu()
	}
	return h.Link.MTU()
}

func (h *hooked) Close() error {
	if h.close != nil {
		return h.close()
	}
	return h.Link.Close()
}

// everyNth calls f with a copy of each nth datagram and sends what it returns instead.
func everyNth(l link.Link, nth int, f func(p []byte) [][]byte) link.Link {
	count := 0
	return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
		for i, p := range pkts {
			instead := [][]byte{p}
			if count++; count%nth == 0 && len(p) <= memMTU {
				instead = f(bytes.Clone(p))
			}
			if n, err := l.Send(instead); n < len(instead) {
				return i, err
			}
		}
		return len(pkts), nil
	}}
}

// forever blocks, on a channel of the bubble that it is called in.
func forever() { <-make(chan struct{}) }

// brokenLinks are links that break the contract in one way each, with the case and the
// sentence that must catch them.
var brokenLinks = []struct {
	name     string
	by       string
	sentence string
	wrap     func(l link.Link) link.Link
}{
	{name: "truncates", by: "Boundaries", sentence: sIntact, wrap: func(l link.Link) link.Link {
		return everyNth(l, 1, func(p []byte) [][]byte { return [][]byte{p[:min(len(p), 1024)]} })
	}},
	{name: "merges", by: "Batches", sentence: sIntact, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			for i := 0; i < len(pkts); i += 2 {
				p := bytes.Join(pkts[i:min(i+2, len(pkts))], nil)
				if len(p) > memMTU {
					if n, err := l.Send(pkts[i:min(i+2, len(pkts))]); err != nil {
						return i + n, err
					}
					continue
				}
				if _, err := l.Send([][]byte{p}); err != nil {
					return i, err
				}
			}
			return len(pkts), nil
		}}
	}},
	{name: "splits", by: "Boundaries", sentence: sIntact, wrap: func(l link.Link) link.Link {
		return everyNth(l, 1, func(p []byte) [][]byte {
			if len(p) < 1200 {
				return [][]byte{p}
			}
			return [][]byte{p[:1000], p[1000:]}
		})
	}},
	{name: "segments a slab at the wrong size", by: "Slabs", sentence: sIntact, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			slab, size, n := link.Run(pkts)
			if n < 3 || size == memMTU {
				return l.Send(pkts)
			}
			// The second segment takes a byte of the third.
			return l.Send(append([][]byte{slab[:size], slab[size : 2*size+1], slab[2*size+1 : min(3*size, len(slab))]}, pkts[3:]...))
		}}
	}},
	{name: "corrupts a byte", by: "Stream", sentence: sIntact, wrap: func(l link.Link) link.Link {
		return everyNth(l, 400, func(p []byte) [][]byte { p[len(p)/2] ^= 1; return [][]byte{p} })
	}},
	{name: "invents", by: "Stream", sentence: sIntact, wrap: func(l link.Link) link.Link {
		return everyNth(l, 400, func(p []byte) [][]byte { return [][]byte{p, []byte("a datagram from nowhere")} })
	}},
	{name: "invents when idle", by: "Idle", sentence: sIntact, wrap: func(l link.Link) link.Link {
		idle := false
		return &hooked{Link: l, receive: func(bufs [][]byte, sizes []int) (int, error) {
			if !idle {
				idle = true
				sizes[0] = copy(bufs[0], "keep-alive of the transport")
				return 1, nil
			}
			return l.Receive(bufs, sizes)
		}}
	}},
	{name: "duplicates", by: "Stream", sentence: sNoDup, wrap: func(l link.Link) link.Link {
		return everyNth(l, 100, func(p []byte) [][]byte { return [][]byte{p, p} })
	}},
	{name: "loses", by: "Stream", sentence: sLossless, wrap: func(l link.Link) link.Link {
		return everyNth(l, 500, func([]byte) [][]byte { return nil })
	}},
	{name: "loses what follows in a batch", by: "Batches", sentence: sLossless, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			if n, err := l.Send(pkts[:min(64, len(pkts))]); err != nil {
				return n, err
			}
			return len(pkts), nil
		}}
	}},
	{name: "reorders", by: "Stream", sentence: sOrdered, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			if len(pkts) < 8 {
				return l.Send(pkts)
			}
			swapped := append([][]byte{}, pkts...)
			swapped[3], swapped[4] = swapped[4], swapped[3]
			return l.Send(swapped)
		}}
	}},
	{name: "modifies send buffers", by: "SendModifiesNothing", sentence: sKeep, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			n, err := l.Send(pkts)
			for _, p := range pkts[:n] {
				p[0] ^= 0xff // as encryption in place does
			}
			return n, err
		}}
	}},
	{name: "retains send buffers", by: "SendKeepsNothing", sentence: sKeep, wrap: func(l link.Link) link.Link {
		// The link sends a batch when the next one comes.
		var kept [][]byte
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			if len(kept) > 0 {
				if _, err := l.Send(kept); err != nil {
					return 0, err
				}
			}
			half := len(pkts) / 2
			kept = append([][]byte{}, pkts[half:]...)
			if n, err := l.Send(pkts[:half]); err != nil {
				return n, err
			}
			return len(pkts), nil
		}}
	}},
	{name: "retains receive buffers", by: "ReceiveKeepsNothing", sentence: sKeep, wrap: func(l link.Link) link.Link {
		var kept []byte
		return &hooked{Link: l, receive: func(bufs [][]byte, sizes []int) (int, error) {
			n, err := l.Receive(bufs, sizes)
			copy(kept, "late")
			kept = bufs[0]
			return n, err
		}}
	}},
	{name: "writes behind buffers", by: "Boundaries", sentence: sReceive, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, receive: func(bufs [][]byte, sizes []int) (int, error) {
			n, err := l.Receive(bufs, sizes)
			if cap(bufs[0]) > len(bufs[0]) {
				bufs[0][:len(bufs[0])+1][len(bufs[0])] = 0
			}
			return n, err
		}}
	}},
	{name: "waits in Send", by: "SendDoesNotWait", sentence: sNoWait, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			n, err := l.Send(pkts)
			if errors.Is(err, link.ErrFull) {
				forever()
			}
			return n, err
		}}
	}},
	{name: "blocks both directions", by: "Directions", sentence: sLossless, wrap: func(l link.Link) link.Link {
		full := make(chan struct{})
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			n, err := l.Send(pkts)
			if errors.Is(err, link.ErrFull) {
				select {
				case <-full:
				default:
					close(full)
				}
			}
			return n, err
		}, receive: func(bufs [][]byte, sizes []int) (int, error) {
			select {
			case <-full:
				<-l.(*memLink).closed
				return 0, net.ErrClosed
			default:
				return l.Receive(bufs, sizes)
			}
		}}
	}},
	{name: "refuses for ever once full", by: "FewBuffers", sentence: sFull, wrap: func(l link.Link) link.Link {
		count := 0
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			if count += len(pkts); count > 10 {
				return 0, link.ErrFull
			}
			return l.Send(pkts)
		}}
	}},
	{name: "Close does not unblock Receive", by: "CloseUnblocksReceive", sentence: sRecvClosed, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, receive: func(bufs [][]byte, sizes []int) (int, error) {
			n, err := l.Receive(bufs, sizes)
			if err != nil {
				forever()
			}
			return n, err
		}}
	}},
	{name: "Close does not unblock Send", by: "CloseUnblocksSend", sentence: sClose, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			n, err := l.Send(pkts)
			if err != nil {
				forever()
			}
			return n, err
		}}
	}},
	{name: "Close hangs", by: "CloseTwice", sentence: sClose, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, close: func() error { forever(); return nil }}
	}},
	{name: "second Close panics", by: "CloseTwice", sentence: sTwice, wrap: func(l link.Link) link.Link {
		ch := make(chan struct{})
		return &hooked{Link: l, close: func() error { close(ch); return l.Close() }}
	}},
	{name: "second Close fails", by: "CloseTwice", sentence: sTwice, wrap: func(l link.Link) link.Link {
		closed := false
		return &hooked{Link: l, close: func() error {
			if closed {
				return net.ErrClosed
			}
			closed = true
			return l.Close()
		}}
	}},
	{name: "concurrent Close panics", by: "Concurrent", sentence: sConcurrent, wrap: func(l link.Link) link.Link {
		var mu sync.Mutex
		busy := false
		return &hooked{Link: l, close: func() error {
			mu.Lock()
			if busy {
				mu.Unlock()
				panic("close of closed channel")
			}
			busy = true
			mu.Unlock()
			time.Sleep(time.Millisecond)
			return l.Close()
		}}
	}},
	{name: "Send works after Close", by: "AfterClose", sentence: sSendClosed, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			n, err := l.Send(pkts)
			if errors.Is(err, net.ErrClosed) {
				return len(pkts), nil
			}
			return n, err
		}}
	}},
	{name: "Receive delivers after Close", by: "AfterClose", sentence: sRecvClosed, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, receive: func(bufs [][]byte, sizes []int) (int, error) {
			select {
			case p := <-l.(*memLink).in:
				sizes[0] = copy(bufs[0], p)
				return 1, nil
			default:
				return l.Receive(bufs, sizes)
			}
		}}
	}},
	{name: "wrong error after Close", by: "AfterClose", sentence: sSendClosed, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			n, err := l.Send(pkts)
			if errors.Is(err, net.ErrClosed) {
				return n, errors.New("use of closed link")
			}
			return n, err
		}}
	}},
	{name: "counts bytes", by: "SendCount", sentence: sCount, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			if _, err := l.Send(pkts); err != nil {
				return 0, err
			}
			return len(bytes.Join(pkts, nil)), nil
		}}
	}},
	{name: "sends less and says nothing", by: "SendCount", sentence: sCount, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) { return l.Send(pkts[:min(len(pkts), 4)]) }}
	}},
	{name: "fails and succeeds", by: "SendCount", sentence: sCount, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			if n, err := l.Send(pkts); err != nil {
				return n, err
			}
			return len(pkts), link.ErrFull
		}}
	}},
	{name: "counts a datagram too few", by: "SendCount", sentence: sNoDup, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			n, err := l.Send(pkts)
			if n > 1 && err == nil {
				return n - 1, link.ErrFull
			}
			return n, err
		}}
	}},
	{name: "accepts oversized datagrams", by: "Oversized", sentence: sTooLarge, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			n, err := l.Send(pkts)
			if errors.Is(err, link.ErrTooLarge) {
				return len(pkts), nil
			}
			return n, err
		}}
	}},
	{name: "does not say why oversized datagrams are refused", by: "Oversized", sentence: sTooLarge, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			n, err := l.Send(pkts)
			if errors.Is(err, link.ErrTooLarge) {
				return n, errors.New("message too long")
			}
			return n, err
		}}
	}},
	{name: "dies of oversized datagrams", by: "Oversized", sentence: sTransmit, wrap: func(l link.Link) link.Link {
		var dead error
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			if dead != nil {
				return 0, dead
			}
			n, err := l.Send(pkts)
			if errors.Is(err, link.ErrTooLarge) {
				dead = err
			}
			return n, err
		}}
	}},
	{name: "refuses a whole batch for one", by: "Oversized", sentence: sCount, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) {
			for _, p := range pkts {
				if len(p) > memMTU {
					return 0, link.ErrTooLarge
				}
			}
			return l.Send(pkts)
		}}
	}},
	{name: "truncates to short buffers", by: "ShortBuffers", sentence: sShort, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, receive: func(bufs [][]byte, sizes []int) (int, error) {
			own := [][]byte{make([]byte, memMTU)}
			n, err := l.Receive(own, sizes)
			if n > 0 {
				sizes[0] = copy(bufs[0], own[0][:sizes[0]])
			}
			return n, err
		}}
	}},
	{name: "claims more than short buffers hold", by: "ShortBuffers", sentence: sShort, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, receive: func(bufs [][]byte, sizes []int) (int, error) {
			own := [][]byte{make([]byte, memMTU)}
			n, err := l.Receive(own, sizes)
			if n > 0 {
				copy(bufs[0], own[0][:sizes[0]])
			}
			return n, err
		}}
	}},
	{name: "Receive polls", by: "Idle", sentence: sReceive, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, receive: func(bufs [][]byte, sizes []int) (int, error) {
			select {
			case p := <-l.(*memLink).in:
				sizes[0] = copy(bufs[0], p)
				return 1, nil
			default:
				return 0, nil
			}
		}}
	}},
	{name: "Receive ignores the number of buffers", by: "FewBuffers", sentence: sReceive, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, receive: func(bufs [][]byte, sizes []int) (int, error) {
			n, err := l.Receive(bufs, sizes)
			if n == 1 {
				n += len(l.(*memLink).in)
			}
			return n, err
		}}
	}},
	{name: "Receive fails for ever", by: "Idle", sentence: sLossless, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, receive: func([][]byte, []int) (int, error) {
			return 0, errors.New("connection refused")
		}}
	}},
	{name: "no MTU", by: "MTU", sentence: sMTU, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, mtu: func() int { return 0 }}
	}},
	{name: "MTU changes", by: "MTU", sentence: sMTU, wrap: func(l link.Link) link.Link {
		mtu := memMTU
		return &hooked{Link: l, mtu: func() int { mtu--; return mtu }}
	}},
	{name: "MTU lies", by: "Boundaries", sentence: sTransmit, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, mtu: func() int { return memMTU + 100 }}
	}},
	{name: "empty batch panics", by: "EmptyBatch", sentence: sTransmit, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) { _ = pkts[0]; return l.Send(pkts) }}
	}},
	{name: "leaks a goroutine", by: "CloseEndsGoroutines", sentence: sClose, wrap: func(l link.Link) link.Link {
		go forever()
		return l
	}},
	{name: "Send panics", by: "Slabs", sentence: sTransmit, wrap: func(l link.Link) link.Link {
		return &hooked{Link: l, send: func(pkts [][]byte) (int, error) { return l.Send(pkts[:50]) }}
	}},
}

// TestBrokenLinks shows that each part of the suite can fail.
func TestBrokenLinks(t *testing.T) {
	promises := Traits{Lossless: true, Ordered: true, NoDup: true}
	for _, virtual := range []bool{false, true} {
		for _, b := range brokenLinks {
			name := b.name + "/real"
			if virtual {
				name = b.name + "/virtual"
			}
			t.Run(name, func(t *testing.T) {
				if !virtual && b.by != "CloseEndsGoroutines" {
					t.Parallel() // most of the time is spent waiting
				}
				tr := promises
				tr.Virtual = virtual
				mk := func(tb testing.TB) (link.Link, link.Link) {
					l, m := memPair(tb)
					return b.wrap(l), b.wrap(m)
				}
				wantCaught(t, b.by, b.sentence, mk, tr)
			})
		}
	}
}

func wantCaught(t *testing.T, by, sentence string, mk MakePair, tr Traits) {
	t.Helper()
	for _, tc := range linkCases {
		if tc.name != by {
			continue
		}
		start := time.Now()
		err := tc.exec(t, mk, tr)
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%s took %v", by, d)
		}
		var v *violation
		if !errors.As(err, &v) {
			t.Fatalf("%s did not catch it: %v", by, err)
		}
		if v.sentence != sentence {
			t.Errorf("%s caught it by %q, want %q", by, err, sentence)
		}
		t.Log(by, err)
		return
	}
	t.Fatalf("there is no case %s", by)
}
