package tcpmodel

import (
	"math"
	"time"
)

const (
	defaultMSS    = 1448
	timesSize     = 12 // of the timestamps option with its padding
	initialCwnd   = 10 // RFC 6928
	infinite      = math.MaxInt32
	maxReordering = 300 // net.ipv4.tcp_max_reordering
)

// Config configures a Sender. The zero value sends without end with CUBIC.
type Config struct {
	Control Algorithm

	// MSS is the largest payload of a segment in bytes. 0 is 1448: an Ethernet frame
	// less the headers with timestamps. The peer may have a smaller one.
	MSS int

	// Bytes is how much to send, rounded up to whole segments. 0 is without end.
	Bytes int64

	// Seed decides what Linux draws by lot.
	Seed uint64
}

// caState is the state of the congestion control: Linux's icsk_ca_state.
type caState uint8

const (
	// stateOpen: nothing unusual.
	stateOpen caState = iota
	// stateDisorder: something is selectively acknowledged or in doubt, nothing is
	// believed lost.
	stateDisorder
	// stateCWR: the window is reduced without a loss to repair, after a tail loss probe.
	stateCWR
	// stateRecovery: lost segments are sent again, until all that was sent when it began
	// is acknowledged.
	stateRecovery
	// stateLoss: a retransmission timeout fired, until the same.
	stateLoss
)

// A timerKind says what the one timer of a Sender is for.
type timerKind uint8

const (
	timerOff timerKind = iota
	timerRTO
	timerProbe   // tail loss probe
	timerReorder // end of RACK's reordering window
)

// A Sender is the end of a connection that has the data. Make it with NewSender, call
// Connect once, then feed it with Input and Poll.
type Sender struct {
	control control
	mss     int
	limit   uint64 // segments to send

	now         time.Duration // of the call in progress
	connecting  bool
	established bool
	synSent     int
	finished    time.Duration

	board  scoreboard
	rto    rtoEstimator
	rate   rateSampler
	rack   rack
	window uint64 // sequence number up to which the receiver takes data

	windowSize int // bytes, as last announced

	cwnd, ssthresh int
	state          caState
	highSeq        uint64 // segment number that ends the state
	prr            prr
	undo           undo
	probeEnd       uint64 // tail loss probe: nxt when it was sent; 0 is none
	probeResent    bool
	frto           bool // a timeout that may prove spurious (RFC 5682)
	sendNew        bool // new data first, in the next Poll
	timeouts       int
	maxOut         int // most segments out in the last window
	maxOutEnd      uint64
	windowLimited  bool

	timer    timerKind
	timerAt  time.Duration
	paceAt   time.Duration // no segment before this
	lastSent time.Duration
	tsEcho   uint32 // the receiver's latest timestamp
	lastEcho uint32 // our timestamp, as the last acknowledgement echoed it

	out   Segment // the one that emit borrows
	stats SenderStats
}

// SenderStats counts what a Sender did.
type SenderStats struct {
	Segments        uint64 // sent, retransmissions included
	Retransmissions uint64
	Timeouts        uint64
	Recoveries      uint64 // windows reduced because of loss
	Undone          uint64 // reductions taken back
	Probes          uint64 // tail loss probes
	Cwnd            int    // segments, now
	SRTT, MinRTT    time.Duration
}

// NewSender returns the sending end of a new connection.
func NewSender(c Config) *Sender {
	s := &Sender{
		control:  newControl(c.Control, c.Seed),
		mss:      orDefault(c.MSS, defaultMSS),
		limit:    none,
		board:    newScoreboard(),
		cwnd:     initialCwnd,
		ssthresh: infinite,
		finished: never,
		rack:     rack{steps: 1, reordering: dupThreshold},
	}
	if c.Bytes > 0 {
		s.limit = uint64((c.Bytes + int64(s.mss) - 1) / int64(s.mss))
	}
	return s
}

// Connect makes the next Poll begin the handshake.
func (s *Sender) Connect(now time.Duration) {
	s.connecting = true
	s.timerAt = now
}

// Stats returns the counters.
func (s *Sender) Stats() SenderStats {
	st := s.stats
	st.Cwnd, st.SRTT, st.MinRTT = s.cwnd, s.rto.srtt, s.rto.minimum
	return st
}

// Finished returns when everything was acknowledged, if it was.
func (s *Sender) Finished() (at time.Duration, ok bool) { return s.finished, s.finished != never }

// Next returns when Poll must be called, or the largest Duration if only Input can change
// anything.
func (s *Sender) Next() time.Duration {
	if s.connecting {
		return s.timerAt
	}
	next := never
	if s.timer != timerOff {
		next = s.timerAt
	}
	if s.wantsToSend() {
		next = min(next, s.paceAt)
	}
	return next
}

// Poll does what is due: timers, retransmissions, new data. emit borrows the segment.
func (s *Sender) Poll(now time.Duration, emit func(*Segment)) {
	s.now = now
	if s.connecting {
		s.pollHandshake(emit)
		return
	}
	if s.timer != timerOff && now >= s.timerAt {
		s.fire(emit)
	}
	s.transmit(emit)
}

func (s *Sender) pollHandshake(emit func(*Segment)) {
	if s.now < s.timerAt {
		return
	}
	s.timerAt = s.now + initialRTO<<min(s.synSent, 6)
	s.synSent++
	s.stats.Segments++
	s.out = Segment{Flags: FlagSYN, MSS: s.mss + timesSize, Window: initialWindow, TSVal: stamp(s.now)}
	emit(&s.out)
}

// Input takes a segment from the receiver. Call Poll next.
func (s *Sender) Input(now time.Duration, seg *Segment) {
	s.now = now
	switch {
	case seg.Flags&FlagSYN != 0 && s.connecting:
		s.establish(seg)
	case seg.Flags&FlagACK != 0 && s.established:
		s.acknowledge(seg)
	}
}

func (s *Sender) establish(seg *Segment) {
	s.connecting, s.established = false, true
	if full := seg.MSS - timesSize; full < s.mss {
		if s.limit != none {
			s.limit = (s.limit*uint64(s.mss) + uint64(full) - 1) / uint64(full)
		}
		s.mss = full
	}
	s.window = 1 + uint64(seg.Window)
	s.windowSize = seg.Window
	s.tsEcho = seg.TSVal
	if s.synSent == 1 {
		rtt := s.now - (s.timerAt - initialRTO)
		s.rto.sample(rtt, 0, 0)
		s.rto.observe(rtt)
	}
	s.timer = timerOff
}

// wantsToSend reports whether transmit has something that pacing alone may hold back.
func (s *Sender) wantsToSend() bool {
	if !s.established || s.board.inFlight() >= s.cwnd {
		return false
	}
	if s.board.lostOut > 0 {
		if _, ok := s.board.nextLost(); ok {
			return true
		}
	}
	return s.mayBeNew()
}

func (s *Sender) mayBeNew() bool {
	n := s.board.nxt
	return n < s.limit && 1+(n+1)*uint64(s.mss) <= s.window
}

// transmit sends what the window, the receiver and pacing allow: what is lost first.
func (s *Sender) transmit(emit func(*Segment)) {
	if !s.established {
		return
	}
	rate, burst := 0.0, infinite
	if c, ok := s.control.(rateControl); ok {
		rate, burst = c.pacing(s)
	}
	sent := 0
	for s.now >= s.paceAt {
		n := 0
		for n < burst && s.transmitOne(emit) {
			n++
		}
		if n == 0 {
			break
		}
		sent += n
		if rate > 0 {
			s.pace(rate, n)
		}
	}
	s.sendNew = false
	if sent > 0 {
		s.noteWindowUse()
	}
}

// pace sets when the next burst may go. What a late wake-up lost is given back, up to
// half of the burst's time (Linux's tcp_update_skb_after_send).
func (s *Sender) pace(rate float64, segments int) {
	took := time.Duration(float64(segments*s.mss) / rate * float64(time.Second))
	credit := time.Duration(0)
	if s.paceAt > 0 {
		credit = min(s.now-s.paceAt, took/2)
	}
	s.paceAt = s.now + took - credit
}

// transmitOne sends one segment, if there is one that may go.
func (s *Sender) transmitOne(emit func(*Segment)) bool {
	if s.board.inFlight() >= s.cwnd {
		return false
	}
	if n, ok := s.board.nextLost(); ok && !(s.sendNew && s.mayBeNew()) {
		s.retransmit(n, emit)
		return true
	}
	if !s.mayBeNew() {
		if s.board.nxt >= s.limit && s.board.lostOut == 0 {
			s.rate.limitedTo = max(s.rate.delivered+uint64(s.board.inFlight()), 1)
		}
		return false
	}
	s.transmitNew(emit)
	return true
}

func (s *Sender) transmitNew(emit func(*Segment)) {
	if s.board.packetsOut() == 0 {
		s.control.restart(s, s.now)
	}
	n := s.board.nxt
	out := s.board.packetsOut()
	seg := s.board.push()
	s.rate.sent(s.now, seg, out)
	s.send(n, emit)
	if out == 0 || s.timer == timerProbe {
		s.armRTO()
	}
	s.scheduleProbe(false)
}

// retransmit sends segment n again.
func (s *Sender) retransmit(n uint64, emit func(*Segment)) {
	seg := s.board.at(n)
	if s.undo.stamp == 0 {
		s.undo.stamp = stamp(s.now)
	}
	seg.flags |= retrans | everRetrans
	s.board.retransOut++
	s.undo.retrans = max(s.undo.retrans, 0) + 1
	s.rate.sent(s.now, seg, s.board.packetsOut())
	s.stats.Retransmissions++
	first := n == s.board.una
	s.send(n, emit)
	if first && s.timer != timerReorder {
		s.armRTO()
	}
}

func (s *Sender) send(n uint64, emit func(*Segment)) {
	seg := s.board.at(n)
	seg.sentAt = s.now
	s.board.link(n)
	s.lastSent = s.now
	s.prr.out++
	s.stats.Segments++
	s.out = Segment{
		Flags: FlagACK,
		Seq:   uint32(1 + n*uint64(s.mss)),
		Ack:   1,
		Len:   s.mss,
		// The receiver sends no data: the window is a constant.
		Window: initialWindow,
		TSVal:  stamp(s.now),
		TSEcr:  s.tsEcho,
	}
	emit(&s.out)
}

// noteWindowUse remembers whether the window held the sender back, because an unused
// window must not grow (RFC 7661; Linux's tcp_cwnd_validate).
func (s *Sender) noteWindowUse() {
	out := s.board.packetsOut()
	limited := s.board.inFlight() >= s.cwnd
	if s.board.una >= s.maxOutEnd || out > s.maxOut || limited {
		s.maxOut = out
		s.maxOutEnd = s.board.nxt
		s.windowLimited = limited
	}
}

func (s *Sender) cwndLimited() bool {
	if s.windowLimited {
		return true
	}
	return s.cwnd < s.ssthresh && s.cwnd < 2*s.maxOut
}

// armRTO sets the timer to the retransmission timeout: from now on, or from when the first
// segment was sent if the timer was for something else in between (Linux's tcp_rearm_rto).
func (s *Sender) armRTO() {
	if s.board.packetsOut() == 0 {
		s.timer = timerOff
		return
	}
	at := s.now + s.rto.timeout()
	if s.timer == timerProbe || s.timer == timerReorder {
		at = max(s.now+tick, s.board.at(s.board.una).sentAt+s.rto.timeout())
	}
	s.timer, s.timerAt = timerRTO, at
}

// fire does what the timer is for.
func (s *Sender) fire(emit func(*Segment)) {
	switch s.timer {
	case timerProbe:
		s.probe(emit)
	case timerReorder:
		s.reorderTimeout()
	case timerRTO:
		s.timeout()
	}
}
