package linksim

import (
	"net"
	"sync"

	"github.com/multilink-vpn/multilink/link"
)

// inbox is the receive queue of a link or socket.
type inbox struct {
	pool *pool

	mu      sync.Mutex
	arrived sync.Cond
	ring    []*datagram // its length is a power of two, or 0
	head, n int
	cost    int
	closed  bool
}

func newInbox(p *pool) *inbox {
	q := &inbox{pool: p}
	q.arrived.L = &q.mu
	return q
}

// put takes d, and says false if there is no room for it. The caller holds mu, and
// signals arrived.
func (q *inbox) put(d *datagram) bool {
	if q.cost+d.cost() > queueLimit {
		return false
	}
	if q.n == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = d
	q.n++
	q.cost += d.cost()
	return true
}

func (q *inbox) grow() {
	ring := make([]*datagram, max(64, 2*len(q.ring)))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.ring, q.head = ring, 0
}

// take removes and returns the first datagram. There must be one.
func (q *inbox) take() *datagram {
	d := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	q.cost -= d.cost()
	return d
}

// receive waits for datagrams, as link.Link.Receive does. from is nil, or as long as
// bufs.
func (q *inbox) receive(bufs [][]byte, sizes []int, from []link.Addr) (n int, err error) {
	sizes = sizes[:len(bufs)]
	if from != nil {
		from = from[:len(bufs)]
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.closed {
			return 0, net.ErrClosed
		}
		for q.n > 0 && n < len(bufs) {
			d := q.take()
			if len(d.data) <= len(bufs[n]) {
				sizes[n] = copy(bufs[n], d.data)
				if from != nil {
					from[n] = d.from
				}
				n++
			}
			q.pool.put(d)
		}
		if n > 0 || len(bufs) == 0 {
			return n, nil
		}
		q.arrived.Wait()
	}
}

func (q *inbox) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ring, q.head, q.n, q.cost = nil, 0, 0, 0
	q.arrived.Broadcast()
}
