package simnet

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/tcpmodel"
)

// A Kind is what a Flow consists of.
type Kind uint8

const (
	// TCP is a TCP connection that sends as fast as it may.
	TCP Kind = iota
	// UDP is a stream of datagrams at a constant rate.
	UDP
)

// A Flow is traffic between the hosts.
type Flow struct {
	Kind      Kind
	Direction Direction

	// Start is when it begins.
	Start time.Duration

	// Control is the congestion control of TCP.
	Control tcpmodel.Algorithm

	// Bytes is how much TCP sends. 0 is without end.
	Bytes int64

	// Rate is UDP's in bytes per second, IP headers included.
	Rate int

	// Size is the length of UDP's packets in bytes, IP headers included. 0 is 200, and
	// less than 36 is not possible.
	Size int
}

// CUBIC returns a flow of TCP with CUBIC, without end.
func CUBIC(d Direction) Flow { return Flow{Direction: d, Control: tcpmodel.Cubic} }

// BBR returns a flow of TCP with BBR, without end.
func BBR(d Direction) Flow { return Flow{Direction: d, Control: tcpmodel.BBR} }

// BinWidth is the length of the intervals of FlowResult.Bins.
const BinWidth = 100 * time.Millisecond

// arrivalLog is what the receiving host notes of a flow.
type arrivalLog struct {
	from, to time.Duration // what is measured
	bytes    uint64        // delivered then
	bins     []uint64      // delivered in each BinWidth, from 0 on
	last     time.Duration // delivery
	gap      time.Duration // the longest between two deliveries
	gapAt    time.Duration // when it began
	begun    bool
}

func newArrivalLog(c Config) arrivalLog {
	return arrivalLog{from: c.Warmup, to: c.Duration, bins: make([]uint64, (c.Duration+BinWidth-1)/BinWidth)}
}

// note takes n bytes of new data.
func (l *arrivalLog) note(now time.Duration, n uint64) {
	if n == 0 {
		return
	}
	if i := int(now / BinWidth); i < len(l.bins) {
		l.bins[i] += n
	}
	if now < l.from {
		l.last, l.begun = now, true
		return
	}
	l.bytes += n
	l.measureGap(now)
	l.last, l.begun = now, true
}

// measureGap compares the time since the last delivery, or since the measurement began,
// with the longest so far.
func (l *arrivalLog) measureGap(now time.Duration) {
	since := max(l.last, l.from)
	if !l.begun {
		since = l.from
	}
	if now-since > l.gap {
		l.gap, l.gapAt = now-since, since
	}
}
