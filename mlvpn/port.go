package mlvpn

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// A port is where datagrams leave and arrive: a link, or a socket that many peers
// share. It hides the difference.
type port struct {
	cfg    LinkConfig    // the name is constant, the rest owned by the sender
	link   link.Link     // or
	sock   link.Socket   // one of the two
	id     LinkID        // of a client's link
	from   *acceptor     // of a link that a listener has accepted
	serial uint32        // constant once added: tells it from other ports of the engine
	gone   chan struct{} // closed when the reader has ended; nil before it starts; guarded by life.mu

	proven  atomic.Bool // an authentic datagram has come by it
	traffic *traffic    // shared by all ports that stand for one link, socket or listener
}

// A LinkID identifies a link of a Client for as long as the Client lives.
type LinkID uint32

func (p *port) send(pkts [][]byte, to link.Addr) (n int, err error) {
	if p.link != nil {
		n, err = p.link.Send(pkts)
	} else {
		n, err = p.sock.SendTo(pkts, to)
	}
	if n < 0 || n > len(pkts) || n < len(pkts) && err == nil {
		n, err = min(max(n, 0), len(pkts)), errBadLink
	}
	p.traffic.sent.addPackets(pkts[:n])
	return n, err
}

func (p *port) receive(b *portBatch) (n int, err error) {
	if p.link != nil {
		n, err = p.link.Receive(b.bufs, b.sizes)
	} else {
		n, err = p.sock.ReceiveFrom(b.bufs, b.sizes, b.from)
	}
	if n < 0 || n > len(b.bufs) || n == 0 && err == nil {
		return 0, errBadLink
	}
	for i, size := range b.sizes[:n] {
		if size < 0 || size > len(b.bufs[i]) {
			return 0, errBadLink
		}
	}
	p.traffic.received.addSizes(b.sizes[:n])
	return n, err
}

// errBadLink is what a link gets for breaking its contract: it may be a stranger's.
var errBadLink = errors.New("mlvpn: the link returned a number of datagrams, or a size, that cannot be: run linktest on it")

func (p *port) mtu() int {
	if p.link != nil {
		return p.link.MTU()
	}
	return p.sock.MTU()
}

func (p *port) close() {
	if p.link != nil {
		p.link.Close()
	} else {
		p.sock.Close()
	}
}

// A portBatch holds datagrams on their way from a port to the receiver, which hands
// it back through free.
type portBatch struct {
	port  *port
	bufs  [][]byte
	sizes []int
	from  []link.Addr
	n     int
	free  chan<- *portBatch
}

// portBatchSize is how many datagrams one read of a port can yield.
const portBatchSize = 64

func (e *engine) newPortBatch(p *port, free chan<- *portBatch) *portBatch {
	return &portBatch{
		port:  p,
		bufs:  newBuffers(portBatchSize, e.bufs),
		sizes: make([]int, portBatchSize),
		from:  make([]link.Addr, portBatchSize),
		free:  free,
	}
}

// addPort starts a port's reader, now or when Run begins.
func (e *engine) addPort(p *port) error {
	l := &e.life
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.started && l.ctx.Err() != nil {
		p.close()
		return ErrClosed
	}
	p.serial = e.ports.Add(1)
	l.ports[p] = struct{}{}
	if p.from == nil {
		l.carried[p.traffic] = p.cfg.Name
	}
	if l.started {
		e.startPort(p)
	}
	return nil
}

// startPort starts the reader of a port. life.mu is held.
func (e *engine) startPort(p *port) {
	p.gone = make(chan struct{})
	e.life.readers.Go(func() { e.readPort(p) })
}

// removePort closes a port, and forgets what it has carried.
func (e *engine) removePort(p *port) {
	e.closePort(p)
	if p.from == nil {
		e.life.mu.Lock()
		delete(e.life.carried, p.traffic)
		e.life.mu.Unlock()
	}
}

// closePort closes a port, which ends its reader.
func (e *engine) closePort(p *port) {
	p.close()
	e.life.mu.Lock()
	gone := p.gone
	delete(e.life.ports, p)
	e.life.mu.Unlock()
	if gone != nil { // else addPort has not come to it yet, or Run has not begun
		<-gone
	}
}

// readPort is the reader goroutine of a port.
func (e *engine) readPort(p *port) {
	defer close(p.gone)
	free := make(chan *portBatch, 2)
	for range cap(free) {
		free <- e.newPortBatch(p, free)
	}
	failures := 0
	for {
		b := <-free
		n, err := p.receive(b)
		if n > 0 {
			failures = 0
			b.n = n
			select {
			case e.receiver.batches <- b:
			case <-e.receiver.done:
				return
			}
		} else {
			free <- b
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF):
			p.close()
			e.life.mu.Lock()
			delete(e.life.ports, p)
			e.life.mu.Unlock()
			e.sender.box.put(senderMsg{kind: msgPortGone, port: p, err: err})
			return
		}
		// A refused or unreachable peer shows as an error of its own per datagram; the
		// probes find out whether the link still works.
		failures++
		if failures == 1 {
			e.log.Debug("receiving failed", "link", p.cfg.Name, "err", err)
		}
		select {
		case <-time.After(min(time.Duration(failures)*time.Millisecond, readRetry)):
		case <-e.receiver.done:
			return
		}
	}
}
