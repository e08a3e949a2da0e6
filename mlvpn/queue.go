package mlvpn

import (
	"github.com/multilink-vpn/multilink/internal/flow"
	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/tun"
)

// A packet is an inner packet that waits to be sent: tun.Headroom bytes and the
// packet itself, in a buffer of the sender's pool.
type packet struct {
	buf     []byte
	info    flow.Info
	class   scheduler.Class
	ordered bool
	copies  uint8 // wanted besides
	bucket  int   // of the queue

	seed   uint64 // of the hash
	hash   uint32 // of the flow, see flowHash
	hashed bool
}

// flowHash returns the hash of the packet's flow, and computes it only when it is asked
// for with another seed than before: when another epoch has begun.
func (p *packet) flowHash(seed uint64) uint32 {
	if !p.hashed || p.seed != seed {
		p.hash, p.seed, p.hashed = p.info.Hash(seed), seed, true
	}
	return p.hash
}

// size returns the length of the packet in bytes.
func (p *packet) size() int { return len(p.buf) - tun.Headroom }

// payload returns the packet itself.
func (p *packet) payload() []byte { return p.buf[tun.Headroom:] }

// A classifier sees every packet from the device before it is queued. It is the seam at
// which another lane can be put in.
type classifier interface {
	// classify fills in what p needs and emits it: emit queues a packet for the session
	// that it is for. Not to emit p is to take it, and other packets may be emitted in its
	// place or besides. Whoever has a packet has its buffer: classify takes that of p
	// over, and emit what it is given. p itself is valid until classify returns.
	classify(p *packet, emit func(*packet))
}

// flowClassifier reads the packet's headers.
type flowClassifier struct {
	ethernet bool
}

func (c flowClassifier) classify(p *packet, emit func(*packet)) {
	info, ok := flow.Parse(p.payload(), c.ethernet)
	p.info = info
	p.class = scheduler.Bulk
	p.ordered = false
	if ok {
		p.ordered = info.Ordered()
		if info.Interactive() {
			p.class = scheduler.Interactive
		}
	}
	emit(p)
}

// queueLimit bounds the packets that wait in each class of a session's queue. What
// comes on top is dropped, which is how inner congestion controls learn of the limit.
const queueLimit = 512

// A queue holds the packets of a session that wait for a path, interactive ones
// first. A packet never overtakes one of its own flow whose order matters.
type queue struct {
	classes [scheduler.NumClasses]ring
	waiting [flowBuckets]uint16 // bulk packets of each flow bucket
}

// A ring is a FIFO of packets that grows up to queueLimit.
type ring struct {
	packets []packet
	head, n int
}

func (r *ring) push(p packet) bool {
	if r.n == len(r.packets) {
		if r.n == queueLimit {
			return false
		}
		grown := make([]packet, min(max(2*r.n, 16), queueLimit))
		for i := range r.n {
			grown[i] = *r.at(i)
		}
		r.packets, r.head = grown, 0
	}
	*r.at(r.n) = p
	r.n++
	return true
}

func (r *ring) at(i int) *packet { return &r.packets[(r.head+i)%len(r.packets)] }

func (r *ring) pop() packet {
	p := *r.at(0)
	*r.at(0) = packet{}
	r.head = (r.head + 1) % len(r.packets)
	r.n--
	return p
}

// push appends p and reports false if the queue is full.
func (q *queue) push(p packet) bool {
	p.bucket = flow.Bucket(p.flowHash(p.seed), flowBuckets)
	if p.ordered && q.waiting[p.bucket] > 0 {
		p.class = scheduler.Bulk
	}
	if !q.classes[p.class].push(p) {
		return false
	}
	if p.class == scheduler.Bulk {
		q.waiting[p.bucket]++
	}
	return true
}

// head returns the packet to send next, or nil.
func (q *queue) head() *packet {
	for _, c := range [...]scheduler.Class{scheduler.Interactive, scheduler.Bulk} {
		if r := &q.classes[c]; r.n > 0 {
			return r.at(0)
		}
	}
	return nil
}

// pop removes what head returned.
func (q *queue) pop() packet {
	p := q.classes[q.head().class].pop()
	if p.class == scheduler.Bulk {
		q.waiting[p.bucket]--
	}
	return p
}

// len returns the number of packets that wait.
func (q *queue) len() (n int) {
	for i := range q.classes {
		n += q.classes[i].n
	}
	return n
}
