package mlvpn

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/feedback"
	"github.com/multilink-vpn/multilink/internal/metric"
	"github.com/multilink-vpn/multilink/internal/pacing"
	"github.com/multilink-vpn/multilink/internal/path"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/reorder"
	"github.com/multilink-vpn/multilink/scheduler"
)

// flowBuckets is the number of order domains of a session (SPEC.md, section 4.1).
const flowBuckets = 256

// An epoch is what one handshake has established between two ends: one path per link,
// numbering and order. Its keys are replaced from time to time; a new handshake outside
// of the session replaces it as a whole.
type epoch struct {
	session *Session
	expires time.Time
	init    *initRecord // on a server: of the INIT that it answers

	tx epochSender
	rx epochReceiver
}

func (ep *epoch) slot() *timerSlot { return &ep.rx.timerSlot }

// epochSender is owned by the sender.
type epochSender struct {
	keys     *keys          // what we send under
	offered  *keys          // on a server: agreed on, but the client has not used them yet
	replaced []replacedKeys // oldest first: what is under way is still received
	rekey    rekeying

	overhead int // of a packet, beyond the transport's headers, in bytes

	sched  scheduler.Scheduler
	paths  []*pathState     // by link; nil where there is none yet
	active []*pathState     // those that have a scheduler's view
	views  []scheduler.Path // of active, same order
	slots  int              // of paths, how many a client has given to links
	stamp  uint32
	orders [flowBuckets]uint16
	up     int // number of active paths that are usable
	seed   uint64

	clock   delayClock // of the delays that the peer reports
	even    evening
	repairs fifo
	debt    debt
	count   repairCounters
}

// epochReceiver is owned by the receiver.
type epochReceiver struct {
	timerSlot

	paths    []*pathState // by link; nil where there is none yet
	buffer   *reorder.Buffer[heldPacket]
	oneOrder bool // all packets are in one order, whatever their flow
	seed     uint64
	clock    delayClock
	last     time.Time     // when a packet last came
	busy     time.Duration // how long packets have come, pauses left out
	swept    time.Duration // busy when paths that bring nothing were last looked for

	reporting reporting
	seen      stamps
}

// A heldPacket is an inner packet at buf[start:end], in a buffer of the receiver's
// pool.
type heldPacket struct {
	buf        []byte
	start, end int
}

// A pathState is a path, within one epoch: one link of ours to one address of the
// peer.
type pathState struct {
	epoch *epoch
	link  int // position in the handshake's list

	tx pathSender
	rx pathReceiver
}

// pathSender is owned by the sender.
type pathSender struct {
	port     *port
	addr     link.Addr
	cfg      LinkConfig // with what the peer has told
	lane     *lane      // nil until the path is used
	seal     sealer
	view     int     // index in epochSender.views
	monitor  monitor // nil while the path is not in use
	probes   probes
	rtt      metric.RTT
	loss     metric.Loss
	pacer    pacing.Pacer
	rate     metric.Rate
	out      outbox
	marked   bool // in sender.dirty
	standing standing
	peer     peerSide
	move     movement
	count    sendCounters
}

// standing is how good a path is thought to be.
type standing struct {
	told linkReport // what was last reported
	poor bool       // loss or latency is above what is tolerated
	why  string     // in words
}

// peerSide is what is known of a path's other end.
type peerSide struct {
	knows   bool   // it has our PathInfo
	name    string // what it calls the link
	weight  uint64 // the rate that it wants to receive on it, in bytes per second
	tier    uint8  // what it says of the link's cost
	worn    bool   // its key has protected as many packets as it should
	removed bool   // it, or this end, has removed the link: the path is not used again
}

// pathReceiver is owned by the receiver.
type pathReceiver struct {
	open    opener
	port    *port
	addr    link.Addr
	busy    time.Time     // control messages have come up to this time, at maxControlRate
	active  bool          // the reorder buffer waits for the path
	known   bool          // it was told of the path since that was last down
	brought time.Duration // epochReceiver.busy when the path last brought a packet, or became known
	last    time.Time     // when a datagram last came

	recorder feedback.Recorder
	rate     metric.Rate
	count    receiveCounters
}

// An outbox holds sealed datagrams of one path until they are flushed together.
type outbox struct {
	slab  []byte // of the sender's pool, nil when there is nothing to send
	pkts  [][]byte
	sent  int       // of pkts, how many the link has taken
	since time.Time // when the next of pkts was refused, zero if it was not
}

func (o *outbox) waiting() [][]byte { return o.pkts[o.sent:] }

// probes remembers the probes that may still be answered.
type probes struct {
	sent [16]probe
	next int
}

type probe struct {
	echo   uint64
	number uint64 // of the datagram that carries it
	at     time.Time
}

func (p *probes) add(echo, number uint64, at time.Time) {
	p.sent[p.next%len(p.sent)] = probe{echo, number, at}
	p.next++
}

// answered returns the probe with this echo. Each is found once.
func (p *probes) answered(echo uint64) (found probe, ok bool) {
	for i := range p.sent {
		if s := &p.sent[i]; s.echo == echo && !s.at.IsZero() {
			found = *s
			*s = probe{}
			return found, true
		}
	}
	return probe{}, false
}

const (
	minRTO = 50 * time.Millisecond
	maxRTO = 3 * time.Second
)

func (p *pathState) rto() time.Duration { return p.tx.rtt.RTO(minRTO, maxRTO) }

// usable reports whether data may be sent on the path.
func (p *pathState) usable() bool {
	s := p.tx.monitor.State()
	return s == path.Up || s == path.Suspect
}

// updateView brings the scheduler's view up to date with the path.
func (p *pathState) updateView() {
	t := &p.tx
	v := &p.epoch.tx.views[t.view]
	v.Usable = p.usable()
	v.Degraded = t.standing.poor || t.monitor.State() == path.Suspect
	v.RTT, v.RTTVar = t.rtt.Smoothed(), t.rtt.Var()
	v.Loss = t.loss.Ratio()
	v.MTU = t.port.mtu()
	v.Weight = t.cfg.Bandwidth
	v.Rate = t.lane.rate.Capacity()
	if t.lane.delay.Known() {
		v.Delay = p.epoch.tx.relative(t.lane.delay.Smoothed())
	}
	v.Tier = t.cfg.tier() &^ tierOverflow
	v.Overflow = t.cfg.Overflow
}

// relative turns a one-way delay, whose offset is the peer's clock, into one that is
// positive and of the right order: the quickest path is taken to need half of the
// quickest round trip.
func (t *epochSender) relative(delay time.Duration) time.Duration {
	low, rtt := delay, time.Duration(0)
	for _, p := range t.active {
		l := p.tx.lane
		if l.delay.Known() {
			low = min(low, l.delay.Smoothed())
		}
		if r := p.tx.rtt.Smoothed(); r > 0 && (rtt == 0 || r < rtt) {
			rtt = r
		}
	}
	return delay - low + max(rtt/2, time.Microsecond)
}
