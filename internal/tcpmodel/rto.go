package tcpmodel

import "time"

const (
	minRTO     = 200 * time.Millisecond // TCP_RTO_MIN
	maxRTO     = 120 * time.Second
	initialRTO = time.Second // RFC 6298, section 2.1
)

// rtoEstimator computes the retransmission timeout (RFC 6298) as Linux does: the variation
// is the largest mean deviation within a round trip, at least minRTO, and decays slowly.
type rtoEstimator struct {
	srtt             time.Duration // smoothed round-trip time; 0 before the first sample
	mdev             time.Duration // four times the mean deviation, as the next two
	mdevMax, rttvar  time.Duration
	round            uint64 // segment number whose acknowledgement ends the round trip
	backoff          int
	minimum          time.Duration // shortest round-trip time seen, if minimumIsPresent
	minimumIsPresent bool
}

// sample takes a round-trip time; una and nxt are the scoreboard's after the
// acknowledgement.
func (e *rtoEstimator) sample(rtt time.Duration, una, nxt uint64) {
	rtt = max(rtt, time.Microsecond)
	e.backoff = 0
	if e.srtt == 0 {
		e.srtt = rtt
		e.mdev = 2 * rtt
		e.rttvar = max(e.mdev, minRTO)
		e.mdevMax = e.rttvar
		e.round = nxt
		return
	}
	err := rtt - e.srtt
	e.srtt += err / 8
	dev := max(err, -err) - e.mdev/4
	if err < 0 && dev > 0 {
		dev /= 8 // a round-trip time that falls is no reason to wait longer
	}
	e.mdev += dev
	if e.mdev > e.mdevMax {
		e.mdevMax = e.mdev
		e.rttvar = max(e.rttvar, e.mdevMax)
	}
	if una > e.round {
		if e.mdevMax < e.rttvar {
			e.rttvar -= (e.rttvar - e.mdevMax) / 4
		}
		e.round = nxt
		e.mdevMax = minRTO
	}
}

// observe takes the shortest round-trip time that an acknowledgement shows; it feeds the
// minimum only.
func (e *rtoEstimator) observe(rtt time.Duration) {
	rtt = max(rtt, time.Microsecond)
	if !e.minimumIsPresent || rtt < e.minimum {
		e.minimum, e.minimumIsPresent = rtt, true
	}
}

// timeout is the retransmission timeout with its backoff.
func (e *rtoEstimator) timeout() time.Duration {
	rto := initialRTO
	if e.srtt > 0 {
		rto = e.srtt + e.rttvar
	}
	return min(rto<<min(e.backoff, 10), maxRTO)
}
