package tcpmodel

import "time"

// rateSampler measures how fast data is delivered
// (draft-cheng-iccrg-delivery-rate-estimation-00, Linux's tcp_rate.c).
type rateSampler struct {
	delivered   uint64        // segments delivered so far
	deliveredAt time.Duration // when the last was
	firstSent   time.Duration // when the segment was sent that was delivered last
	limitedTo   uint64        // samples are limited by the source until so many are delivered; 0 is none
	segmentSent time.Duration // of the most recently sent segment in this acknowledgement
	segment     uint64
	current     rateSample
}

// A rateSample is what one acknowledgement says.
type rateSample struct {
	priorDelivered uint64        // rateSampler.delivered when the segment was sent
	priorAt        time.Duration // and its time
	interval       time.Duration // that the deliveries took; not positive if the sample is void
	delivered      int           // segments in that interval
	acked          int           // segments delivered by this acknowledgement
	losses         int           // segments marked lost by it
	priorInFlight  int
	rtt            time.Duration // of the last segment acknowledged; negative if unknown
	valid          bool          // priorDelivered is set
	limitedBySrc   bool
	ackDelayed     bool // one full segment after a pause: likely a delayed acknowledgement
}

// sent records the delivery state in a segment that is sent now.
func (r *rateSampler) sent(now time.Duration, s *txSegment, packetsOut int) {
	if packetsOut == 0 {
		r.firstSent, r.deliveredAt = now, now
	}
	s.firstSent, s.deliveredAt, s.delivered = r.firstSent, r.deliveredAt, r.delivered
	s.flags &^= limitedBySrc
	if r.limitedTo != 0 {
		s.flags |= limitedBySrc
	}
}

// take accounts for a delivered segment.
func (r *rateSampler) take(n uint64, s *txSegment) {
	if s.deliveredAt == never {
		return // counted when it was selectively acknowledged
	}
	c := &r.current
	if !c.valid || s.sentAt > r.segmentSent || s.sentAt == r.segmentSent && n > r.segment {
		c.valid = true
		c.priorDelivered, c.priorAt = s.delivered, s.deliveredAt
		c.limitedBySrc = s.flags&limitedBySrc != 0
		c.interval = s.sentAt - s.firstSent
		r.segmentSent, r.segment = s.sentAt, n
		r.firstSent = s.sentAt
	}
	s.deliveredAt = never
}

// finish completes the sample of an acknowledgement.
func (r *rateSampler) finish(now time.Duration, acked, losses int, minRTT time.Duration) *rateSample {
	c := &r.current
	if r.limitedTo != 0 && r.delivered > r.limitedTo {
		r.limitedTo = 0
	}
	if acked > 0 {
		r.deliveredAt = now
	}
	c.acked, c.losses = acked, losses
	if !c.valid {
		c.delivered, c.interval = -1, -1
		return c
	}
	c.delivered = int(r.delivered - c.priorDelivered)
	c.interval = max(c.interval, now-c.priorAt)
	if c.interval < minRTT {
		// Deliveries within less than a round trip: a burst of copies, not a rate.
		c.interval = -1
	}
	return c
}
