package linktest

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

var linkCases = []linkCase{
	{name: "MTU", run: testMTU},
	{name: "Boundaries", run: testBoundaries},
	{name: "Batches", run: testBatches},
	{name: "Slabs", run: testSlabs},
	{name: "FewBuffers", run: testFewBuffers},
	{name: "Stream", run: testStream},
	{name: "SendModifiesNothing", run: testSendModifiesNothing},
	{name: "SendKeepsNothing", run: testSendKeepsNothing},
	{name: "ReceiveKeepsNothing", run: testReceiveKeepsNothing},
	{name: "SendCount", run: testSendCount},
	{name: "EmptyBatch", run: testEmptyBatch},
	{name: "Oversized", run: testOversized},
	{name: "ShortBuffers", run: testShortBuffers},
	{name: "Idle", run: testIdle},
	{name: "Directions", run: testDirections},
	{name: "SendDoesNotWait", run: testSendDoesNotWait},
	{name: "CloseUnblocksReceive", run: testCloseUnblocksReceive},
	{name: "CloseUnblocksSend", run: testCloseUnblocksSend},
	{name: "CloseTwice", run: testCloseTwice},
	{name: "AfterClose", run: testAfterClose},
	{name: "Concurrent", run: testConcurrent},
	{name: "CloseEndsGoroutines", run: testCloseEndsGoroutines, leak: true},
}

func testMTU(c *pair) error {
	for _, e := range []*end{c.a, c.b} {
		if e.mtu <= 0 {
			return violated(sMTU, "%s.MTU returned %d", e.name, e.mtu)
		}
		for range 3 {
			time.Sleep(c.lim.pause)
			if again := e.l.MTU(); again != e.mtu {
				return violated(sMTU, "%s.MTU returned %d and then %d, although nothing had changed", e.name, e.mtu, again)
			}
		}
	}
	return nil
}

// boundarySizes returns the sizes around the powers of two, and the ends of the range.
func boundarySizes(mtu int) []int {
	var sizes []int
	for p := 1; p-1 <= mtu; p *= 2 {
		for size := max(p-1, 1); size <= min(p+1, mtu); size++ {
			if len(sizes) == 0 || size > sizes[len(sizes)-1] {
				sizes = append(sizes, size)
			}
		}
	}
	for size := max(mtu-2, 1); size <= mtu; size++ {
		if size > sizes[len(sizes)-1] {
			sizes = append(sizes, size)
		}
	}
	return sizes
}

// bothWays runs f for one direction and then for the other, with pumps on both ends.
func (c *pair) bothWays(f func(f *flow) error) error {
	ina, inb := c.receive(c.a), c.receive(c.b)
	if err := f(c.flow(c.a, inb)); err != nil {
		return err
	}
	return f(c.flow(c.b, ina))
}

func testBoundaries(c *pair) error {
	return c.bothWays(func(f *flow) error {
		sizes := boundarySizes(f.from.mtu)
		if err := f.deliver(sizes, 1, f.separate); err != nil {
			return err
		}
		return f.deliver(sizes, 16, f.separate)
	})
}

// mixedSizes returns n sizes of one to mtu bytes, that repeat in no pattern.
func (f *flow) mixedSizes(n int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = 1 + f.rng.IntN(f.from.mtu)
	}
	return sizes
}

func testBatches(c *pair) error {
	return c.bothWays(func(f *flow) error {
		for _, n := range []int{1, 2, 3, 8, 15, 64, 65, maxBatch} {
			sizes := f.mixedSizes(n)
			for i := range sizes {
				sizes[i] = min(sizes[i], max(inFlight/n, 1))
			}
			if err := f.deliver(sizes, n, f.separate); err != nil {
				return err
			}
		}
		return nil
	})
}

func testSlabs(c *pair) error {
	return c.bothWays(func(f *flow) error {
		for _, size := range []int{f.from.mtu, f.from.mtu/2 + 1, f.from.mtu/16 + 1} {
			n := max(min(inFlight/size, 50), 1)
			run := make([]int, n)
			for i := range run {
				run[i] = size
			}
			// A run, one with a short tail, one that grows, one that a short element
			// interrupts, and no run at all.
			tail := append([]int{}, run...)
			tail[n-1] = max(size/3, 1)
			grown := append([]int{}, run...)
			grown[n-1] = min(size+1, f.from.mtu)
			broken := append([]int{}, run...)
			broken[n/2] = max(size/2, 1)
			for _, sizes := range [][]int{run, tail, grown, broken, f.mixedSizes(n)} {
				if err := f.deliver(sizes, n, f.slab); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func testFewBuffers(c *pair) error {
	// The pumps are started late, so that many datagrams wait for few buffers.
	for i, e := range []*end{c.a, c.b} {
		from := []*end{c.b, c.a}[i]
		f := c.flow(from, nil)
		var pkts [][]byte
		for range 20 {
			pkts = append(pkts, f.fill(make([]byte, min(from.mtu, 100))))
		}
		for _, p := range pkts {
			f.record(p)
		}
		if err := from.sendAll(pkts); err != nil {
			return err
		}
		time.Sleep(c.lim.pause)
		f.in = c.receiveWith(e, i+1, max(c.a.mtu, c.b.mtu)+1)
		if err := f.settle(); err != nil {
			return err
		}
	}
	return nil
}

// testStream sends enough to meet what happens to one datagram in a hundred.
func testStream(c *pair) error {
	return c.bothWays(func(f *flow) error {
		size := min(f.from.mtu, 256)
		var pkts [][]byte
		for range 1500 {
			pkts = append(pkts, f.fill(make([]byte, size)))
		}
		if err := f.carry(pkts, 64); err != nil {
			return err
		}
		return f.linger()
	})
}

func testSendModifiesNothing(c *pair) error {
	return c.bothWays(func(f *flow) error {
		for _, build := range []func([]int) [][]byte{f.separate, f.slab} {
			pkts := build([]int{f.from.mtu, f.from.mtu, f.from.mtu/2 + 1, 1})
			var before [][]byte
			for _, p := range pkts {
				before = append(before, bytes.Clone(p))
			}
			if err := f.from.sendAll(pkts); err != nil {
				return err
			}
			for range 2 {
				for i, p := range pkts {
					if !bytes.Equal(p, before[i]) {
						return violated(sKeep, "%s.Send changed %d of the %d bytes of a datagram", f.from.name, differ(p, string(before[i])), len(p))
					}
				}
				time.Sleep(c.lim.pause)
			}
		}
		return nil
	})
}

func testSendKeepsNothing(c *pair) error {
	return c.bothWays(func(f *flow) error {
		size := min(f.from.mtu, 500)
		for round := range 40 {
			mem := f.fill(make([]byte, 8*size))
			var pkts [][]byte
			for i := range 8 {
				pkts = append(pkts, mem[i*size:(i+1)*size])
				f.record(pkts[i])
			}
			if err := f.from.sendAll(pkts); err != nil {
				return err
			}
			for i := range mem {
				mem[i] = scribble
			}
			// What a link has kept, it may send with the next batch.
			if round%4 == 3 {
				if err := f.settle(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// testReceiveKeepsNothing relies on the pumps, which overwrite and check their buffers.
func testReceiveKeepsNothing(c *pair) error {
	return c.bothWays(func(f *flow) error {
		for range 10 {
			if err := f.carry(f.separate([]int{f.from.mtu, 1, f.from.mtu/2 + 1, f.from.mtu}), 2); err != nil {
				return err
			}
		}
		return nil
	})
}

// testSendCount relies on end.send, which checks the result of each call.
func testSendCount(c *pair) error {
	return c.bothWays(func(f *flow) error {
		for n := 1; n <= 20; n++ {
			if err := f.carry(f.separate(smallSizes(n)), n); err != nil {
				return err
			}
		}
		return nil
	})
}

// smallSizes returns n sizes of 17 bytes, small enough for any link and large enough to
// be told apart.
func smallSizes(n int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = 17
	}
	return sizes
}

func testEmptyBatch(c *pair) error {
	return c.bothWays(func(f *flow) error {
		for _, pkts := range [][][]byte{nil, {}} {
			if _, _, bad := f.from.send(pkts); bad != nil {
				return bad
			}
		}
		return f.deliver([]int{min(f.from.mtu, 100)}, 1, f.separate)
	})
}

func testOversized(c *pair) error {
	return c.bothWays(func(f *flow) error {
		for _, size := range []int{f.from.mtu + 1, f.from.mtu + 100, 2*f.from.mtu + 1, 1 << 17} {
			if size <= f.from.mtu {
				continue
			}
			pkts := f.separate([]int{f.from.mtu, size, f.from.mtu})
			f.refused = append(f.refused, pkts[1], pkts[2])
			f.record(pkts[0])
			err, bad := f.sendUntilRefused(pkts)
			if bad != nil {
				return bad
			}
			if !errors.Is(err, link.ErrTooLarge) {
				return violated(sTooLarge, "%s.Send of %d bytes, with an MTU of %d, returned the error %q", f.from.name, size, f.from.mtu, err)
			}
			if err := f.settle(); err != nil {
				return err
			}
			if err := f.deliver([]int{f.from.mtu, 1, 20}, 3, f.separate); err != nil {
				return err
			}
		}
		return f.linger()
	})
}

// sendUntilRefused sends three datagrams, the second of which must be refused for good.
func (f *flow) sendUntilRefused(pkts [][]byte) (err, bad error) {
	for start, first := time.Now(), 0; ; time.Sleep(time.Millisecond) {
		n, err, bad := f.from.send(pkts[first:])
		if bad != nil {
			return nil, bad
		}
		switch first += n; {
		case first > 1:
			return nil, violated(sTooLarge, "%s.Send accepted %d bytes, with an MTU of %d", f.from.name, len(pkts[1]), f.from.mtu)
		case !errors.Is(err, link.ErrFull):
			if first == 0 {
				return nil, violated(sCount, "%s.Send of a datagram as large as the MTU, followed by one that is larger, returned n = 0 and the error %q", f.from.name, err)
			}
			return err, nil
		case time.Since(start) > f.c.lim.patience:
			return nil, violated(sFull, "%s.Send took nothing for %v", f.from.name, f.c.lim.patience)
		}
	}
}

func testShortBuffers(c *pair) error {
	for i, e := range []*end{c.a, c.b} {
		from := []*end{c.b, c.a}[i]
		room := min(from.mtu/2, 50)
		if room < 1 {
			return nil
		}
		f := c.flow(from, c.receiveWith(e, 4, room))
		for range 20 {
			long := f.fill(make([]byte, min(from.mtu, 2*room)))
			exact := f.fill(make([]byte, room))
			over := f.fill(make([]byte, room+1))
			// The long ones are unknown to the ledger: whatever arrives of them is wrong.
			f.record(exact)
			if err := from.sendAll([][]byte{long, exact, over}); err != nil {
				return err
			}
			if err := f.settleShort([][]byte{long, over}); err != nil {
				return err
			}
		}
	}
	return nil
}

// settleShort is settle, and says so when a datagram was truncated to its buffer.
func (f *flow) settleShort(long [][]byte) error {
	err := f.settle()
	var v *violation
	if errors.As(err, &v) && v.sentence == sIntact {
		return violated(sShort, "of datagrams of %d and %d bytes, longer than their buffers: %s", len(long[0]), len(long[1]), v.detail)
	}
	return err
}

// testIdle waits on links that nothing is sent over, and between datagrams.
func testIdle(c *pair) error {
	return c.bothWays(func(f *flow) error {
		if err := f.linger(); err != nil {
			return err
		}
		if err := f.deliver([]int{min(f.from.mtu, 100)}, 1, f.separate); err != nil {
			return err
		}
		return f.linger()
	})
}

func testDirections(c *pair) error {
	// b does not receive, so that whatever lies between a and b fills up.
	pkt := make([]byte, min(c.a.mtu, 1000))
	for range 4 << 20 / len(pkt) / 16 {
		if _, err, bad := c.a.send(repeat(pkt, 16)); bad != nil {
			return bad
		} else if err != nil {
			break
		}
	}
	f := c.flow(c.b, c.receive(c.a))
	return f.deliver([]int{c.b.mtu, 1, c.b.mtu/2 + 1, c.b.mtu}, 4, f.separate)
}

func repeat(pkt []byte, n int) [][]byte {
	pkts := make([][]byte, n)
	for i := range pkts {
		pkts[i] = pkt
	}
	return pkts
}

func testSendDoesNotWait(c *pair) error {
	const (
		volume   = 32 << 20
		refusals = 200
	)
	pkts := repeat(make([]byte, min(c.a.mtu, 1400)), 32)
	refused := 0
	for sent := 0; sent < volume && refused < refusals; sent += len(pkts) * len(pkts[0]) {
		n, err, bad := c.a.send(pkts)
		switch {
		case bad != nil:
			return bad
		case errors.Is(err, link.ErrTooLarge), errors.Is(err, net.ErrClosed):
			return violated(sFull, "a.Send returned n = %d and the error %q while the peer was not receiving", n, err)
		case err != nil:
			refused++
		}
	}
	return nil
}

func testCloseUnblocksReceive(c *pair) error {
	for _, e := range []*end{c.a, c.b} {
		p := c.receive(e)
		time.Sleep(c.lim.pause)
		if err := e.close(); err != nil {
			return err
		}
		if err := p.finish(); err != nil {
			return err
		}
		if !errors.Is(p.end, net.ErrClosed) && e == c.a {
			return violated(sRecvClosed, "%s.Receive returned the error %q", e.name, p.end)
		}
	}
	return nil
}

func testCloseUnblocksSend(c *pair) error {
	last := make(chan error, 1)
	go func() {
		pkts := repeat(make([]byte, min(c.a.mtu, 1000)), 8)
		for start := time.Now(); ; time.Sleep(100 * time.Microsecond) {
			_, err := c.a.l.Send(pkts)
			if errors.Is(err, net.ErrClosed) || time.Since(start) > 2*c.lim.call {
				last <- err
				return
			}
		}
	}()
	time.Sleep(c.lim.pause)
	if err := c.a.close(); err != nil {
		return err
	}
	timer := time.NewTimer(c.lim.call)
	defer timer.Stop()
	select {
	case <-last:
		return nil
	case <-timer.C:
		return violated(sClose, "a.Send had neither returned nor failed with net.ErrClosed %v after Close", c.lim.call)
	}
}

func testCloseTwice(c *pair) error {
	for _, e := range []*end{c.a, c.b} {
		for range 3 {
			if err := e.close(); err != nil {
				return err
			}
		}
	}
	return nil
}

func testAfterClose(c *pair) error {
	// Datagrams that arrived before are no reason to return anything else.
	if err := c.b.sendAll(repeat(make([]byte, 1), 3)); err != nil {
		return err
	}
	time.Sleep(c.lim.pause)
	for _, e := range []*end{c.a, c.b} {
		if err := e.close(); err != nil {
			return err
		}
		for range 3 {
			n, err, bad := e.send([][]byte{make([]byte, 1)})
			if bad != nil {
				return bad
			}
			if n != 0 || !errors.Is(err, net.ErrClosed) {
				return violated(sSendClosed, "%s.Send returned n = %d and the error %v after Close", e.name, n, err)
			}
			r, bad := bounded(c.lim.call, func() sendResult {
				n, err := e.l.Receive([][]byte{make([]byte, e.mtu)}, make([]int, 1))
				return sendResult{n, err}
			})
			if bad != nil {
				return violated(sRecvClosed, "%s.Receive after Close: %v", e.name, bad)
			}
			if r.n != 0 || !errors.Is(r.err, net.ErrClosed) {
				return violated(sRecvClosed, "%s.Receive returned n = %d and the error %v after Close", e.name, r.n, r.err)
			}
		}
		if err := e.close(); err != nil {
			return err
		}
	}
	return nil
}

// testConcurrent does everything at once. The race detector makes the most of it.
func testConcurrent(c *pair) error {
	c.receive(c.a)
	c.receive(c.b)
	ends := []*end{c.a, c.b}
	errs := make(chan error, 8)
	var wg sync.WaitGroup
	for _, e := range ends {
		wg.Go(func() {
			pkts := [][]byte{make([]byte, e.mtu), make([]byte, 1), make([]byte, e.mtu/2+1)}
			for start := time.Now(); time.Since(start) < 2*c.lim.call; time.Sleep(100 * time.Microsecond) {
				_, err, bad := e.send(pkts)
				if bad != nil {
					errs <- bad
				}
				if bad != nil || errors.Is(err, net.ErrClosed) {
					return
				}
				e.l.MTU()
			}
			errs <- violated(sSendClosed, "%s.Send did not return net.ErrClosed within %v of Close", e.name, 2*c.lim.call)
		})
	}
	time.Sleep(c.lim.pause)
	for _, e := range ends {
		e.closed = true
		for range 2 {
			wg.Go(func() {
				if _, bad := bounded(c.lim.call, e.l.Close); bad != nil {
					errs <- violated(sConcurrent, "%s.Close, called twice at once: %v", e.name, bad)
				}
			})
		}
	}
	wg.Wait()
	for _, p := range c.pumps {
		if err := p.finish(); err != nil {
			return err
		}
	}
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func testCloseEndsGoroutines(c *pair) error {
	return c.bothWays(func(f *flow) error {
		return f.carry(f.separate([]int{1, f.from.mtu, 1, f.from.mtu}), 2)
	})
}
