package wire

import "encoding/binary"

// A LinkReport is one report of a FEEDBACK frame: what has arrived on one link of the
// session, as the receiver of that link's datagrams tells their sender.
type LinkReport struct {
	// Link is the position of the link in the handshake's lists.
	Link uint8
	// Highest is the low 32 bits of the highest packet number opened.
	Highest uint32
	// Age is how long before this report the datagram Highest was opened, in units of
	// 100 microseconds; 65535 means that or longer.
	Age uint16
	// Arrived is when the newest datagram was opened, on the receiver's monotonic clock in
	// microseconds, modulo 2^32.
	Arrived uint32
	// Bytes is the size of all datagrams opened on the link in this epoch, each with
	// DatagramOverhead, modulo 2^32.
	Bytes uint32
	// HasDelay says that Delay and Low are set: DATA frames have come since the link was
	// last reported.
	HasDelay bool
	// Delay is the receiver's clock less DATA.Time for the newest DATA frame that was no
	// repair, and Low the lowest such difference since the last report, in units of 100
	// microseconds, modulo 2^16.
	Delay, Low uint16
	// Runs are lengths of runs of packet numbers, from Highest downwards: opened, missing,
	// opened, and so on. What is below the last run is not reported on.
	Runs [MaxRuns]uint32
	// NumRuns is how many of Runs there are, an odd number.
	NumRuns int
}

const (
	// MaxRuns is the most runs that a report has.
	MaxRuns = 31
	// DatagramOverhead is what a datagram is taken to need on a line beyond its own
	// bytes: IPv4, UDP and Ethernet with preamble and gap.
	DatagramOverhead = 66

	reportSize  = 16
	delaySize   = 4
	reportRuns  = 0x1f
	reportDelay = 0x80

	// MaxLinkReport is the most bytes that AppendLinkReport appends.
	MaxLinkReport = reportSize + delaySize + 5*MaxRuns
)

// AppendLinkReport appends r to b, the body of a FEEDBACK frame.
func AppendLinkReport(b []byte, r *LinkReport) []byte {
	shape := uint8(r.NumRuns) & reportRuns
	if r.HasDelay {
		shape |= reportDelay
	}
	b = append(b, r.Link, shape)
	b = binary.BigEndian.AppendUint32(b, r.Highest)
	b = binary.BigEndian.AppendUint16(b, r.Age)
	b = binary.BigEndian.AppendUint32(b, r.Arrived)
	b = binary.BigEndian.AppendUint32(b, r.Bytes)
	if r.HasDelay {
		b = binary.BigEndian.AppendUint16(b, r.Delay)
		b = binary.BigEndian.AppendUint16(b, r.Low)
	}
	for _, n := range r.Runs[:shape&reportRuns] {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

// NextLinkReport splits the first report off the body of a FEEDBACK frame and stores it
// in r. Call it until rest is empty.
func NextLinkReport(body []byte, r *LinkReport) (rest []byte, err error) {
	if len(body) < reportSize {
		return nil, wrap("FEEDBACK", ErrLength)
	}
	shape := body[1]
	*r = LinkReport{
		Link:     body[0],
		NumRuns:  int(shape & reportRuns),
		HasDelay: shape&reportDelay != 0,
		Highest:  binary.BigEndian.Uint32(body[2:]),
		Age:      binary.BigEndian.Uint16(body[6:]),
		Arrived:  binary.BigEndian.Uint32(body[8:]),
		Bytes:    binary.BigEndian.Uint32(body[12:]),
	}
	if shape&^(reportRuns|reportDelay) != 0 || r.NumRuns%2 == 0 {
		return nil, wrap("FEEDBACK", ErrValue)
	}
	body = body[reportSize:]
	if r.HasDelay {
		if len(body) < delaySize {
			return nil, wrap("FEEDBACK", ErrLength)
		}
		r.Delay, r.Low = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
		body = body[delaySize:]
	}
	for i := range r.NumRuns {
		n, size := binary.Uvarint(body)
		// A run that is longer than it need be ends in a byte of 0.
		if size <= 0 || n > 1<<32-1 || body[size-1] == 0 {
			return nil, wrap("FEEDBACK run", ErrValue)
		}
		r.Runs[i] = uint32(n)
		body = body[size:]
	}
	return body, nil
}

// CheckFeedback reports whether the body of a FEEDBACK frame is well-formed.
func CheckFeedback(body []byte) error {
	var r LinkReport
	for first := true; first || len(body) > 0; first = false {
		var err error
		if body, err = NextLinkReport(body, &r); err != nil {
			return err
		}
	}
	return nil
}

// Hold tells the receiver of packets how long to keep them.
type Hold struct {
	// Equal says that packets with FlagHold are to be delivered not before they would have
	// been with a delay of Target: the receiver's clock less DATA.Time, in units of 100
	// microseconds, modulo 2^16.
	Equal  bool
	Target uint16
	// Repair is how long to wait for a packet that is certainly lost, because it is sent
	// again, in units of 100 microseconds.
	Repair uint16
}

const holdSize = 5

// AppendHold appends the frame h.
func AppendHold(b []byte, h Hold) []byte {
	b = appendFrameHeader(b, TypeHold, holdSize)
	var flags uint8
	if h.Equal {
		flags = 1
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint16(b, h.Target)
	return binary.BigEndian.AppendUint16(b, h.Repair)
}

// ParseHold parses the body of a HOLD frame.
func ParseHold(body []byte) (Hold, error) {
	if len(body) != holdSize {
		return Hold{}, wrap("HOLD", ErrLength)
	}
	if body[0] > 1 {
		return Hold{}, wrap("HOLD", ErrValue)
	}
	return Hold{
		Equal:  body[0] == 1,
		Target: binary.BigEndian.Uint16(body[1:]),
		Repair: binary.BigEndian.Uint16(body[3:]),
	}, nil
}
