package tcpmodel

import "time"

// ackResult gathers what one acknowledgement did.
type ackResult struct {
	advanced     bool // una moved
	priorUna     uint64
	dataAcked    bool // something was cumulatively acknowledged that was not retransmitted, or at all
	retransAcked bool // a retransmitted segment was cumulatively acknowledged
	dataSacked   bool // something new was selectively acknowledged
	origAcked    bool // a segment sent before the timeout, and once, was acknowledged in either way
	duplicate    bool // a DSACK
	lostRetrans  bool // a retransmission was found lost
	setTimer     bool
	lowest       uint64        // lowest segment, never retransmitted, that was acknowledged late; none
	firstAcked   time.Duration // when the first and last segments cumulatively acknowledged
	lastAcked    time.Duration // without retransmission were sent; negative if there are none
	firstSacked  time.Duration // the same for those selectively acknowledged
	lastSacked   time.Duration
	echo         uint32
	priorHighest uint64
}

// acknowledge processes an acknowledgement in the order of Linux's tcp_ack.
func (s *Sender) acknowledge(seg *Segment) {
	b := &s.board
	ack := unwrap(1+b.una*uint64(s.mss), seg.Ack)
	una := (ack - 1) / uint64(s.mss)
	if una > b.nxt || s.overtaken(ack, seg) {
		return // acknowledges what was never sent, or is too old to be trusted
	}
	if int32(seg.TSVal-s.tsEcho) >= 0 {
		s.tsEcho = seg.TSVal
	}
	s.lastEcho = seg.TSEcr
	r := ackResult{priorUna: b.una, lowest: none, firstAcked: -1, lastAcked: -1, firstSacked: -1, lastSacked: -1, echo: seg.TSEcr, priorHighest: b.highest()}
	delivered, lostBefore := s.rate.delivered, b.lostTotal
	s.rate.current = rateSample{priorInFlight: b.inFlight(), rtt: -1}
	s.rate.segmentSent, s.rate.segment = -1, 0
	wasFlight := b.packetsOut() > 0

	if una < b.una {
		// Overtaken by a later acknowledgement: only its SACK blocks can be news, and
		// Linux takes no sample from it.
		if seg.NumBlocks > 0 {
			s.takeBlocks(seg, ack, &r)
			s.alert(&r)
		}
		return
	}
	if una > b.una || seg.Window > s.windowSize {
		s.windowSize = seg.Window
	}
	s.window = max(s.window, ack+uint64(seg.Window))
	r.advanced = una > b.una
	if r.advanced {
		s.timeouts = 0
	}
	s.takeBlocks(seg, ack, &r)
	s.advance(una, &r)
	if !wasFlight {
		if r.duplicate {
			s.alert(&r)
		}
		return
	}
	s.updateRTT(&r)
	if r.lowest < r.priorHighest {
		s.rack.reordered(r.lowest, r.priorHighest)
	}
	s.rack.adapt(&s.rate)
	if s.probeEnd != 0 {
		s.endProbe(una, r.duplicate)
	}
	if r.dataSacked || r.duplicate || s.state != stateOpen || !r.dataAcked && !r.retransAcked {
		s.alert(&r)
	}
	if r.setTimer && !s.scheduleProbe(true) {
		s.armRTO()
	}
	acked := int(s.rate.delivered - delivered)
	sample := s.rate.finish(s.now, acked, int(b.lostTotal-lostBefore), s.rto.minimum)
	sample.ackDelayed = r.advanced && acked == 1 && wasFlight && sample.priorInFlight == 1
	s.adjustWindow(&r, sample)
	if b.packetsOut() == 0 && b.una >= s.limit && s.finished == never {
		s.finished = s.now
		s.timer = timerOff
	}
}

// overtaken reports whether Linux drops an acknowledgement because its timestamp is older
// than another's (PAWS; RFC 7323, section 5): all but a plain duplicate, not much older.
func (s *Sender) overtaken(ack uint64, seg *Segment) bool {
	age := int32(s.tsEcho - seg.TSVal)
	if age <= pawsSlack {
		return false
	}
	duplicate := (ack-1)/uint64(s.mss) == s.board.una && seg.Window <= s.windowSize
	return !duplicate || time.Duration(age)*time.Millisecond > s.rto.timeout()*6/5
}

// takeBlocks processes the SACK blocks.
func (s *Sender) takeBlocks(seg *Segment, ack uint64, r *ackResult) {
	blocks := seg.Blocks[:seg.NumBlocks]
	var list [maxBlocks]span
	n := 0
	for i, blk := range blocks {
		sp := span{unwrap(ack, blk.Left), unwrap(ack, blk.Right)}
		if sp.l >= sp.r {
			continue
		}
		if i == 0 && s.isDuplicate(sp, ack, blocks) {
			s.takeDuplicate(sp, r)
			continue
		}
		// In segments; ascending, because the order of discovery matters below.
		sp = span{(sp.l - 1 + uint64(s.mss) - 1) / uint64(s.mss), (sp.r - 1) / uint64(s.mss)}
		sp.l, sp.r = max(sp.l, s.board.una), min(sp.r, s.board.nxt)
		if sp.l >= sp.r {
			continue
		}
		j := n
		for ; j > 0 && list[j-1].l > sp.l; j-- {
			list[j] = list[j-1]
		}
		list[j] = sp
		n++
	}
	for _, sp := range list[:n] {
		s.board.sackedSpans.add(sp.l, sp.r, func(l, rr uint64) {
			for i := l; i < rr; i++ {
				s.takeSelective(i, r)
			}
		})
	}
}

// isDuplicate says whether the first block reports a duplicate (RFC 2883, section 4).
func (s *Sender) isDuplicate(first span, ack uint64, blocks []Block) bool {
	if first.l < ack {
		return true
	}
	if len(blocks) < 2 {
		return false
	}
	second := span{unwrap(ack, blocks[1].Left), unwrap(ack, blocks[1].Right)}
	return second.l <= first.l && first.r <= second.r
}

func (s *Sender) takeDuplicate(sp span, r *ackResult) {
	r.duplicate = true
	count := int((sp.r - sp.l + uint64(s.mss) - 1) / uint64(s.mss))
	last := (sp.r - 1 + uint64(s.mss) - 1) / uint64(s.mss) // segment after it
	if !(s.probeEnd != 0 && s.probeResent && last == s.probeEnd) {
		s.rack.duplicate = true
	}
	if s.undo.active && s.undo.retrans > 0 && last > s.undo.marker {
		s.undo.retrans = max(0, s.undo.retrans-count)
	}
}

// takeSelective accounts for segment n, which is now selectively acknowledged.
func (s *Sender) takeSelective(n uint64, r *ackResult) {
	b := &s.board
	seg := b.at(n)
	ever := seg.flags&everRetrans != 0
	s.rack.advance(s, n, seg)
	switch {
	case seg.flags&retrans != 0:
		seg.flags &^= retrans
		b.retransOut--
	case !ever:
		if n < s.highestBefore(n) {
			r.lowest = min(r.lowest, n)
		}
		if n < s.highSeq {
			r.origAcked = true
		}
		if r.firstSacked < 0 {
			r.firstSacked = seg.sentAt
		}
		r.lastSacked = seg.sentAt
	}
	if seg.flags&lost != 0 {
		seg.flags &^= lost
		b.lostOut--
	}
	seg.flags |= sacked
	b.sackedOut++
	b.unlink(n)
	r.dataSacked = true
	s.rate.delivered++
	s.rate.take(n, seg)
}

// highestBefore is the highest segment that was selectively acknowledged before n is.
func (s *Sender) highestBefore(n uint64) uint64 {
	set := s.board.sackedSpans
	if len(set) == 0 {
		return 0
	}
	return max(set[len(set)-1].r, 1) - 1
}

// advance accounts for everything below una.
func (s *Sender) advance(una uint64, r *ackResult) {
	b := &s.board
	for n := b.una; n < una; n++ {
		seg := b.at(n)
		r.setTimer = true
		if seg.flags&everRetrans != 0 {
			r.retransAcked = true
			if seg.flags&retrans != 0 {
				b.retransOut--
			}
		} else {
			r.dataAcked = true
			if seg.flags&sacked == 0 {
				if r.firstAcked < 0 {
					r.firstAcked = seg.sentAt
				}
				r.lastAcked = seg.sentAt
				r.lowest = min(r.lowest, n)
				if n < s.highSeq {
					r.origAcked = true
				}
			}
		}
		if seg.flags&lost != 0 {
			b.lostOut--
		}
		if seg.flags&sacked != 0 {
			b.sackedOut--
		} else {
			s.rate.delivered++
			s.rack.advance(s, n, seg)
		}
		b.unlink(n)
		s.rate.take(n, seg)
	}
	b.una = una
	b.sackedSpans.trim(una)
}

// updateRTT takes the round-trip times that the acknowledgement shows. A segment that was
// sent twice shows none (Karn's algorithm), unless its timestamp does.
func (s *Sender) updateRTT(r *ackResult) {
	sample, shortest := time.Duration(-1), time.Duration(-1)
	if r.firstAcked >= 0 && !r.retransAcked {
		sample, shortest = s.now-r.firstAcked, s.now-r.lastAcked
	}
	if r.firstSacked >= 0 {
		shortest = s.now - r.lastSacked
		if sample < 0 {
			sample = s.now - r.firstSacked
		}
	}
	if sample < 0 && r.advanced && r.echo != 0 {
		sample = time.Duration(int32(stamp(s.now)-r.echo)) * time.Millisecond
		shortest = sample
	}
	s.rate.current.rtt = shortest
	if sample < 0 {
		return
	}
	s.rto.observe(shortest)
	s.rto.sample(sample, s.board.una, s.board.nxt)
	if c, ok := s.control.(windowControl); ok && r.advanced {
		c.measured(s, s.now, max(shortest, time.Microsecond))
	}
}

// adjustWindow lets the congestion control work (Linux's tcp_cong_control).
func (s *Sender) adjustWindow(r *ackResult, sample *rateSample) {
	switch c := s.control.(type) {
	case rateControl:
		c.acked(s, s.now, sample)
	case windowControl:
		switch {
		case s.state == stateCWR || s.state == stateRecovery:
			s.reduce(sample.acked, sample.losses, r.advanced)
		case r.dataAcked || r.retransAcked || s.rack.reordering > dupThreshold && r.dataSacked:
			// Where disorder is usual, selective acknowledgements count as progress.
			if sample.acked > 0 {
				c.grow(s, s.now, sample.acked)
			}
		}
	}
}
