package tcpmodel

import "time"

const (
	rackRecoveries = 16  // recoveries for which a wider window is kept (RFC 8985, section 6.2)
	rackMaxSteps   = 255 // of a quarter of the shortest round trip
)

// rack is the state of RACK (RFC 8985): a segment is lost when one that was sent enough
// later has been delivered.
type rack struct {
	sentAt   time.Duration // of the segment delivered that was sent last
	segment  uint64        // and its number
	rtt      time.Duration // and its round-trip time
	advanced bool          // since losses were last looked for

	seen       bool // reordering, at any time
	reordering int  // largest displacement seen, in segments

	// The reordering window is steps quarters of the shortest round trip. It grows by
	// one in each round trip in which a DSACK shows that a repair was unnecessary.
	steps         int
	persist       int // recoveries until it is small again
	duplicate     bool
	lastDelivered uint64
}

// advance takes a delivered segment.
func (k *rack) advance(s *Sender, n uint64, seg *txSegment) {
	rtt := s.now - seg.sentAt
	if seg.flags&everRetrans != 0 && rtt < s.rto.minimum {
		return // it answers the first copy, not the last
	}
	k.advanced = true
	k.rtt = rtt
	if seg.sentAt > k.sentAt || seg.sentAt == k.sentAt && n > k.segment {
		k.sentAt, k.segment = seg.sentAt, n
	}
}

// reordered takes that segment low was delivered after segment high.
func (k *rack) reordered(low, high uint64) {
	if low >= high {
		return
	}
	k.reordering = max(k.reordering, min(int(high-low), maxReordering))
	k.seen = true
}

const (
	// timerMin is what Linux adds to short timers (TCP_TIMEOUT_MIN_US).
	timerMin = 2 * time.Millisecond
	// tick is the resolution of its timers at 250 Hz, the usual configuration.
	tick = 4 * time.Millisecond
)

// onTick returns the next tick at or after t.
func onTick(t time.Duration) time.Duration { return (t + tick - 1) / tick * tick }

// adapt adjusts the reordering window to the DSACKs (RFC 8985, section 6.2, step 4).
func (k *rack) adapt(r *rateSampler) {
	c := &r.current
	if !c.valid || c.priorDelivered == 0 {
		return
	}
	if c.priorDelivered < k.lastDelivered {
		k.duplicate = false // once in a round trip
	}
	switch {
	case k.duplicate:
		k.steps = min(k.steps+1, rackMaxSteps)
		k.duplicate = false
		k.lastDelivered = r.delivered
		k.persist = rackRecoveries
	case k.persist == 0:
		k.steps = 1
	}
}

// reorderingWindow is how much later a segment must have been sent than one that is lost.
func (s *Sender) reorderingWindow() time.Duration {
	k := &s.rack
	if !k.seen && (s.state >= stateRecovery || s.board.sackedOut >= k.reordering) {
		return 0
	}
	return min(s.rto.minimum/4*time.Duration(k.steps), s.rto.srtt)
}

// findLost marks segments lost by RACK, and sets the timer for those that may be. It
// reports whether a retransmission was lost, and whether the timer is set.
func (s *Sender) findLost() (lostRetrans, armed bool) {
	if !s.rack.advanced || s.board.packetsOut() == 0 {
		return false, false
	}
	s.rack.advanced = false
	before := s.board.retransOut
	wait := s.detectLoss()
	if wait > 0 {
		s.timer, s.timerAt = timerReorder, onTick(s.now+wait+timerMin)
	}
	return s.board.retransOut < before, wait > 0
}

// detectLoss is RFC 8985's RACK_detect_loss. It returns after how long to look again; 0 is
// never.
func (s *Sender) detectLoss() (wait time.Duration) {
	b, k := &s.board, &s.rack
	window := s.reorderingWindow()
	for n := b.head; n != none; {
		seg := b.at(n)
		next := seg.next
		if seg.sentAt > k.sentAt || seg.sentAt == k.sentAt && n >= k.segment {
			break // sent after the last one delivered, as is all that follows
		}
		if remaining := seg.sentAt + k.rtt + window - s.now; remaining <= 0 {
			b.markLost(n)
		} else {
			wait = max(wait, remaining)
		}
		n = next
	}
	return wait
}

// reorderTimeout is the end of the reordering window.
func (s *Sender) reorderTimeout() {
	before := s.board.inFlight()
	s.detectLoss()
	if s.board.inFlight() != before {
		if s.state != stateRecovery {
			s.enterRecovery()
			if _, ok := s.control.(windowControl); ok {
				s.reduce(1, 0, false)
			}
		}
	}
	if s.timer == timerReorder {
		s.armRTO()
	}
}

// scheduleProbe sets the timer for a tail loss probe (RFC 8985, section 7.2), and reports
// whether it did. advancing says that something was acknowledged just now.
func (s *Sender) scheduleProbe(advancing bool) bool {
	out := s.board.packetsOut()
	if out == 0 || s.probeEnd != 0 || s.state != stateOpen && s.state != stateCWR || s.rto.srtt == 0 {
		return false
	}
	if s.timer == timerReorder && !advancing {
		return false
	}
	wait := 2 * s.rto.srtt
	if out == 1 {
		wait += minRTO // the acknowledgement may be delayed
	} else {
		wait += timerMin
	}
	limit := s.rto.timeout()
	if !advancing {
		limit += s.board.at(s.board.una).sentAt - s.now
	}
	if limit > 0 {
		wait = min(wait, limit)
	}
	s.timer, s.timerAt = timerProbe, s.now+wait
	return true
}

// probe sends new data or, if there is none, the last segment again.
func (s *Sender) probe(emit func(*Segment)) {
	b := &s.board
	if b.packetsOut() == 0 {
		s.timer = timerOff
		return
	}
	s.stats.Probes++
	s.probeResent = !s.mayBeNew()
	if s.probeResent {
		n := b.nxt - 1
		if b.at(n).flags&(lost|retrans|sacked) != 0 {
			s.armRTO()
			return
		}
		s.probeEnd = b.nxt
		s.retransmit(n, emit)
	} else {
		s.probeEnd = b.nxt + 1
		s.transmitNew(emit)
	}
	s.armRTO()
}

// endProbe ends the episode of a tail loss probe (RFC 8985, section 7.4).
func (s *Sender) endProbe(una uint64, duplicate bool) {
	if una < s.probeEnd {
		return
	}
	switch {
	case !s.probeResent || duplicate:
		s.probeEnd = 0
	case una > s.probeEnd:
		// The probe repaired a loss: reduce the window for it.
		s.probeEnd = 0
		s.beginReduction()
		s.setState(stateCWR)
		s.endReduction()
		s.keepOpen()
	default:
		s.probeEnd = 0
	}
}
