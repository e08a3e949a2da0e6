package tcpmodel

import (
	"math"
	"time"
)

const (
	// never is the deadline of something that has none.
	never = time.Duration(math.MaxInt64)

	delayedAck      = 40 * time.Millisecond // TCP_DELACK_MIN
	maxQuickAcks    = 16                    // TCP_MAX_QUICKACKS
	compressedAcks  = 44                    // net.ipv4.tcp_comp_sack_nr
	compressedDelay = time.Millisecond      // net.ipv4.tcp_comp_sack_delay_ns
	dupThreshold    = 3                     // TCP_FASTRETRANS_THRESH
	initialWindow   = 65535
	pawsSlack       = 1 // milliseconds: TCP_PAWS_WINDOW
)

// ReceiverConfig configures a Receiver. The zero value is usable.
type ReceiverConfig struct {
	// MSS is the largest payload in bytes that the receiver announces, timestamps
	// included in the option as RFC 6691 says. 0 is 1448.
	MSS int

	// MaxWindow is what the receive window may grow to, in bytes. 0 is 3 MiB, which is
	// what Linux makes of its default net.ipv4.tcp_rmem.
	MaxWindow int

	// Coalesce makes the receiver see segments as receive offload gives them to it: it
	// acknowledges when that many full segments arrived or the flow pauses, instead of
	// every second one. 0 is off.
	Coalesce int
}

// A Receiver is the end of a connection that gets the data. It reads at once whatever
// is in order.
type Receiver struct {
	mss       int
	maxWindow int
	coalesce  int

	established bool
	next        uint64 // in sequence space: the SYN is 0, the first byte 1
	acked       uint64 // up to where the last acknowledgement went
	edge        uint64 // right edge of the window announced, which never moves left
	pending     spans  // received beyond next
	recent      [maxBlocks]span
	duplicate   span // for a DSACK in the next acknowledgement
	tsRecent    uint32

	// When to acknowledge.
	immediate int           // acknowledgements due now
	quick     int           // acknowledgements left that are not delayed
	delayed   time.Duration // deadline of a delayed acknowledgement
	compress  time.Duration // deadline of a compressed one
	held      int           // out-of-order segments since the last acknowledgement
	dups      int           // acknowledgements for the same gap

	window rightSizing
	out    Segment // the one that emit borrows
	stats  ReceiverStats
}

// ReceiverStats counts what a Receiver saw.
type ReceiverStats struct {
	Bytes      uint64 // payload delivered in order
	Segments   uint64 // with payload
	OutOfOrder uint64 // segments that did not begin where the receiver waited
	Duplicates uint64 // segments of which nothing was new
	Old        uint64 // segments dropped for their timestamp
	Acks       uint64 // sent
}

// NewReceiver returns the receiving end of a new connection.
func NewReceiver(c ReceiverConfig) *Receiver {
	r := &Receiver{
		mss:       orDefault(c.MSS, defaultMSS),
		maxWindow: orDefault(c.MaxWindow, 3<<20),
		coalesce:  c.Coalesce,
		quick:     maxQuickAcks,
		delayed:   never,
		compress:  never,
	}
	r.window = rightSizing{size: min(initialWindow, r.maxWindow), space: initialCwnd * r.mss}
	return r
}

func orDefault(v, standard int) int {
	if v == 0 {
		return standard
	}
	return v
}

// Stats returns the counters.
func (r *Receiver) Stats() ReceiverStats { return r.stats }

// Next returns when Poll must be called, or the largest Duration if only Input can change
// anything.
func (r *Receiver) Next() time.Duration {
	if r.immediate > 0 {
		return 0
	}
	return min(r.delayed, r.compress)
}

// Input takes a segment from the sender.
func (r *Receiver) Input(now time.Duration, s *Segment) {
	if s.Flags&FlagSYN != 0 {
		if !r.established {
			r.established, r.next = true, 1
			r.mss = min(r.mss, s.MSS-timesSize)
		}
		r.tsRecent = s.TSVal
		r.immediate++
		return
	}
	if !r.established || s.Len == 0 {
		return
	}
	r.stats.Segments++
	r.window.measure(time.Duration(int32(stamp(now)-s.TSEcr)) * time.Millisecond)
	left := unwrap(r.next, s.Seq)
	right := left + uint64(s.Len)
	if int32(r.tsRecent-s.TSVal) > pawsSlack {
		r.takeOld(left, right)
		return
	}
	if left <= r.acked && right >= r.acked && int32(s.TSVal-r.tsRecent) >= 0 {
		// RFC 7323, section 4.3. Linux drops a segment that lies before the window, such
		// as a needless retransmission, before it looks at this.
		r.tsRecent = s.TSVal
	}
	switch {
	case right <= r.next || r.pending.contains(left, right):
		r.takeDuplicate(left, right)
	case left <= r.next:
		r.takeInOrder(now, right)
	default:
		r.takeOutOfOrder(now, left, right)
	}
}

// takeOld drops a segment with a timestamp older than that of another which was in order,
// even if it is new data (PAWS; RFC 7323, section 5.3). So it ends when a retransmission
// overtakes the originals of several holes.
func (r *Receiver) takeOld(left, right uint64) {
	r.stats.Old++
	if left < r.next {
		r.duplicate = span{left, right}
		r.quick = maxQuickAcks
	}
	r.immediate++
}

func (r *Receiver) takeDuplicate(left, right uint64) {
	r.stats.Duplicates++
	r.duplicate = span{left, right}
	r.quick = maxQuickAcks
	r.immediate++
}

func (r *Receiver) takeInOrder(now time.Duration, right uint64) {
	from := r.next
	r.next = right
	filled := len(r.pending) > 0
	if filled && r.pending[0].l <= right {
		r.next = max(right, r.pending[0].r)
	}
	r.pending.trim(r.next)
	r.stats.Bytes += r.next - from
	r.window.deliver(now, int(r.next-from), r.mss, r.maxWindow)

	switch {
	case filled:
		// RFC 5681, section 4.2: at once when a segment fills a gap. While others are
		// left, Linux treats it like one out of order.
		if len(r.pending) == 0 {
			r.immediate++
		} else {
			r.acknowledgeGap(now)
		}
	case r.quick > 0 && r.coalesce == 0, r.next-r.acked > uint64(max(1, r.coalesce-1)*r.mss):
		r.immediate = max(r.immediate, 1)
	case r.coalesce > 0:
		// The poll that gathers segments ends when the line is quiet.
		r.delayed = now + 200*time.Microsecond
	case r.delayed == never:
		r.delayed = now + delayedAck
	}
}

func (r *Receiver) takeOutOfOrder(now time.Duration, left, right uint64) {
	r.stats.OutOfOrder++
	held := r.pending.add(left, right, nil)
	r.remember(held)
	r.acknowledgeGap(now)
}

// acknowledgeGap acknowledges a segment that arrived while data is missing: the first
// few at once, so that a sender which counts duplicates sees them, the others together
// (Linux's tcp_comp_sack).
func (r *Receiver) acknowledgeGap(now time.Duration) {
	if r.dups < dupThreshold || r.next != r.acked {
		if r.next != r.acked {
			r.dups = 0
		}
		r.dups++
		r.immediate++
		return
	}
	r.held++
	switch {
	case r.held >= compressedAcks:
		r.immediate++
	case r.compress == never:
		r.compress = now + min(compressedDelay, r.window.rtt/20)
	}
}

// remember puts a span at the head of those that SACK options report: the most recent
// comes first (RFC 2018, section 4).
func (r *Receiver) remember(s span) {
	kept := [maxBlocks]span{s}
	n := 1
	for _, old := range r.recent {
		if n < maxBlocks && old.r > 0 && (old.r < s.l || old.l > s.r) {
			kept[n] = old
			n++
		}
	}
	r.recent = kept
}

// Poll sends the acknowledgements that are due. emit borrows the segment.
func (r *Receiver) Poll(now time.Duration, emit func(*Segment)) {
	if now >= r.delayed || now >= r.compress {
		r.immediate = max(r.immediate, 1)
	}
	for ; r.immediate > 0; r.immediate-- {
		r.out = r.acknowledgement(now)
		emit(&r.out)
	}
}

func (r *Receiver) acknowledgement(now time.Duration) Segment {
	r.stats.Acks++
	r.acked = r.next
	r.delayed, r.compress, r.held = never, never, 0
	r.quick = max(0, r.quick-1)
	s := Segment{Flags: FlagACK, Ack: uint32(r.next), Seq: 1, TSVal: stamp(now), TSEcr: r.tsRecent}
	if r.next == 1 && r.stats.Segments == 0 {
		s.Flags |= FlagSYN
		s.Seq = 0
		s.MSS = r.mss + timesSize
	}
	r.edge = max(r.edge, r.next+uint64(r.window.size))
	s.Window = int(r.edge - r.next)
	r.report(&s)
	return s
}

// report adds the SACK blocks: a duplicate first (RFC 2883, section 4), then the most
// recent.
func (r *Receiver) report(s *Segment) {
	add := func(b span) {
		if int(s.NumBlocks) < maxBlocks {
			s.Blocks[s.NumBlocks] = Block{uint32(b.l), uint32(b.r)}
			s.NumBlocks++
		}
	}
	if r.duplicate.r > 0 {
		add(r.duplicate)
		r.duplicate = span{}
	}
	for i, b := range r.recent {
		switch {
		case b.r > r.next:
			add(b)
		default:
			r.recent[i] = span{}
		}
	}
}

// stamp is now on the clock of the timestamps option: milliseconds, as Linux's, and
// never 0, which would be "none".
func stamp(now time.Duration) uint32 {
	return uint32(now/time.Millisecond) + 1
}

// rightSizing grows the receive window ahead of what the application reads in a round
// trip (Linux's tcp_rcv_space_adjust; Fisk and Feng, "Dynamic right-sizing", 2001).
type rightSizing struct {
	size   int // bytes
	space  int // bytes read in the best round trip so far
	copied int // bytes read in this one
	since  time.Duration
	rtt    time.Duration // smoothed age of the timestamps echoed
	begun  bool
}

// measure takes the age of a timestamp that the sender echoed.
func (w *rightSizing) measure(age time.Duration) {
	age = max(age, time.Millisecond)
	if w.rtt == 0 {
		w.rtt = age
	}
	w.rtt += (age - w.rtt) / 8
}

func (w *rightSizing) deliver(now time.Duration, n, mss, most int) {
	w.copied += n
	if !w.begun {
		w.begun, w.since = true, now
		return
	}
	if w.rtt == 0 || now-w.since < w.rtt {
		return
	}
	if w.copied > w.space {
		// Twice what was read, and more while it grows, because the sender's next
		// window is larger again.
		grow := 2*w.copied + 16*mss
		grow += 2 * int(float64(grow)*float64(w.copied-w.space)/float64(w.space))
		w.size = max(w.size, min(grow, most))
		w.space = w.copied
	}
	w.copied, w.since = 0, now
}
