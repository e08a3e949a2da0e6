// Package wan imitates internet lines: it forwards Ethernet frames between pairs
// of network interfaces at a given rate, with delay, jitter, loss and a bounded
// queue, in user space, for kernels that have no netem.
//
// A [Shaper] decides the fate of each frame of one direction. It does no I/O and
// reads no clock. Serve is the bridge around it: packet sockets, one OS thread,
// and a control channel of JSON lines.
package wan

import (
	"errors"
	"fmt"
	"time"
)

// FrameOverhead is what a line spends on a frame besides the IP packet, in bytes:
// 14 of Ethernet header, 4 of FCS, 8 of preamble and 12 of inter-frame gap. A full
// packet of 1500 bytes takes 1538 bytes of a line's rate, so that plain TCP with
// timestamps carries 1448/1538 of it.
const FrameOverhead = 38

// headerLen is the Ethernet header, the part of [FrameOverhead] that a packet
// socket sees.
const headerLen = 14

// DefaultQueue is the queue of a direction whose Params.Queue is zero.
const DefaultQueue = 100 * time.Millisecond

// Params are the manners of one direction of a line. The zero value is a line
// without a rate limit, a delay or a loss.
type Params struct {
	// Rate is in bits per second, counted as [FrameOverhead] says. Zero is no limit.
	Rate float64
	// Queue bounds how long a frame may wait for the line to be free; a frame that
	// would wait longer is dropped (drop-tail). Zero means [DefaultQueue].
	Queue time.Duration
	// Delay is the one-way delay, from the end of a frame's serialization.
	Delay time.Duration
	// Jitter is added to Delay, uniform in [0, Jitter].
	Jitter time.Duration
	// Reorder lets jitter change the order of frames. Otherwise a frame is never
	// delivered before an earlier one.
	Reorder bool
	// Loss is the probability, 0 to 1, that a frame is lost after it has taken its
	// share of the rate.
	Loss float64
	// Burst adds losses in bursts.
	Burst Burst
	// MTU is the largest IP packet that passes, in bytes; larger ones vanish without
	// an ICMP error. Zero is no limit besides the 1500 bytes of the interfaces.
	MTU int
	// Blackhole swallows every frame that arrives, silently. Frames already on their
	// way are delivered.
	Blackhole bool
}

// Burst is the two-state loss model of Gilbert (Bell System Technical Journal 39,
// 1960) and Elliott: every frame is lost in the bad state, none in the good one.
// The mean loss is Enter/(Enter+Leave), the mean burst 1/Leave frames.
type Burst struct {
	// Enter is the probability that a frame moves the line from good to bad. Zero
	// turns the model off.
	Enter float64
	// Leave is the probability that a frame moves the line from bad to good.
	Leave float64
}

// Validate reports the first parameter out of its range.
func (p Params) Validate() error {
	switch {
	case !(p.Rate >= 0):
		return fmt.Errorf("wan: rate of %v bit/s: want zero or more", p.Rate)
	case p.Queue < 0 || p.Delay < 0 || p.Jitter < 0:
		return errors.New("wan: queue, delay and jitter cannot be negative")
	case !(p.Loss >= 0 && p.Loss <= 1):
		return fmt.Errorf("wan: loss of %v: want a probability, 0 to 1", p.Loss)
	case !(p.Burst.Enter >= 0 && p.Burst.Enter <= 1 && p.Burst.Leave >= 0 && p.Burst.Leave <= 1):
		return fmt.Errorf("wan: burst of %v: want probabilities, 0 to 1", p.Burst)
	case p.MTU < 0:
		return fmt.Errorf("wan: MTU of %d bytes: want zero or more", p.MTU)
	}
	return nil
}

func (p Params) queue() time.Duration {
	if p.Queue == 0 {
		return DefaultQueue
	}
	return p.Queue
}

// Counters are what one direction has done so far. Packets equals the sum of
// Delivered, Lost, QueueDrops, Swallowed, TooBig, Unsent and the frames on their way.
// Bytes count as a line's rate does: 1538 for a full packet.
type Counters struct {
	Packets uint64 // frames that arrived at the line
	Bytes   uint64

	Delivered      uint64 // frames handed to the far host
	DeliveredBytes uint64

	Lost       uint64 // by Loss and Burst
	QueueDrops uint64 // by Queue, or because the bridge's memory was full
	Swallowed  uint64 // by Blackhole
	TooBig     uint64 // by MTU
	Unsent     uint64 // refused by the far interface, as when it is down

	// MaxQueue is the longest wait for the line to be free.
	MaxQueue time.Duration

	// The last ones judge the bridge, not the line.

	// Overruns are frames that the bridge was too slow to receive. They are in no
	// other counter. Zero in a sound measurement.
	Overruns uint64
	// MaxLate is the longest that a frame left after its due time, and Late the sum
	// over all delivered frames.
	MaxLate time.Duration
	Late    time.Duration
}
