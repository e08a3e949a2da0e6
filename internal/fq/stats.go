package fq

import "time"

// A Reason says why a packet was dropped.
type Reason uint8

const (
	// CoDel means that its flow's packets were queued for too long.
	CoDel Reason = iota
	// Overflow means that the queue was full.
	Overflow
	// Cleared means that the queue was cleared.
	Cleared

	// NumReasons is the number of reasons.
	NumReasons = iota
)

func (r Reason) String() string {
	switch r {
	case CoDel:
		return "queued for too long"
	case Overflow:
		return "queue full"
	case Cleared:
		return "queue cleared"
	}
	return "invalid"
}

// Stats counts packets since the Queue was made.
type Stats struct {
	Pushed  uint64
	Taken   uint64
	Dropped [NumReasons]uint64 // by Reason
	Marked  uint64             // instead of being dropped by CoDel

	// Sojourn is how long packets were queued until they were taken: an average over
	// about the last 16, and the maximum.
	Sojourn, MaxSojourn time.Duration
}

func (s *Stats) take(sojourn time.Duration) {
	if s.Taken == 0 {
		s.Sojourn = sojourn
	}
	s.Taken++
	s.Sojourn += (sojourn - s.Sojourn) / 16
	s.MaxSojourn = max(s.MaxSojourn, sojourn)
}
