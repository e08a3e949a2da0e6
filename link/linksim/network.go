package linksim

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/multilink-vpn/multilink/link"
)

// A Network joins sockets and the lines that lead to them, as the internet joins
// servers and the access lines of their clients. It has no resources to release
// beyond those of its links and sockets.
//
// All methods may be called concurrently.
type Network struct {
	seed uint64
	pool *pool
	mtu  atomic.Int64

	mu      sync.RWMutex
	sockets map[netip.AddrPort]*Socket
	lines   map[flow]*Link
	clients map[netip.AddrPort][]*Link // the same lines by the client's address, in order of dialling
	dialled map[flow]uint64            // how often
}

// A flow names a line by the addresses of its two ends.
type flow struct{ client, server netip.AddrPort }

// client is what a Link of Network.Dial has beside one of a Pair.
type client struct {
	network *Network
	flow    flow // guarded by network.mu
	from    atomic.Pointer[link.Addr]
}

var errNoClient = errors.New("linksim: rebind: the link is an end of a Pair; only links of Network.Dial have an address")

// The dynamic ports of RFC 6335, section 6.
const (
	firstPort = 49152
	lastPort  = 65535
)

// NewNetwork returns an empty network.
func NewNetwork(seed uint64) *Network {
	n := &Network{
		seed:    seed,
		pool:    new(pool),
		sockets: make(map[netip.AddrPort]*Socket),
		lines:   make(map[flow]*Link),
		clients: make(map[netip.AddrPort][]*Link),
		dialled: make(map[flow]uint64),
	}
	n.mtu.Store(DefaultMTU)
	return n
}

// Listen opens a socket at addr. Port 0 chooses a free port. An unspecified address
// (0.0.0.0 or ::) stands for all addresses that have no socket of their own at this
// port, of both families if it is that of IPv6.
//
// Lines need not be dialled again after their socket is closed: they lead to the
// next socket at the same address.
func (n *Network) Listen(addr netip.AddrPort) (*Socket, error) {
	addr = unmap(addr)
	if !addr.Addr().IsValid() {
		return nil, errors.New("linksim: listen: the address is not valid; use one with an IP address")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	addr, err := choosePort(addr, func(a netip.AddrPort) bool { return n.sockets[a] == nil })
	if err != nil {
		return nil, fmt.Errorf("linksim: listen on %v: %w", addr, err)
	}
	s := &Socket{network: n, addr: addr, inbox: newInbox(n.pool)}
	n.sockets[addr] = s
	return s, nil
}

// Dial makes a line of its own from local to the socket at remote, and returns the
// client's end. up is the profile from the client to the socket, down the other
// direction's. Port 0 in local chooses a free port. No socket needs to be there:
// what is sent to an address without one is lost. The addresses must differ from
// those of every other open line, in at least one of the two ends.
//
// The draws of the line depend on the network's seed, the two addresses and on how
// often they were dialled before, not on other lines.
func (n *Network) Dial(local, remote netip.AddrPort, up, down Profile) (*Link, error) {
	local, remote = unmap(local), unmap(remote)
	if !local.Addr().IsValid() || !remote.IsValid() || remote.Port() == 0 || remote.Addr().IsUnspecified() {
		return nil, fmt.Errorf("linksim: dial %v from %v: an address is not valid; use specific IP addresses and a port", remote, local)
	}
	for _, p := range []Profile{up, down} {
		if err := p.Validate(); err != nil {
			return nil, fmt.Errorf("linksim: dial %v from %v: %w", remote, local, err)
		}
	}

	n.mu.Lock()
	defer n.mu.Unlock()
	local, err := choosePort(local, func(a netip.AddrPort) bool { return n.lines[flow{a, remote}] == nil })
	if err != nil {
		return nil, fmt.Errorf("linksim: dial %v from %v: %w", remote, local, err)
	}
	f := flow{local, remote}
	stream := f.hash(n.dialled[f]) << 1
	n.dialled[f]++

	l := &Link{
		out:    newDirection(NewLine(up, n.seed, stream), n.pool),
		in:     newDirection(NewLine(down, n.seed, stream|1), n.pool),
		inbox:  newInbox(n.pool),
		client: &client{network: n},
	}
	l.out.network, l.out.address = n, remote
	l.in.inbox = l.inbox
	l.client.occupy(l, f)
	n.recomputeMTU()
	return l, nil
}

// socket returns the socket that receives what is sent to addr, nil if there is none.
func (n *Network) socket(addr netip.AddrPort) *Socket {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.socketLocked(addr)
}

func (n *Network) socketLocked(addr netip.AddrPort) *Socket {
	if s := n.sockets[addr]; s != nil {
		return s
	}
	if addr.Addr().Is4() {
		if s := n.sockets[netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port())]; s != nil {
			return s
		}
	}
	return n.sockets[netip.AddrPortFrom(netip.IPv6Unspecified(), addr.Port())]
}

// updateMTU follows a change of the lines' profiles.
func (n *Network) updateMTU() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.recomputeMTU()
}

func (n *Network) recomputeMTU() {
	var mtu int64
	for _, l := range n.lines {
		mtu = max(mtu, l.in.mtu.Load())
	}
	if mtu == 0 {
		mtu = DefaultMTU
	}
	n.mtu.Store(mtu)
}

// occupy makes f the flow of l. The caller holds network.mu.
func (c *client) occupy(l *Link, f flow) {
	c.flow = f
	c.network.lines[f] = l
	c.network.clients[f.client] = append(c.network.clients[f.client], l)
	c.from.Store(&link.Addr{Remote: f.client, Local: f.server.Addr()})
}

// vacate undoes occupy. The caller holds network.mu.
func (c *client) vacate(l *Link) {
	n, addr := c.network, c.flow.client
	delete(n.lines, c.flow)
	n.clients[addr] = slices.DeleteFunc(n.clients[addr], func(o *Link) bool { return o == l })
	if len(n.clients[addr]) == 0 {
		delete(n.clients, addr)
	}
}

func (c *client) source() link.Addr { return *c.from.Load() }

func (c *client) addresses() (local, remote netip.AddrPort) {
	c.network.mu.RLock()
	defer c.network.mu.RUnlock()
	return c.flow.client, c.flow.server
}

func (c *client) rebind(l *Link, local netip.AddrPort) error {
	local = unmap(local)
	n := c.network
	n.mu.Lock()
	defer n.mu.Unlock()
	server := c.flow.server
	if n.lines[c.flow] != l {
		return fmt.Errorf("linksim: rebind to %v: %w", local, net.ErrClosed)
	}
	if !local.Addr().IsValid() {
		return errors.New("linksim: rebind: the address is not valid; use one with an IP address")
	}
	local, err := choosePort(local, func(a netip.AddrPort) bool {
		other := n.lines[flow{a, server}]
		return other == nil || other == l
	})
	if err != nil {
		return fmt.Errorf("linksim: rebind to %v: %w", local, err)
	}
	c.vacate(l)
	c.occupy(l, flow{local, server})
	return nil
}

// hangUp takes the line out of the network.
func (c *client) hangUp(l *Link) {
	n := c.network
	n.mu.Lock()
	defer n.mu.Unlock()
	c.vacate(l)
	n.recomputeMTU()
}

func (f flow) hash(dialled uint64) uint64 {
	h := mix(dialled + golden)
	for _, a := range []netip.AddrPort{f.client, f.server} {
		for i, b := range a.Addr().As16() {
			h = mix(h + golden*(uint64(b)+uint64(i)<<8+1))
		}
		h = mix(h + golden*(uint64(a.Port())+1))
	}
	return h
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// choosePort returns a, with a free port if it has none.
func choosePort(a netip.AddrPort, free func(netip.AddrPort) bool) (netip.AddrPort, error) {
	if a.Port() != 0 {
		if !free(a) {
			return a, errors.New("the address is in use; choose another, or port 0")
		}
		return a, nil
	}
	for port := firstPort; port <= lastPort; port++ {
		if b := netip.AddrPortFrom(a.Addr(), uint16(port)); free(b) {
			return b, nil
		}
	}
	return a, errors.New("no port is free; close links, or use another address")
}
