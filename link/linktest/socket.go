package linktest

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// hello is what a link sends first, so that the socket learns its address.
var hello = []byte("linktest: hello")

// TestSocket tests that the sockets of mk obey the contract of link.Socket. A socket and
// one of its peers are a pair of links, which the cases of TestLink test with no
// promises; the cases named Peers are those of a socket with many peers.
func TestSocket(t *testing.T, mk MakeSocket) {
	pairs := func(tb testing.TB) (a, b link.Link) {
		s, dial := mk(tb)
		l := dial()
		addr, err := introduce(s, l)
		if err != nil {
			tb.Fatalf("Peers: %v", err)
		}
		return &socketPeer{s: s, addr: addr}, l
	}
	TestLink(t, pairs, Traits{})
	for _, tc := range socketCases {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.exec(t, mk); err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
		})
	}
}

// socketPeer is the link of a socket to the one peer that it has.
type socketPeer struct {
	s    link.Socket
	addr link.Addr
	from []link.Addr // only accessed by Receive
}

func (p *socketPeer) Send(pkts [][]byte) (int, error) { return p.s.SendTo(pkts, p.addr) }
func (p *socketPeer) MTU() int                        { return p.s.MTU() }
func (p *socketPeer) Close() error                    { return p.s.Close() }

// Receive passes over what introduce has sent more than once.
func (p *socketPeer) Receive(bufs [][]byte, sizes []int) (int, error) {
	if len(p.from) < len(bufs) {
		p.from = make([]link.Addr, len(bufs))
	}
	for {
		n, err := p.s.ReceiveFrom(bufs, sizes, p.from[:len(bufs)])
		if n == 0 || err != nil || n > len(bufs) {
			return n, err
		}
		kept := 0
		for i := range n {
			if sizes[i] == len(hello) && bytes.Equal(bufs[i][:sizes[i]], hello) {
				continue
			}
			if p.from[i] != p.addr {
				return n, violated(sOrigin, "a peer of address %+v became %+v", p.addr, p.from[i])
			}
			if kept != i {
				sizes[kept] = copy(bufs[kept], bufs[i][:sizes[i]])
			}
			kept++
		}
		if kept > 0 {
			return kept, nil
		}
	}
}

// arrival is a datagram received by a socket.
type arrival struct {
	data []byte
	from link.Addr
}

// receiveFrom calls s.ReceiveFrom once, and copies what came.
func receiveFrom(s link.Socket, d time.Duration) ([]arrival, error) {
	type result struct {
		got []arrival
		err error
	}
	r, err := bounded(d, func() (r result) {
		const n = 16
		bufs, sizes, from := make([][]byte, n), make([]int, n), make([]link.Addr, n)
		for i := range bufs {
			bufs[i] = make([]byte, s.MTU())
		}
		got, err := s.ReceiveFrom(bufs, sizes, from)
		if err != nil {
			return result{err: err}
		}
		if got < 1 || got > n {
			return result{err: violated(sOrigin, "ReceiveFrom with %d buffers returned n = %d and no error", n, got)}
		}
		for i := range got {
			r.got = append(r.got, arrival{bufs[i][:sizes[i]], from[i]})
		}
		return r
	})
	if err == nil {
		err = r.err
	}
	return r.got, err
}

// introduce lets l send until s has received something, and returns the address of l.
func introduce(s link.Socket, l link.Link) (link.Addr, error) {
	lim := limitsFor(Traits{})
	e := &end{name: "client", l: l, mtu: l.MTU(), lim: lim}
	if err := e.sendAll([][]byte{hello}); err != nil {
		return link.Addr{}, err
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait() // the caller sends over l next
	defer close(done)
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(lim.patience / 10):
				_, _ = l.Send([][]byte{hello})
			}
		}
	})
	got, err := receiveFrom(s, lim.patience)
	if err != nil {
		return link.Addr{}, violated(sOrigin, "ReceiveFrom, while a client was sending: %v", err)
	}
	if !bytes.Equal(got[0].data, hello) {
		return link.Addr{}, violated(sIntact, "the first datagram of a client was not what it sent: %q", got[0].data)
	}
	return got[0].from, nil
}

// A socketCase tests a socket with many peers.
type socketCase struct {
	name string
	run  func(c *crowd) error
}

var socketCases = []socketCase{
	{"PeersAddr", testPeersAddr},
	{"PeersReply", testPeersReply},
	{"PeersBatch", testPeersBatch},
	{"PeersLocalAddr", testPeersLocalAddr},
}

// A crowd is a socket and its peers.
type crowd struct {
	s     *end // of calls of Close
	sock  link.Socket
	links []*end
	pumps []*pump
}

// peers is the number of peers of a socket.
const peers = 8

func (tc socketCase) exec(tb testing.TB, mk MakeSocket) (err error) {
	s, dial := mk(tb)
	lim := limitsFor(Traits{})
	c := &crowd{sock: s, s: &end{name: "socket", l: &socketPeer{s: s}, lim: lim}}
	for i := range peers {
		l := dial()
		c.links = append(c.links, &end{name: fmt.Sprintf("client %d", i), l: l, mtu: l.MTU(), lim: lim})
	}
	defer func() {
		for _, e := range append(c.links, c.s) {
			if cerr := e.close(); err == nil {
				err = cerr
			}
		}
		for _, p := range c.pumps {
			if perr := p.finish(); err == nil {
				err = perr
			}
		}
	}()
	return tc.run(c)
}

// tag is the datagram number seq of client i.
func tag(i, seq int) []byte { return fmt.Appendf(nil, "linktest: client %d, datagram %d", i, seq) }

// collect has each client send a datagram of its own, several times over, and returns
// the address that each was received from.
func (c *crowd) collect() (map[int]link.Addr, error) {
	addrs := make(map[int]link.Addr)
	start := time.Now()
	for seq := 0; seq < 5 || len(addrs) < len(c.links); seq++ {
		if time.Since(start) > c.s.lim.patience {
			return nil, violated(sOrigin, "only %d of %d clients were heard within %v", len(addrs), len(c.links), c.s.lim.patience)
		}
		for i, e := range c.links {
			if err := e.sendAll([][]byte{tag(i, seq)}); err != nil {
				return nil, err
			}
			got, err := receiveFrom(c.sock, c.s.lim.patience)
			if err != nil {
				return nil, violated(sOrigin, "ReceiveFrom, while client %d was sending: %v", i, err)
			}
			for _, a := range got {
				if err := c.note(addrs, a); err != nil {
					return nil, err
				}
			}
		}
	}
	return addrs, nil
}

// note stores the address of a datagram's client, which must never change.
func (c *crowd) note(addrs map[int]link.Addr, a arrival) error {
	i, seq := -1, -1
	if _, err := fmt.Sscanf(string(a.data), "linktest: client %d, datagram %d", &i, &seq); err != nil ||
		i < 0 || i >= len(c.links) || !bytes.Equal(a.data, tag(i, seq)) {
		return violated(sIntact, "a datagram arrived that was never sent: %q", a.data)
	}
	if old, ok := addrs[i]; ok && old != a.from {
		return violated(sAddr, "client %d had the address %+v and then %+v", i, old, a.from)
	}
	if a.from.Remote.Addr().Is4In6() || a.from.Local.Is4In6() {
		return violated(sMapped, "client %d has the address %+v", i, a.from)
	}
	for j, other := range addrs {
		if j != i && other == a.from {
			return violated(sAddr, "clients %d and %d both have the address %+v", i, j, a.from)
		}
	}
	addrs[i] = a.from
	return nil
}

func testPeersAddr(c *crowd) error {
	_, err := c.collect()
	return err
}

func testPeersReply(c *crowd) error { return c.reply(1) }
func testPeersBatch(c *crowd) error { return c.reply(20) }

// reply sends n datagrams to each client at once, and checks that each client gets its
// own.
func (c *crowd) reply(n int) error {
	addrs, err := c.collect()
	if err != nil {
		return err
	}
	for _, e := range c.links {
		c.pumps = append(c.pumps, e.startPump(4, max(e.mtu, c.sock.MTU())))
	}
	flows := make([]*flow, len(c.links))
	for i := range c.links {
		to := &end{name: "socket", l: &socketPeer{s: c.sock, addr: addrs[i]}, mtu: c.sock.MTU(), lim: c.s.lim}
		flows[i] = &flow{
			ledger: newLedger(Traits{}, uint64(i)),
			c:      &pair{lim: c.s.lim},
			from:   to,
			in:     c.pumps[i],
		}
	}
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = 100 + i
	}
	for range 3 {
		// Everything is under way to all before the first looks at what it got.
		for _, f := range flows {
			pkts := f.separate(sizes)
			for _, p := range pkts {
				f.record(p)
			}
			if err := f.from.sendAll(pkts); err != nil {
				return err
			}
		}
		for i, f := range flows {
			if err := f.settle(); err != nil {
				return fmt.Errorf("client %d: %w", i, err)
			}
		}
	}
	for i, f := range flows {
		if err := f.deliver(sizes, n, f.slab); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		if err := f.linger(); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
	}
	return nil
}

func testPeersLocalAddr(c *crowd) error {
	addr := c.sock.LocalAddr()
	if addr == (netip.AddrPort{}) || addr.Addr().Is4In6() {
		return violated(sBound, "LocalAddr returned %v", addr)
	}
	if _, err := c.collect(); err != nil {
		return err
	}
	if again := c.sock.LocalAddr(); again != addr {
		return violated(sBound, "LocalAddr returned %v and then %v", addr, again)
	}
	return nil
}
