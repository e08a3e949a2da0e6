package demo

import (
	"errors"
	"fmt"
	"time"
)

// A Result is what a demo measured. Rates are in Mbit/s.
type Result struct {
	Lines []LineResult

	Best   string  // the line with the highest capacity
	Single float64 // TCP over that line alone
	Bonded float64 // TCP over all lines, before the cut
	Sum    float64 // the lines' capacities

	Cut CutResult

	Sent, Received int64 // bytes of the bonded transfer
	SHA256         [32]byte
	Intact         bool // what was received is what was sent

	Elapsed time.Duration
}

// A LineResult is what one line did before the cut.
type LineResult struct {
	Name     string
	Capacity float64 // headers of IP and UDP included
	Carried  float64 // likewise
	// Share is the line's part of all that was carried, relative to its part of all
	// capacity: 1 is proportional.
	Share float64
}

// A CutResult is what happened when a line was cut and restored.
type CutResult struct {
	Line     string
	Noticed  time.Duration // until the tunnel avoided the line; negative if it never did
	Gap      time.Duration // the longest time without a byte, from the cut to the end
	Without  float64       // TCP while the line was cut, once the tunnel had noticed
	Returned time.Duration // from the repair until the line carried data; negative if never
	After    float64       // TCP after the repair
	Share    float64       // the line's, after the repair
}

const (
	minGain  = 1.5 // of Bonded over Single
	minShare = 0.5 // of any line
)

// Gain returns how much faster TCP was over all lines than over the best one.
func (r *Result) Gain() float64 {
	if r.Single == 0 {
		return 0
	}
	return r.Bonded / r.Single
}

// Check returns an error that names everything that is not as it should be.
func (r *Result) Check() error {
	var bad []error
	fail := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if !r.Intact {
		fail("content: %d bytes were sent, %d received, and they are not the same", r.Sent, r.Received)
	}
	for _, l := range r.Lines {
		if l.Share < minShare {
			fail("share of %s: it carried %.1f of its %.0f Mbit/s, %.0f %% of its part (at least %.0f %% expected)",
				l.Name, l.Carried, l.Capacity, 100*l.Share, 100*minShare)
		}
	}
	if r.Gain() < minGain {
		fail("bonding: %.1f Mbit/s over all lines, %.1f over %s alone, %.2f times as much (at least %.1f expected)",
			r.Bonded, r.Single, r.Best, r.Gain(), minGain)
	}
	switch {
	case r.Cut.Returned < 0:
		fail("return of %s: it carried nothing after the repair", r.Cut.Line)
	case r.Cut.Share < minShare:
		fail("return of %s: it carried %.0f %% of its part after the repair (at least %.0f %% expected)",
			r.Cut.Line, 100*r.Cut.Share, 100*minShare)
	}
	return errors.Join(bad...)
}
