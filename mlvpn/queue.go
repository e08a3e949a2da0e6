package mlvpn

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/flow"
	"github.com/multilink-vpn/multilink/internal/fq"
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
	equal   bool   // the receiver may even out the delays of its flow
	copies  uint8  // wanted besides
	only    string // the link that a rule keeps the packet to

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
		p.ordered, p.equal = info.Ordered(), info.Steady()
		if info.Interactive() {
			p.class = scheduler.Interactive
		}
	}
	emit(p)
}

const (
	// queuePackets bounds the packets of a session that wait.
	queuePackets = 4096
	// queueTarget and queueInterval are CoDel's at least (RFC 8289). One flow of CUBIC fills
	// its lines only if it can queue for nearly half of a round trip, and the flows next to
	// it do not notice.
	queueTarget   = 80 * time.Millisecond
	queueInterval = 200 * time.Millisecond
)

// newQueue returns the queue of a session that is about to send its first packet: packets
// wait by flow, interactive ones first, and flows that wait too long lose packets. A
// packet whose order matters never overtakes one of its own flow.
func (s *sender) newQueue(ses *Session) *fq.Queue[packet] {
	return fq.New(fq.Config[packet]{
		Packets:  queuePackets,
		Target:   queueTarget,
		Interval: queueInterval,
		Drop: func(p packet, why fq.Reason) {
			s.bufs.put(p.buf)
			switch why {
			case fq.CoDel:
				ses.tx.count.delayed++
			case fq.Overflow:
				ses.tx.count.queueFull++
			default:
				ses.tx.count.noLink++
			}
		},
		Mark: func(p *packet) bool {
			if !flow.MarkCE(p.payload(), s.e.cfg.Ethernet) {
				return false
			}
			p.info.ECN = flow.CE
			ses.tx.count.marked++
			return true
		},
	})
}

// push queues a packet.
func (t *sessionSender) push(now time.Time, p packet) {
	hash := p.flowHash(p.seed)
	if p.ordered && t.queue.Queued(hash, int(scheduler.Bulk)) > 0 {
		p.class = scheduler.Bulk
	}
	t.queue.Push(now, hash, int(p.class), p.size(), p)
}

// queued returns the number of packets that wait.
func (t *sessionSender) queued() int {
	if t.queue == nil {
		return 0
	}
	return t.queue.Len()
}
