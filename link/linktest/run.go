package linktest

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// realTime bounds a case in real time, whatever it does with virtual time.
const realTime = 30 * time.Second

// A linkCase tests one part of the contract on a new pair of links.
type linkCase struct {
	name string
	run  func(c *pair) error
	// leak has the goroutines counted before and after.
	leak bool
}

// TestLink tests that the links of mk obey the contract of link.Link.
func TestLink(t *testing.T, mk MakePair, tr Traits) {
	for _, tc := range linkCases {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.exec(t, mk, tr); err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
		})
	}
}

// exec runs the case where its traits demand, and returns the violation found.
func (tc linkCase) exec(t *testing.T, mk MakePair, tr Traits) (err error) {
	// A link can keep a bubble busy for ever. Nothing but the end of the program can
	// stop that.
	watchdog := time.AfterFunc(realTime, func() {
		panic(fmt.Sprintf("%s: %q: the case had not ended after %v of real time", tc.name, sVirtual, realTime))
	})
	defer watchdog.Stop()
	switch {
	case tr.Virtual:
		// A bubble panics when goroutines are left that nothing can wake.
		defer func() {
			if r := recover(); r != nil && err == nil {
				err = violated(sClose, "goroutines were left behind: %v", r)
			}
		}()
		synctest.Test(t, func(t *testing.T) { err = tc.check(t, mk, tr) })
	case tc.leak:
		before := goroutines()
		t.Run("Pair", func(t *testing.T) { err = tc.check(t, mk, tr) })
		if err == nil {
			err = leaked(before, limitsFor(tr).call)
		}
	default:
		err = tc.check(t, mk, tr)
	}
	return err
}

// check runs the case on a new pair and closes it.
func (tc linkCase) check(tb testing.TB, mk MakePair, tr Traits) (err error) {
	a, b := mk(tb)
	c := newPair(a, b, tr)
	defer func() {
		if cerr := c.close(); err == nil {
			err = cerr
		}
	}()
	return tc.run(c)
}

// A pair is what a case works with.
type pair struct {
	a, b  *end
	tr    Traits
	lim   limits
	pumps []*pump
}

func newPair(a, b link.Link, tr Traits) *pair {
	lim := limitsFor(tr)
	return &pair{
		a:   &end{name: "a", l: a, mtu: a.MTU(), tr: tr, lim: lim},
		b:   &end{name: "b", l: b, mtu: b.MTU(), tr: tr, lim: lim},
		tr:  tr,
		lim: lim,
	}
}

// receive starts a pump on e with enough room for what the peer may send.
func (c *pair) receive(e *end) *pump {
	size := max(c.a.mtu, c.b.mtu) + 1
	return c.receiveWith(e, min(max(inFlight/size, 2), 32), size)
}

func (c *pair) receiveWith(e *end, bufs, size int) *pump {
	p := e.startPump(bufs, size)
	c.pumps = append(c.pumps, p)
	return p
}

// close closes what the case has not closed and waits for the pumps.
func (c *pair) close() error {
	var first error
	for _, e := range []*end{c.a, c.b} {
		if e.closed {
			continue
		}
		if err := e.close(); err != nil && first == nil {
			first = err
		}
	}
	for _, p := range c.pumps {
		if err := p.finish(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// A case has no more than inFlight bytes, unless a single datagram is larger, and
// maxBatch datagrams under way: less than the default buffers of a UDP socket hold.
const (
	inFlight = 32 << 10
	maxBatch = 130
)

// attempts is how often a datagram is sent over a link that may lose it.
const attempts = 40

// A flow is the traffic of a case in one direction.
type flow struct {
	*ledger
	c    *pair
	from *end
	in   *pump
}

func (c *pair) flow(from *end, in *pump) *flow {
	seed := uint64(1)
	if from == c.b {
		seed = 2
	}
	return &flow{ledger: newLedger(c.tr, seed), c: c, from: from, in: in}
}

// carry sends pkts in batches of up to batch datagrams and checks all that arrives.
func (f *flow) carry(pkts [][]byte, batch int) error {
	for len(pkts) > 0 {
		n, size := 0, 0
		for n < len(pkts) && n < batch && (n == 0 || size+len(pkts[n]) <= inFlight) {
			size += len(pkts[n])
			f.record(pkts[n])
			n++
		}
		if err := f.from.sendAll(pkts[:n]); err != nil {
			return err
		}
		if err := f.settle(); err != nil {
			return err
		}
		pkts = pkts[n:]
	}
	return nil
}

// settle waits until all that is due has arrived, or can be taken for lost.
func (f *flow) settle() error {
	wait := f.c.lim.quiet
	if f.tr.Lossless {
		wait = f.c.lim.patience
	}
	for f.due > 0 {
		p, err := f.in.next(wait)
		if err != nil {
			return err
		}
		if p == nil {
			if f.tr.Lossless {
				return violated(sLossless, "%d of %d datagrams from %s had not arrived after %v", f.due, f.count, f.from.name, wait)
			}
			f.due = 0
			break
		}
		if err := f.judge(p); err != nil {
			return err
		}
	}
	return nil
}

// linger checks what arrives although nothing is due any more.
func (f *flow) linger() error {
	for {
		p, err := f.in.next(f.c.lim.quiet)
		if p == nil || err != nil {
			return err
		}
		if err := f.judge(p); err != nil {
			return err
		}
	}
}

// deliver sends datagrams of the sizes given, made by build, until one of each has
// arrived. Only a link that may lose datagrams gets more than one attempt; what arrives
// when the next attempt has begun counts, too.
func (f *flow) deliver(sizes []int, batch int, build func(sizes []int) [][]byte) error {
	sizes = slices.Clone(sizes)
	tries := make([][]string, len(sizes)) // by element of sizes
	for range attempts {
		pkts := build(sizes)
		for i, p := range pkts {
			tries[i] = append(tries[i], string(p))
		}
		if err := f.carry(pkts, batch); err != nil {
			return err
		}
		missing := 0
		for i, size := range sizes {
			if !slices.ContainsFunc(tries[i], f.arrived) {
				sizes[missing], tries[missing] = size, tries[i]
				missing++
			}
		}
		if sizes, tries = sizes[:missing], tries[:missing]; missing == 0 {
			return nil
		}
	}
	return violated(sTransmit, "a datagram of %d bytes from %s never arrived in %d attempts", sizes[0], f.from.name, attempts)
}

// separate makes datagrams in memory of their own.
func (f *flow) separate(sizes []int) [][]byte {
	pkts := make([][]byte, len(sizes))
	for i, size := range sizes {
		pkts[i] = f.fill(make([]byte, size))
	}
	return pkts
}

// slab makes datagrams that are consecutive in memory.
func (f *flow) slab(sizes []int) [][]byte {
	total := 0
	for _, size := range sizes {
		total += size
	}
	mem := f.fill(make([]byte, total))
	pkts := make([][]byte, len(sizes))
	for i, size := range sizes {
		pkts[i], mem = mem[:size], mem[size:]
	}
	return pkts
}
