package linksim

import (
	"errors"
	"fmt"
	"time"
)

const (
	// DefaultQueue is the queue of a Profile that names none.
	DefaultQueue = 100 * time.Millisecond

	// DefaultMTU is the MTU of a Profile that names none: an Ethernet frame's 1500
	// bytes less the headers of IPv4 and UDP.
	DefaultMTU = 1472

	// OverheadUDP4 is the Overhead of UDP over IPv4 on Ethernet: 14 bytes of header,
	// 4 of check sequence, 20 of preamble and gap, 20 of IPv4 and 8 of UDP.
	OverheadUDP4 = 66
)

const (
	maxDelay    = time.Hour
	maxDatagram = 65535
)

// A Profile describes one direction of a line. The zero Profile is a perfect line
// with an MTU of 1472.
type Profile struct {
	// Rate is the line's rate in bytes per second, Overhead included. 0 is
	// unlimited.
	Rate uint64

	// Delay is the time from the last bit's departure to the datagram's arrival. At
	// most an hour.
	Delay time.Duration

	// Jitter is the largest delay that is added to Delay: each datagram's own is
	// uniform in [0, Jitter]. A datagram does not arrive before one sent earlier. At
	// most an hour.
	Jitter time.Duration

	// Loss is the probability that a datagram is lost, independent of others. A lost
	// datagram has used the line.
	Loss float64

	// BurstEnter and BurstLeave are the probabilities, at each datagram, that the
	// line goes from its good state to its bad one and back, before the datagram is
	// judged. All datagrams of the bad state are lost (Gilbert, "Capacity of a
	// burst-noise channel", 1960). Their share is BurstEnter/(BurstEnter+BurstLeave),
	// the mean burst 1/BurstLeave datagrams. BurstEnter 0 is no bursts.
	BurstEnter, BurstLeave float64

	// Duplicate is the probability that a datagram arrives twice. The copy does not
	// use the line, and has jitter and reordering of its own.
	Duplicate float64

	// Reorder is the probability that a datagram arrives ReorderBy later than it
	// would have, overtaken by those sent in the meantime. ReorderBy is at most an
	// hour.
	Reorder   float64
	ReorderBy time.Duration

	// Queue is the longest time that a datagram may wait for its transmission to
	// begin. One that would wait longer is dropped. 0 is DefaultQueue; it is without
	// effect when Rate is 0.
	Queue time.Duration

	// Overhead is the number of bytes of headers and framing that each datagram costs
	// on the line beside its own length; see OverheadUDP4. At most 65535.
	Overhead int

	// MTU is the largest datagram in bytes. Send refuses larger ones. 0 is
	// DefaultMTU. At most 65535.
	MTU int

	// Down makes the direction swallow everything silently. What it has taken before
	// still arrives.
	Down bool
}

// Validate says which field of p is out of its range. It returns nil if none is.
func (p Profile) Validate() error {
	for _, v := range []struct {
		name  string
		value float64
	}{
		{"Loss", p.Loss},
		{"BurstEnter", p.BurstEnter},
		{"BurstLeave", p.BurstLeave},
		{"Duplicate", p.Duplicate},
		{"Reorder", p.Reorder},
	} {
		if !(v.value >= 0 && v.value <= 1) {
			return fmt.Errorf("linksim: profile: %s is %v; use a probability from 0 to 1", v.name, v.value)
		}
	}
	for _, v := range []struct {
		name  string
		value time.Duration
	}{
		{"Delay", p.Delay},
		{"Jitter", p.Jitter},
		{"ReorderBy", p.ReorderBy},
	} {
		if v.value < 0 || v.value > maxDelay {
			return fmt.Errorf("linksim: profile: %s is %v; use 0 to %v", v.name, v.value, maxDelay)
		}
	}
	switch {
	case p.Queue < 0:
		return fmt.Errorf("linksim: profile: Queue is %v; use 0 for %v, or more", p.Queue, DefaultQueue)
	case p.Overhead < 0 || p.Overhead > maxDatagram:
		return fmt.Errorf("linksim: profile: Overhead is %d; use 0 to %d", p.Overhead, maxDatagram)
	case p.MTU < 0 || p.MTU > maxDatagram:
		return fmt.Errorf("linksim: profile: MTU is %d; use 0 to %d", p.MTU, maxDatagram)
	case p.BurstEnter > 0 && p.BurstLeave == 0:
		return errors.New("linksim: profile: BurstLeave is 0, so the first burst never ends; use Down for that")
	case p.Reorder > 0 && p.ReorderBy == 0:
		return errors.New("linksim: profile: ReorderBy is 0, so Reorder is without effect; set it")
	}
	return nil
}

func (p Profile) queue() time.Duration {
	if p.Queue == 0 {
		return DefaultQueue
	}
	return p.Queue
}

func (p Profile) mtu() int {
	if p.MTU == 0 {
		return DefaultMTU
	}
	return p.MTU
}
