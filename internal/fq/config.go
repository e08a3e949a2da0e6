package fq

import (
	"math"
	"time"
)

const (
	defaultTarget   = 5 * time.Millisecond
	defaultInterval = 100 * time.Millisecond
	defaultQuantum  = 1514 // bytes, a full Ethernet frame
	defaultPackets  = 1024
)

// Config configures a Queue. The zero value of each field means its default.
type Config[T any] struct {
	// Packets and Bytes bound what is queued in all. 0 means 1024 packets, and any
	// number of bytes.
	Packets, Bytes int

	// Target is the sojourn time that CoDel tolerates, and Interval how long it
	// tolerates more: about a round trip time of the flows. 0 means 5 ms and 100 ms.
	Target, Interval time.Duration

	// Quantum is how many bytes a flow sends in a turn. 0 means 1514.
	Quantum int

	// Drop, if not nil, is given every packet that is dropped. It must not call the
	// Queue.
	Drop func(v T, why Reason)

	// Mark, if not nil, is asked to mark a packet instead of dropping it, and reports
	// whether it did: whether its sender understands marks. It must not call the Queue.
	Mark func(v *T) bool
}

func (c Config[T]) withDefaults() Config[T] {
	if c.Packets <= 0 {
		c.Packets = defaultPackets
	}
	if c.Bytes <= 0 {
		c.Bytes = math.MaxInt
	}
	if c.Quantum <= 0 {
		c.Quantum = defaultQuantum
	}
	return c
}
