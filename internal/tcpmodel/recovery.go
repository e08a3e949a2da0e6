package tcpmodel

// prr is the state of a reduction by proportional rate reduction (RFC 6937).
type prr struct {
	priorCwnd int
	delivered int // since the reduction began
	out       int // sent since
}

// undo is what is needed to take a reduction back.
type undo struct {
	active        bool
	marker        uint64 // una when the reduction began
	retrans       int    // retransmissions not yet shown unnecessary; negative if there was none
	stamp         uint32 // timestamp of the first retransmission; 0 is none
	priorSsthresh int    // 0 is none
}

func (s *Sender) setState(to caState) {
	if to != s.state {
		s.control.state(s, to)
		s.state = to
	}
}

// alert is Linux's tcp_fastretrans_alert: what an acknowledgement does that is not plain.
func (s *Sender) alert(r *ackResult) {
	if s.state == stateOpen {
		s.undo.stamp = 0
	} else if s.board.una >= s.highSeq {
		switch s.state {
		case stateCWR:
			if s.board.una != s.highSeq {
				s.endReduction()
				s.setState(stateOpen)
			}
		case stateRecovery:
			s.undoRecovery()
			s.endReduction()
			s.setState(stateOpen)
			s.rack.persist = max(0, s.rack.persist-1)
		}
	}
	switch s.state {
	case stateRecovery:
		if r.advanced && s.undoPartial(r) {
			s.sendNew = true
			return
		}
		if s.undoByDuplicates() {
			s.tryOpen()
		}
		s.findLostFor(r)
		if s.state != stateRecovery && s.board.lostOut > 0 {
			s.enterRecovery()
		}
	case stateLoss:
		s.processLoss(r)
		s.findLostFor(r)
		if s.state != stateOpen && !r.lostRetrans {
			return
		}
		s.suspect()
	default:
		if s.state <= stateDisorder {
			s.undoByDuplicates()
		}
		s.findLostFor(r)
		s.suspect()
	}
}

// suspect begins recovery if something is lost.
func (s *Sender) suspect() {
	if s.board.lostOut == 0 {
		s.tryOpen()
		return
	}
	s.enterRecovery()
}

func (s *Sender) findLostFor(r *ackResult) {
	lostRetrans, armed := s.findLost()
	r.lostRetrans = r.lostRetrans || lostRetrans
	if armed {
		r.setTimer = false
	}
}

func (s *Sender) tryOpen() {
	if !s.board.anyRetransmitted() {
		s.undo.stamp = 0
	}
	if s.state != stateCWR {
		s.keepOpen()
	}
}

func (s *Sender) keepOpen() {
	to := stateOpen
	if s.board.leftOut() > 0 || s.board.anyRetransmitted() {
		to = stateDisorder
	}
	if s.state != to {
		s.setState(to)
		s.highSeq = s.board.nxt
	}
}

func (s *Sender) enterRecovery() {
	s.stats.Recoveries++
	s.undo.priorSsthresh = 0
	s.beginUndo()
	if s.state != stateCWR && s.state != stateRecovery {
		s.undo.priorSsthresh = s.currentSsthresh()
		s.beginReduction()
	}
	s.setState(stateRecovery)
}

func (s *Sender) beginUndo() {
	s.undo.active = true
	s.undo.marker = s.board.una
	s.undo.retrans = s.board.retransOut
	if s.undo.retrans == 0 {
		s.undo.retrans = -1
	}
}

func (s *Sender) currentSsthresh() int {
	if s.state == stateCWR || s.state == stateRecovery {
		return s.ssthresh
	}
	return max(s.ssthresh, s.cwnd/2+s.cwnd/4)
}

func (s *Sender) beginReduction() {
	s.highSeq = s.board.nxt
	s.probeEnd = 0
	s.prr = prr{priorCwnd: s.cwnd}
	s.ssthresh = s.control.ssthresh(s)
}

// reduce is proportional rate reduction with slow start below the target (RFC 6937).
func (s *Sender) reduce(acked, losses int, advanced bool) {
	if acked <= 0 || s.prr.priorCwnd == 0 {
		return
	}
	s.prr.delivered += acked
	inFlight := s.board.inFlight()
	var n int
	if delta := s.ssthresh - inFlight; delta < 0 {
		n = (s.ssthresh*s.prr.delivered+s.prr.priorCwnd-1)/s.prr.priorCwnd - s.prr.out
	} else {
		n = max(s.prr.delivered-s.prr.out, acked)
		if advanced && losses == 0 {
			n++
		}
		n = min(n, delta)
	}
	if s.prr.out == 0 {
		n = max(n, 1) // the first retransmission always goes
	}
	s.cwnd = inFlight + max(n, 0)
}

func (s *Sender) endReduction() {
	if _, ok := s.control.(rateControl); ok {
		return
	}
	if s.ssthresh < infinite && (s.state == stateCWR || s.undo.active) {
		s.cwnd = s.ssthresh
	}
}

// mayUndo reports whether all retransmissions since the reduction were unnecessary.
func (s *Sender) mayUndo() bool {
	return s.undo.active && (s.undo.retrans == 0 || s.delayedOnly())
}

// delayedOnly reports whether what was acknowledged had arrived before the first
// retransmission was sent (RFC 3522).
func (s *Sender) delayedOnly() bool {
	return s.undo.stamp != 0 && s.lastEcho != 0 && int32(s.lastEcho-s.undo.stamp) < 0
}

func (s *Sender) undoReduction(unmark bool) {
	if unmark {
		s.board.forgiveLost()
	}
	if s.undo.priorSsthresh != 0 {
		s.cwnd = s.control.undone(s)
		s.ssthresh = max(s.ssthresh, s.undo.priorSsthresh)
	}
	s.undo.active = false
	s.rack.advanced = true
	s.stats.Undone++
}

func (s *Sender) undoRecovery() {
	if s.mayUndo() {
		s.undoReduction(false)
	}
}

// undoByDuplicates takes the reduction back when DSACKs showed that all retransmissions
// were unnecessary (RFC 3708).
func (s *Sender) undoByDuplicates() bool {
	if !s.undo.active || s.undo.retrans != 0 {
		return false
	}
	s.rack.persist = min(rackRecoveries, s.rack.persist+1)
	s.undoReduction(false)
	return true
}

// undoPartial handles a hole that a delayed packet filled, not its retransmission. It
// reports whether to wait for the retransmissions on their way.
func (s *Sender) undoPartial(r *ackResult) bool {
	if !s.undo.active || !s.delayedOnly() {
		return false
	}
	s.rack.reordered(r.priorUna, max(r.priorHighest, s.board.una))
	if s.board.retransOut > 0 {
		return true
	}
	if !s.board.anyRetransmitted() {
		s.undo.stamp = 0
	}
	s.undoReduction(true)
	s.keepOpen()
	return false
}

// timeout is the retransmission timeout (Linux's tcp_enter_loss).
func (s *Sender) timeout() {
	b := &s.board
	if b.packetsOut() == 0 {
		s.timer = timerOff
		return
	}
	s.stats.Timeouts++
	fresh := s.state <= stateDisorder || b.una >= s.highSeq || s.state == stateLoss && s.timeouts == 0
	newRecovery := s.state < stateRecovery
	for n := b.una; n < b.nxt; n++ {
		seg := b.at(n)
		if n == b.una || seg.sentAt+s.rack.rtt+s.reorderingWindow() <= s.now {
			b.markLost(n)
		}
	}
	if fresh {
		s.undo.priorSsthresh = s.currentSsthresh()
		s.prr.priorCwnd = s.cwnd
		s.ssthresh = s.control.ssthresh(s)
		s.beginUndo()
	}
	s.cwnd = b.inFlight() + 1
	if s.state <= stateDisorder && b.sackedOut >= dupThreshold {
		s.rack.reordering = min(s.rack.reordering, dupThreshold)
	}
	s.setState(stateLoss)
	s.highSeq = b.nxt
	s.probeEnd = 0
	s.frto = newRecovery || s.timeouts == 0
	s.sendNew = false
	s.timeouts++
	s.rto.backoff++
	s.timer, s.timerAt = timerRTO, s.now+s.rto.timeout()
}

// processLoss handles an acknowledgement after a timeout, with F-RTO (RFC 5682).
func (s *Sender) processLoss(r *ackResult) {
	recovered := s.board.una >= s.highSeq
	if r.advanced && s.undoLoss(false) {
		return
	}
	if s.frto {
		if r.origAcked && s.undoLoss(true) {
			return
		}
		switch {
		case s.board.nxt > s.highSeq:
			if r.dataSacked || !r.advanced {
				s.frto = false // the timeout was justified
			}
		case r.advanced && !recovered:
			s.highSeq = s.board.nxt
			s.sendNew = true
		}
	}
	if recovered {
		s.undoRecovery()
		s.setState(stateOpen)
	}
}

func (s *Sender) undoLoss(proven bool) bool {
	if !proven && !s.mayUndo() {
		return false
	}
	s.undoReduction(true)
	s.rto.backoff = 0
	s.timeouts = 0
	s.frto = false
	s.setState(stateOpen)
	return true
}
