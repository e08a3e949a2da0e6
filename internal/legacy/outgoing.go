package legacy

import "time"

// echoFor is how long the peer's timestamp may be sent back.
const echoFor = time.Second

// maxSample is the longest round trip that is believed.
const maxSample = 5 * time.Second

// Outgoing numbers and stamps what one link sends.
type Outgoing struct {
	flowID  uint32
	seq     uint64
	echo    uint16
	echoAt  time.Time // when echo came, zero when it has been used
	dataSeq *DataSeq
}

// DataSeq numbers the data of all links.
type DataSeq struct {
	next uint64
}

// Expand returns the number of the packet that a session counts as stamp, which has that
// many bits. Copies of a packet have the same.
func (d *DataSeq) Expand(stamp uint32, bits int) uint64 {
	shift := 32 - bits
	ahead := int32(stamp<<shift-uint32(d.next)<<shift) >> shift
	n := d.next + uint64(int64(ahead))
	d.next = n + 1
	return n
}

// NewOutgoing returns the numbering of a link. The flow ID is random. The first sequence
// number is that of nanoseconds since 1970, so that a nonce is not used again after a
// restart, should the flow ID be; the C daemon takes a leap ahead for a new connection.
func NewOutgoing(now time.Time, flowID uint32, data *DataSeq) *Outgoing {
	return &Outgoing{flowID: flowID, seq: uint64(now.UnixNano()), dataSeq: data}
}

// FlowID returns the link's flow ID.
func (o *Outgoing) FlowID() uint32 { return o.flowID }

// Next returns the header of the next packet.
func (o *Outgoing) Next(now time.Time, t Type) Header {
	h := Header{
		Version:        1,
		Type:           t,
		Reorder:        true,
		Timestamp:      timestamp(now),
		TimestampReply: NoTimestamp,
		FlowID:         o.flowID,
		Seq:            o.seq,
	}
	o.seq++
	if held := now.Sub(o.echoAt); !o.echoAt.IsZero() && held < echoFor {
		h.TimestampReply = o.echo + uint16(held/time.Millisecond)
		o.echoAt = time.Time{}
	}
	return h
}

// Control appends to dst a packet of any type but Data.
func (o *Outgoing) Control(dst []byte, now time.Time, c *Codec, t Type) []byte {
	h := o.Next(now, t)
	return c.Seal(dst, &h, t.payload())
}

// Data appends to dst a packet of type Data. stamp is as for DataSeq.Expand.
func (o *Outgoing) Data(dst []byte, now time.Time, c *Codec, stamp uint32, bits int, body []byte) []byte {
	h := o.Next(now, Data)
	h.DataSeq = o.dataSeq.Expand(stamp, bits)
	return c.Seal(dst, &h, body)
}

// Heard notes the timestamp of an authentic packet that came at a time, to send it back.
func (o *Outgoing) Heard(at time.Time, timestamp uint16) {
	if timestamp != NoTimestamp {
		o.echo, o.echoAt = timestamp, at
	}
}

// timestamp returns the value of Header.Timestamp at a time.
func timestamp(now time.Time) uint16 {
	ms := uint16(now.UnixMilli())
	if ms == NoTimestamp {
		return 0
	}
	return ms
}

// RTT returns the round trip that a packet which came at a time tells of.
func (h *Header) RTT(at time.Time) (time.Duration, bool) {
	if h.TimestampReply == NoTimestamp {
		return 0, false
	}
	rtt := time.Duration(timestamp(at)-h.TimestampReply) * time.Millisecond
	return rtt, rtt < maxSample
}
