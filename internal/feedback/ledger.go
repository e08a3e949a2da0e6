package feedback

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
)

const (
	minLedger = 64
	// MaxOutstanding is how many datagrams a Ledger remembers; the oldest are forgotten
	// beyond that.
	MaxOutstanding = 1 << 13
)

// A Ledger remembers the datagrams that were sent on one link until a report tells
// what became of them. T is what the caller wants to know then. The zero value is
// ready.
type Ledger[T any] struct {
	ring     []entry[T] // by number
	base     uint64     // lowest number that may be outstanding
	next     uint64     // one more than the highest sent
	inFlight int        // bytes outstanding
	newest   uint64     // one more than the highest number reported
	reported bool
}

type entry[T any] struct {
	sent   time.Time
	size   int32
	state  state
	quiet  bool // its arrival alone is not reported
	marker Marker
	value  T
}

// Marker is what the caller knew when a datagram was sent, for rate samples.
type Marker struct {
	// Sent counts the bytes sent before, Idle how long the link had nothing to send.
	Sent uint64
	Idle time.Duration
}

type state uint8

const (
	gone        state = iota // acknowledged or forgotten
	outstanding              // nothing is known
	missing                  // reported missing; may still turn up
)

// Fate is what a report says of one datagram.
type Fate uint8

const (
	// Acked: it has arrived.
	Acked Fate = iota
	// Lost: a later one has arrived, and it has not.
	Lost
	// Spurious: it was said to be lost and has arrived after all.
	Spurious
)

// Sent notes that a datagram was sent. Numbers must grow. quiet says that its arrival alone
// makes no report. forget is called with the value of a datagram that has to be forgotten
// for it.
func (l *Ledger[T]) Sent(now time.Time, number uint64, size int, quiet bool, m Marker, value T, forget func(*T)) {
	if l.base == l.next {
		l.base, l.next = number, number
	}
	for number-l.base >= MaxOutstanding {
		l.forget(forget)
	}
	if number-l.base >= uint64(len(l.ring)) {
		l.grow(number - l.base + 1)
	}
	for ; l.next < number; l.next++ {
		*l.at(l.next) = entry[T]{}
	}
	*l.at(number) = entry[T]{now, int32(size), outstanding, quiet, m, value}
	l.next = number + 1
	l.inFlight += size
}

func (l *Ledger[T]) at(n uint64) *entry[T] { return &l.ring[n&uint64(len(l.ring)-1)] }

func (l *Ledger[T]) grow(need uint64) {
	size := max(minLedger, len(l.ring))
	for uint64(size) < need {
		size *= 2
	}
	ring := make([]entry[T], size)
	for n := l.base; n < l.next; n++ {
		ring[n&uint64(size-1)] = *l.at(n)
	}
	l.ring = ring
}

// forget drops the oldest entry.
func (l *Ledger[T]) forget(fn func(*T)) {
	e := l.at(l.base)
	if e.state != gone {
		fn(&e.value)
		l.settle(e)
	}
	l.base++
}

// settle is called when the fate of e is known for good.
func (l *Ledger[T]) settle(e *entry[T]) {
	if e.state == outstanding {
		l.inFlight -= int(e.size)
	}
	var zero T
	e.state, e.value = gone, zero
}

// InFlight returns the bytes that were sent and neither acknowledged nor lost.
func (l *Ledger[T]) InFlight() int { return l.inFlight }

// Ack is what a report told about the newest datagram that it acknowledges.
type Ack struct {
	New    bool // the report acknowledges a number given to Sent higher than any before
	Sent   time.Time
	Marker Marker
	Size   int
}

// Apply tells fn the fate of every datagram that a report is the first to tell of. The
// value must not be kept; it is forgotten after Acked and Spurious, and kept after Lost
// until Expire.
func (l *Ledger[T]) Apply(r *wire.LinkReport, fn func(f Fate, sent time.Time, size int, value *T)) (a Ack) {
	if l.base == l.next {
		return a
	}
	// The number is near those outstanding.
	highest := l.next - 1 - uint64(uint32(l.next-1)-r.Highest)
	if highest >= l.next || highest < l.base {
		return a
	}
	if e := l.at(highest); !l.reported || highest >= l.newest {
		// A number that was used for something else than Sent tells no times.
		a = Ack{New: !e.sent.IsZero(), Sent: e.sent, Marker: e.marker, Size: int(e.size)}
		l.newest, l.reported = highest+1, true
	}
	at := highest
	for i, n := range r.Runs[:r.NumRuns] {
		for ; n > 0 && at >= l.base; n-- {
			e := l.at(at)
			switch {
			case e.state == gone:
			case i%2 == 0 && e.state == outstanding:
				fn(Acked, e.sent, int(e.size), &e.value)
				l.settle(e)
			case i%2 == 0:
				fn(Spurious, e.sent, int(e.size), &e.value)
				l.settle(e)
			case e.state == outstanding:
				fn(Lost, e.sent, int(e.size), &e.value)
				l.inFlight -= int(e.size)
				e.state = missing
			}
			if at == 0 {
				l.trim()
				return a
			}
			at--
		}
	}
	l.trim()
	return a
}

func (l *Ledger[T]) trim() {
	for l.base < l.next && l.at(l.base).state == gone {
		l.base++
	}
}

// Expire forgets datagrams that were sent before a time, and tells fn of those that no
// report has told of, or only that they are missing.
func (l *Ledger[T]) Expire(before time.Time, fn func(*T)) {
	for l.base < l.next {
		e := l.at(l.base)
		if e.state != gone && !e.sent.Before(before) {
			return
		}
		l.forget(fn)
	}
	if len(l.ring) > minLedger {
		l.ring = nil // an idle link needs no memory
	}
}

// Oldest returns when the oldest datagram was sent that a report should have told of: of
// those outstanding, not quiet, newer than all that were reported, and numbered first or
// higher. since is how many datagrams were sent from that one on.
func (l *Ledger[T]) Oldest(first uint64) (sent time.Time, since int, ok bool) {
	from := max(first, l.base)
	if l.reported {
		from = max(from, l.newest)
	}
	for n := from; n < l.next; n++ {
		if e := l.at(n); e.state == outstanding && !e.quiet {
			return e.sent, int(l.next - n), true
		}
	}
	return time.Time{}, 0, false
}

// Drop forgets the datagram whose number has these low 32 bits, because it has not been
// sent after all, and tells fn of it.
func (l *Ledger[T]) Drop(low uint32, fn func(value *T)) {
	if l.base == l.next {
		return
	}
	n := l.next - 1 - uint64(uint32(l.next-1)-low)
	if n >= l.next || n < l.base || l.at(n).state != outstanding {
		return
	}
	fn(&l.at(n).value)
	l.settle(l.at(n))
	l.trim()
}

// Abandon forgets every datagram that is outstanding and tells fn of it, oldest first: no
// report is expected of it any more.
func (l *Ledger[T]) Abandon(fn func(value *T)) {
	for n := l.base; n < l.next; n++ {
		if e := l.at(n); e.state == outstanding {
			fn(&e.value)
			l.settle(e)
		}
	}
	l.trim()
}

// Clear forgets everything and tells fn of what it still knew.
func (l *Ledger[T]) Clear(fn func(value *T)) {
	for l.base < l.next {
		l.forget(fn)
	}
	l.trim()
}
