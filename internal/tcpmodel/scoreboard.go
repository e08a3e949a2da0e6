package tcpmodel

import "time"

// Segments are numbered from 0; none has this number.
const none = ^uint64(0)

const (
	sacked       uint8 = 1 << iota // acknowledged selectively
	lost                           // believed lost; stays when it is sent again
	retrans                        // sent again, and that copy is believed to be on its way
	everRetrans                    // sent again at any time
	limitedBySrc                   // sent while the application had nothing more to send
)

// A txSegment is what the sender remembers of a segment that is not cumulatively
// acknowledged.
type txSegment struct {
	sentAt time.Duration // last time

	// The sender's delivery record when it was sent; see rateSampler.
	firstSent, deliveredAt time.Duration
	delivered              uint64

	prev, next uint64 // neighbours in the order of sentAt
	flags      uint8
	listed     bool // is in that order: neither acknowledged nor marked lost
}

// A scoreboard holds the segments between the first that is not acknowledged and the next
// that is new (RFC 6675 calls it so; the marks are Linux's).
type scoreboard struct {
	una, nxt uint64 // segment numbers
	ring     []txSegment
	head     uint64 // of the list by time of sending: the oldest
	tail     uint64

	sackedSpans spans // selectively acknowledged segments from una on

	sackedOut, lostOut, retransOut int
	lostTotal                      uint64 // marks so far, repeated ones included
	hint                           uint64 // no segment below it waits for retransmission
}

func newScoreboard() scoreboard {
	return scoreboard{ring: make([]txSegment, 256), head: none, tail: none}
}

func (b *scoreboard) at(n uint64) *txSegment { return &b.ring[n&uint64(len(b.ring)-1)] }

// packetsOut is the number of segments sent and not cumulatively acknowledged.
func (b *scoreboard) packetsOut() int { return int(b.nxt - b.una) }

// inFlight is the number of segments believed to be in the network (RFC 6675's pipe).
func (b *scoreboard) inFlight() int {
	return b.packetsOut() - b.sackedOut - b.lostOut + b.retransOut
}

// leftOut is the number of segments that left the network, but not in order.
func (b *scoreboard) leftOut() int { return b.sackedOut + b.lostOut }

// highest is the highest segment selectively acknowledged, or una if there is none.
func (b *scoreboard) highest() uint64 {
	if n := len(b.sackedSpans); n > 0 {
		return b.sackedSpans[n-1].r - 1
	}
	return b.una
}

// push adds the next new segment, and returns it.
func (b *scoreboard) push() *txSegment {
	if b.packetsOut() == len(b.ring) {
		old := *b
		b.ring = make([]txSegment, 2*len(old.ring))
		for n := b.una; n < b.nxt; n++ {
			*b.at(n) = *old.at(n)
		}
	}
	s := b.at(b.nxt)
	*s = txSegment{}
	b.nxt++
	return s
}

// link puts segment n at the end of the list by time of sending.
func (b *scoreboard) link(n uint64) {
	b.unlink(n)
	s := b.at(n)
	s.prev, s.next, s.listed = b.tail, none, true
	if b.tail == none {
		b.head = n
	} else {
		b.at(b.tail).next = n
	}
	b.tail = n
}

func (b *scoreboard) unlink(n uint64) {
	s := b.at(n)
	if !s.listed {
		return
	}
	s.listed = false
	if s.prev == none {
		b.head = s.next
	} else {
		b.at(s.prev).next = s.next
	}
	if s.next == none {
		b.tail = s.prev
	} else {
		b.at(s.next).prev = s.prev
	}
}

// markLost marks segment n lost, the original or the copy sent last.
func (b *scoreboard) markLost(n uint64) {
	s := b.at(n)
	b.unlink(n)
	if s.flags&sacked != 0 {
		return
	}
	if s.flags&retrans != 0 {
		s.flags &^= retrans
		b.retransOut--
	} else if s.flags&lost != 0 {
		return
	}
	if s.flags&lost == 0 {
		s.flags |= lost
		b.lostOut++
	}
	b.lostTotal++
	b.hint = min(b.hint, n)
}

// nextLost returns the first segment that waits for retransmission.
func (b *scoreboard) nextLost() (n uint64, ok bool) {
	if b.lostOut == 0 {
		return 0, false
	}
	for b.hint = max(b.hint, b.una); b.hint < b.nxt; b.hint++ {
		if b.at(b.hint).flags&(lost|retrans|sacked) == lost {
			return b.hint, true
		}
	}
	return 0, false
}

// forgiveLost takes all marks of loss back.
func (b *scoreboard) forgiveLost() {
	for n := b.una; n < b.nxt; n++ {
		s := b.at(n)
		if s.flags&lost == 0 {
			continue
		}
		s.flags &^= lost
		if s.flags&sacked == 0 && !s.listed {
			b.linkByTime(n)
		}
	}
	b.lostOut = 0
}

// linkByTime puts segment n into the list where its time of sending belongs.
func (b *scoreboard) linkByTime(n uint64) {
	s := b.at(n)
	after := b.tail
	for after != none && b.at(after).sentAt > s.sentAt {
		after = b.at(after).prev
	}
	if after == b.tail {
		b.link(n)
		return
	}
	s.prev, s.listed = after, true
	if after == none {
		s.next, b.head = b.head, n
	} else {
		s.next = b.at(after).next
		b.at(after).next = n
	}
	b.at(s.next).prev = n
}

// anyRetransmitted reports whether something is, or the first segment was, sent again.
func (b *scoreboard) anyRetransmitted() bool {
	return b.retransOut > 0 || b.packetsOut() > 0 && b.at(b.una).flags&everRetrans != 0
}
