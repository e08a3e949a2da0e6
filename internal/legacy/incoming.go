package legacy

import (
	"errors"
	"slices"
	"time"
)

// Errors of Incoming, which say why a packet that opens is not believed.
var (
	ErrReflected = errors.New("one of our own packets")
	ErrReplay    = errors.New("old, or seen before")
	ErrOther     = errors.New("of another flow than the one in use")
)

const (
	// quiet is how long a flow must have been silent before another may take its place.
	// A peer that is alive is heard about once a second.
	quiet = 3 * time.Second
	// maxFlows bounds the flows that a link remembers.
	maxFlows = 16
)

// Incoming decides which of the packets that arrive on one link are believed: those of
// one flow, each once. The peer has another flow after it has started anew. It is let in
// by an AUTH or AUTH_OK, when the one in use has been silent for 3 s or has said
// DISCONNECT, so that a packet of long ago cannot take a link that is alive away from
// its peer. A flow seen before is followed where it was left, never backwards.
type Incoming struct {
	// Own reports whether a flow ID is one of this end's, of any link.
	Own func(flowID uint32) bool

	flows   []flowState // the one in use is last
	heard   time.Time
	ended   bool // the flow in use has said DISCONNECT
	count   uint32
	started bool
}

type flowState struct {
	id     uint32
	window window
}

// An Arrival is what a packet that is believed says of its flow.
type Arrival struct {
	Newest bool // no packet with a higher number has come: it may come from a new address
	New    bool // it begins a flow, in the place of another
}

// Accept decides on a packet that was authentic. Of one that is not believed nothing is
// remembered.
func (in *Incoming) Accept(now time.Time, h *Header) (a Arrival, err error) {
	if in.Own != nil && in.Own(h.FlowID) {
		return a, ErrReflected
	}
	last := len(in.flows) - 1
	if last < 0 || in.flows[last].id != h.FlowID {
		return in.change(now, h)
	}
	w := &in.flows[last].window
	a.Newest = h.Seq > w.highest
	if !w.mark(h.Seq) {
		return a, ErrReplay
	}
	switch h.Type {
	case Disconnect:
		in.ended = true
	case Auth, AuthOK:
		in.ended = false
	}
	in.heard = now
	in.count++
	return a, nil
}

// change decides on a packet of another flow than the one in use.
func (in *Incoming) change(now time.Time, h *Header) (a Arrival, err error) {
	known := slices.IndexFunc(in.flows, func(f flowState) bool { return f.id == h.FlowID })
	switch {
	case len(in.flows) > 0 && !in.ended && now.Sub(in.heard) < quiet:
		return a, ErrOther
	case known < 0 && h.Type != Auth && h.Type != AuthOK:
		return a, ErrOther
	}
	f := flowState{id: h.FlowID}
	if known >= 0 {
		f = in.flows[known]
		a.Newest = h.Seq > f.window.highest
		if !f.window.mark(h.Seq) {
			return a, ErrReplay
		}
		in.flows = slices.Delete(in.flows, known, known+1)
	} else {
		a.Newest = true
		f.window.begin(h.Seq)
	}
	if len(in.flows) == maxFlows {
		in.flows = slices.Delete(in.flows, 0, 1)
	}
	a.New = in.started
	in.flows = append(in.flows, f)
	in.heard, in.ended, in.started = now, h.Type == Disconnect, true
	in.count = 1
	return a, nil
}

// AcceptClear decides on data that was not authentic, but came from the peer's address:
// it must look like that of the flow in use. All that is remembered of it is its count.
func (in *Incoming) AcceptClear(h *Header) error {
	switch last := len(in.flows) - 1; {
	case in.Own != nil && in.Own(h.FlowID):
		return ErrReflected
	case last < 0 || in.ended || in.flows[last].id != h.FlowID:
		return ErrOther
	}
	in.count++
	return nil
}

// Received returns how many packets of the flow in use have been accepted and the
// highest number among them, both modulo 2^32.
func (in *Incoming) Received() (count, highest uint32) {
	if len(in.flows) == 0 {
		return 0, 0
	}
	return in.count, uint32(in.flows[len(in.flows)-1].window.highest)
}

// windowSize is how far behind the highest a number may be, in packets.
const windowSize = windowWords*64 - 64

const windowWords = 32

// A window remembers which numbers were seen (RFC 6479).
type window struct {
	highest uint64
	seen    [windowWords]uint64
}

// begin starts a window at a number. What is below it counts as seen.
func (w *window) begin(n uint64) {
	w.highest = n
	for i := range w.seen {
		w.seen[i] = ^uint64(0)
	}
	// The bits above n in its word are those of numbers to come.
	w.seen[n/64%windowWords] = ^uint64(0) >> (63 - n%64)
}

// mark notes a number, and returns false if it was seen or is too old.
func (w *window) mark(n uint64) bool {
	if n > w.highest {
		from, to := w.highest/64, n/64
		for i := uint64(1); i <= min(to-from, windowWords); i++ {
			w.seen[(from+i)%windowWords] = 0
		}
		w.highest = n
	} else if w.highest-n >= windowSize {
		return false
	}
	word, bit := &w.seen[n/64%windowWords], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
