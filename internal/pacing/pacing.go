// Package pacing spreads packets over time so that a path gets them at its rate.
package pacing

import (
	"math"
	"math/bits"
	"time"
)

const (
	packet    = 1500                 // bytes
	minBurst  = 2 * packet           // bytes
	burstTime = time.Millisecond     // of the rate
	catchUp   = 5 * time.Millisecond // of the rate

	// maxRate is the largest rate in bytes per second, 8 Tbit/s, at which all sums
	// fit 64 bits. Larger ones are not paced.
	maxRate = 1e12

	// second is the number of units of credit in a byte: with nanosecond time and a
	// rate in bytes per second, credit grows by exactly rate units a nanosecond, and
	// nothing is ever rounded.
	second = 1e9

	maxDebt = math.MaxInt64 / 2
)

// A Pacer is a token bucket. The caller may send while Delay is 0, and reports with
// Sent what it sent; the pacer starts no timer and reads no clock.
//
// After an idle time at most max(2 packets of 1500 bytes, 1 ms at the rate) leave at
// once. A caller that had used up its credit and comes later than Ready may catch up
// at most 5 ms at the rate, so that a timer of 1 ms granularity costs no throughput.
// One packet or run larger than what is left is allowed, and is paid for by a longer
// wait.
//
// The zero Pacer does not pace. A Pacer is used by one goroutine at a time.
type Pacer struct {
	rate    uint64    // bytes per second; 0 is unpaced
	last    time.Time // when credit was brought up to date; zero before the first Sent
	credit  int64     // bytes * 1e9; sending is allowed while it is not negative
	blocked bool      // the last Sent used up the credit
}

// SetRate sets the rate in bytes per second; 0 ends pacing. What was sent and not yet
// paid for is paid at the new rate, and so is the time since the last call of Sent.
func (p *Pacer) SetRate(bytesPerSec uint64) {
	if bytesPerSec > maxRate {
		bytesPerSec = 0
	}
	if p.rate == 0 {
		*p = Pacer{}
	}
	p.rate = bytesPerSec
}

// Rate returns the rate in bytes per second; 0 is unpaced.
func (p *Pacer) Rate() uint64 { return p.rate }

// Ready returns the time from which on sending is allowed. It may be in the past. An
// unpaced or unused Pacer returns the zero Time.
func (p *Pacer) Ready() time.Time {
	if p.rate == 0 || p.last.IsZero() {
		return time.Time{}
	}
	if p.credit >= 0 {
		return p.last
	}
	wait := (uint64(-p.credit) + p.rate - 1) / p.rate
	return p.last.Add(time.Duration(wait))
}

// Delay returns how long the caller has to wait before it may send, 0 if it need
// not.
func (p *Pacer) Delay(now time.Time) time.Duration {
	return max(0, p.Ready().Sub(now))
}

// Budget returns the number of bytes that may be sent at once now, 0 if Delay is not
// 0, and math.MaxInt if there is no pacing.
func (p *Pacer) Budget(now time.Time) int {
	if p.rate == 0 {
		return math.MaxInt
	}
	credit := p.creditAt(now)
	if credit < 0 {
		return 0
	}
	return int(min(credit/second+packet, math.MaxInt))
}

// Sent takes bytes that were sent at now from the credit.
func (p *Pacer) Sent(now time.Time, bytes int) {
	if p.rate == 0 || bytes <= 0 {
		return
	}
	p.credit = p.creditAt(now)
	if p.last.IsZero() || now.After(p.last) {
		p.last = now
	}
	hi, cost := bits.Mul64(uint64(bytes), second)
	if hi != 0 || cost > maxDebt {
		cost = maxDebt
	}
	p.credit = max(p.credit-int64(cost), -maxDebt)
	p.blocked = p.credit < 0
}

// creditAt returns the credit at now.
func (p *Pacer) creditAt(now time.Time) int64 {
	limit := p.limit()
	if p.last.IsZero() {
		return limit
	}
	elapsed := now.Sub(p.last)
	if elapsed <= 0 {
		return p.credit
	}
	if p.credit >= limit {
		return limit
	}
	if uint64(elapsed) > uint64(limit-p.credit)/p.rate {
		return limit
	}
	return p.credit + int64(elapsed)*int64(p.rate)
}

// limit returns the most credit that may pile up. One packet more than that can
// leave, because the last one needs no credit left after it.
func (p *Pacer) limit() int64 {
	limit := max(int64(p.rate)*int64(burstTime), minBurst*second) - packet*second
	if p.blocked {
		// Ready passed when the credit was 0, so this much is 5 ms late.
		limit = max(limit, int64(p.rate)*int64(catchUp))
	}
	return limit
}
