package feedback

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/wire"
)

const (
	// window is how many packet numbers a Recorder remembers.
	window = 4096
	words  = window / 64
)

// A Recorder notes the datagrams that arrive on one link. Its zero value is ready.
type Recorder struct {
	seen    []uint64 // ring of bits by packet number; nil before the first
	highest uint64
	lowest  uint64 // no number below has been noted
	bytes   uint32
	newest  time.Time // when the newest datagram arrived
	top     time.Time // when highest arrived
	delay   delays
	fresh   int // datagrams since the last report
	recent  int // and in the one before
}

// delays are those since the last report.
type delays struct {
	any         bool
	newest, low uint16
}

// Arrived notes a datagram of size bytes that was opened at now, and reports whether it
// came behind a gap: numbers before it that have not come. A number is noted once: the
// replay filter has been before.
func (r *Recorder) Arrived(now time.Time, number uint64, size int) (gap bool) {
	r.bytes += uint32(size + wire.DatagramOverhead)
	r.newest = now
	r.fresh++
	if r.seen == nil {
		r.seen = make([]uint64, words)
		r.highest, r.lowest = number, number
		r.top = now
		r.set(number)
		return false
	}
	if number <= r.highest {
		if r.highest-number < window {
			r.set(number)
			r.lowest = min(r.lowest, number)
		}
		return false
	}
	gap = number > r.highest+1
	r.clear(r.highest+1, number)
	r.highest, r.top = number, now
	r.set(number)
	if number-r.lowest >= window {
		r.lowest = number - window + 1
	}
	return gap
}

// Delay notes the one-way delay of a DATA frame that arrived, in the units and with the
// offset of wire.LinkReport.
func (r *Recorder) Delay(d uint16) {
	if !r.delay.any || int16(d-r.delay.low) < 0 {
		r.delay.low = d
	}
	r.delay.any, r.delay.newest = true, d
}

// Worth reports whether a report would tell something new, or something that only one
// report has told.
func (r *Recorder) Worth() bool { return r.fresh+r.recent > 0 }

// Report fills in rep, but for its Link, and begins anew. clock is the receiver's clock
// at now in microseconds. There must have been a datagram.
func (r *Recorder) Report(now time.Time, clock uint32, rep *wire.LinkReport) {
	*rep = wire.LinkReport{
		Highest:  uint32(r.highest),
		Age:      uint16(min(now.Sub(r.top)/(100*time.Microsecond), 1<<16-1)),
		Arrived:  clock - uint32(now.Sub(r.newest)/time.Microsecond),
		Bytes:    r.bytes,
		HasDelay: r.delay.any,
		Delay:    r.delay.newest,
		Low:      r.delay.low,
	}
	r.runs(rep)
	r.fresh, r.recent = 0, r.fresh
	r.delay = delays{}
}

// runs fills in the runs of received and missing numbers, newest first.
func (r *Recorder) runs(rep *wire.LinkReport) {
	n, got := 0, true
	for at := r.highest; ; {
		next, more := r.runEnd(at, got)
		rep.Runs[n] = uint32(at - next)
		n++
		if !more || n == wire.MaxRuns {
			break
		}
		at, got = next, !got
	}
	// The last run is of received numbers: what is missing at the edge of the window has
	// been reported before.
	rep.NumRuns = n - (n+1)%2
	clear(rep.Runs[rep.NumRuns:n])
}

// runEnd returns the first number downwards from at that is not as got says, and
// whether there is one that is not below lowest.
func (r *Recorder) runEnd(at uint64, got bool) (next uint64, more bool) {
	for {
		w := r.seen[at/64%words]
		if !got {
			w = ^w
		}
		// Whole words are skipped at once.
		if at%64 == 63 && w == ^uint64(0) && at-r.lowest >= 64 {
			at -= 64
			continue
		}
		if w>>(at%64)&1 == 0 {
			return at, true
		}
		if at == r.lowest {
			return at - 1, false
		}
		at--
	}
}

func (r *Recorder) set(n uint64) { r.seen[n/64%words] |= 1 << (n % 64) }

// clear forgets numbers from up to, but without, to.
func (r *Recorder) clear(from, to uint64) {
	if to-from >= window {
		clear(r.seen)
		return
	}
	for n := from; n < to; n++ {
		r.seen[n/64%words] &^= 1 << (n % 64)
	}
}
