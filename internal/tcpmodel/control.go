package tcpmodel

import (
	"fmt"
	"time"
)

// An Algorithm is a congestion control.
type Algorithm uint8

const (
	// Cubic is CUBIC (RFC 9438) with the HyStart of Linux.
	Cubic Algorithm = iota
	// CubicPlus is CUBIC with HyStart++ (RFC 9406), as Windows and Apple's systems use.
	CubicPlus
	// BBR is BBR version 1 as in Linux.
	BBR
)

// String returns the name that Linux has for the algorithm.
func (a Algorithm) String() string {
	switch a {
	case Cubic:
		return "cubic"
	case CubicPlus:
		return "cubic++"
	case BBR:
		return "bbr"
	}
	return fmt.Sprintf("Algorithm(%d)", uint8(a))
}

// A control decides the congestion window, and the pacing rate if it has one. Windows
// are in segments.
type control interface {
	// ssthresh is asked for at the beginning of a reduction.
	ssthresh(s *Sender) int
	// undone returns the window after a reduction that turned out to be unjustified.
	undone(s *Sender) int
	// state is told of a new state before the sender enters it.
	state(s *Sender, to caState)
	// restart is told that the sender sends again after it had nothing in flight.
	restart(s *Sender, now time.Duration)
}

// A windowControl grows a window that the sender reduces.
type windowControl interface {
	control
	// measured takes a round-trip time.
	measured(s *Sender, now, rtt time.Duration)
	// grow takes acked segments of an acknowledgement that may raise the window.
	grow(s *Sender, now time.Duration, acked int)
}

// A rateControl decides everything by itself at each acknowledgement.
type rateControl interface {
	control
	acked(s *Sender, now time.Duration, r *rateSample)
	// pacing returns the rate in bytes per second and the segments sent at once.
	pacing(s *Sender) (rate float64, burst int)
}

func newControl(a Algorithm, seed uint64) control {
	switch a {
	case BBR:
		return newBBR(seed)
	case CubicPlus:
		return &cubic{slow: &hystartPlus{}}
	default:
		return &cubic{slow: &hystart{}}
	}
}
