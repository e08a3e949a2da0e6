package mlvpn

import (
	"errors"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/legacy"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/tun"
)

// A sealer turns what one path sends into the datagrams of a wire protocol. It
// belongs to the sender goroutine. Together with opener it is the seam at which a
// second protocol can be put in.
type sealer interface {
	// sealData appends to dst the datagram that carries an inner packet: buf is
	// tun.Headroom bytes, which may be overwritten, and the packet. d.Payload is
	// ignored. feedback, unless it is empty, is the body of a FEEDBACK frame that goes
	// along; it must fit behind the packet in buf, wire.FrameOverhead included.
	sealData(dst []byte, d wire.Data, buf, feedback []byte) ([]byte, error)

	// sealControl appends to dst a datagram with the messages of c.
	sealControl(dst []byte, c *control) ([]byte, error)

	// worn reports whether the key has protected limit packets: it is time for another.
	worn(limit uint64) bool

	// number returns the packet number of the next datagram.
	number() uint64
}

// An opener turns the datagrams that arrive on one path back into what was sent. It
// belongs to the receiver goroutine.
type opener interface {
	// open authenticates a datagram, in place, and stores what it carries in in. On
	// error the datagram must be dropped; in is then undefined.
	open(datagram []byte, in *inbound) error

	// received returns how many datagrams were opened and the highest packet number
	// among them, both modulo 2^32.
	received() (count, highest uint32)
}

// control is what a path tells its peer besides packets: any of these at once.
type control struct {
	has     controlSet
	ping    wire.Ping
	pong    wire.Pong
	info    wire.PathInfo
	closing wire.Close
	rekey   wire.Rekey // the Noise message is borrowed

	challenge, response wire.Proof
	legacy              legacy.Header
	received, highest   uint32 // for hasLegacy: see legacy.Incoming.Received
	hold                wire.Hold
	// feedback is the body of a FEEDBACK frame. In what an opener returns it is borrowed
	// from the datagram.
	feedback []byte
}

type controlSet uint16

const (
	hasPing controlSet = 1 << iota
	hasPong
	hasInfo
	hasClose
	hasRekey
	hasChallenge
	hasResponse
	hasLegacy // only ever received
	hasHold
	hasFeedback
)

// inbound is what one datagram carries.
type inbound struct {
	control
	packets   []inboundPacket
	newest    bool // no datagram with a higher number has been opened on this path
	skipped   int  // frames of unknown type
	malformed bool // a frame was malformed: it and those after it are left out
	number    uint64
}

// An inboundPacket is an inner packet that lies at datagram[start:end].
type inboundPacket struct {
	wire.Data
	start, end int
}

// ml1Sealer seals ML/1 datagrams (SPEC.md).
type ml1Sealer struct {
	index   uint32 // the receiver's
	seal    *crypto.Sealer
	scratch []byte // plaintext of control datagrams
}

func (s *ml1Sealer) sealData(dst []byte, d wire.Data, buf, feedback []byte) ([]byte, error) {
	at := tun.Headroom - wire.DataOverhead
	if len(feedback) > 0 {
		at -= wire.LengthSize
		d.Flags |= wire.FlagLength
		d.Payload = buf[tun.Headroom:]
		wire.PutData(buf[at:], &d)
		return s.append(dst, wire.AppendFrame(buf[at:], wire.TypeFeedback, feedback))
	}
	wire.PutData(buf[at:], &d)
	return s.append(dst, buf[at:])
}

func (s *ml1Sealer) sealControl(dst []byte, c *control) ([]byte, error) {
	p := s.scratch[:0]
	if c.has&hasInfo != 0 {
		p = wire.AppendPathInfo(p, c.info)
	}
	if c.has&hasPong != 0 {
		p = wire.AppendPong(p, c.pong)
	}
	if c.has&hasPing != 0 {
		p = wire.AppendPing(p, c.ping)
	}
	if c.has&hasChallenge != 0 {
		p = wire.AppendProof(p, wire.PathKindChallenge, c.challenge)
	}
	if c.has&hasResponse != 0 {
		p = wire.AppendProof(p, wire.PathKindResponse, c.response)
	}
	if c.has&hasRekey != 0 {
		p = wire.AppendRekey(p, &c.rekey)
	}
	if c.has&hasClose != 0 {
		p = wire.AppendClose(p, c.closing)
	}
	if c.has&hasHold != 0 {
		p = wire.AppendHold(p, c.hold)
	}
	if c.has&hasFeedback != 0 {
		p = wire.AppendFrame(p, wire.TypeFeedback, c.feedback)
	}
	s.scratch = p
	return s.append(dst, p)
}

func (s *ml1Sealer) worn(limit uint64) bool { return s.seal.Used() >= limit }

func (s *ml1Sealer) number() uint64 { return s.seal.Counter() }

func (s *ml1Sealer) append(dst, plaintext []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, wire.HeaderSize)...)
	header := dst[start:]
	wire.PutHeader(header, s.index, uint32(s.seal.Counter()))
	return s.seal.Seal(dst, plaintext, header)
}

// ml1Opener opens ML/1 datagrams.
type ml1Opener struct {
	opener *crypto.Opener
}

func (o *ml1Opener) open(datagram []byte, in *inbound) error {
	in.has, in.packets, in.skipped = 0, in.packets[:0], 0
	_, low, ok := wire.ParseHeader(datagram)
	if !ok {
		return wire.ErrTruncated
	}
	counter := o.opener.Expand(low)
	highest, any := o.opener.Highest()
	header, body := datagram[:wire.HeaderSize], datagram[wire.HeaderSize:]
	plaintext, err := o.opener.Open(body[:0], body, header, counter)
	if err != nil {
		return err
	}
	in.newest = !any || counter > highest
	in.number = counter
	in.malformed = in.parse(plaintext) != nil
	return nil
}

// parse reads the frames of a datagram's plaintext. On error, those before the
// malformed one stand (SPEC.md, section 4.2).
func (in *inbound) parse(plaintext []byte) error {
	for rest := plaintext; len(rest) > 0; {
		at := wire.HeaderSize + len(plaintext) - len(rest)
		var f wire.Frame
		var err error
		if f, rest, err = wire.Next(rest); err != nil {
			return err
		}
		switch f.Type {
		case wire.TypeData:
			start := at + f.Data.HeaderSize()
			in.packets = append(in.packets, inboundPacket{f.Data, start, start + len(f.Data.Payload)})
		case wire.TypePing:
			if in.ping, err = wire.ParsePing(f.Body); err == nil {
				in.has |= hasPing
			}
		case wire.TypePong:
			if in.pong, err = wire.ParsePong(f.Body); err == nil {
				in.has |= hasPong
			}
		case wire.TypeClose:
			if in.closing, err = wire.ParseClose(f.Body); err == nil {
				in.has |= hasClose
			}
		case wire.TypeRekey:
			switch in.rekey, err = wire.ParseRekey(f.Body); {
			case err == nil:
				in.has |= hasRekey
			case errors.Is(err, wire.ErrKind):
				in.skipped++
				err = nil
			}
		case wire.TypePath:
			err = in.parsePath(f.Body)
		case wire.TypeHold:
			if in.hold, err = wire.ParseHold(f.Body); err == nil {
				in.has |= hasHold
			}
		case wire.TypeFeedback:
			if err = wire.CheckFeedback(f.Body); err == nil {
				in.feedback = f.Body
				in.has |= hasFeedback
			}
		case wire.TypePad:
		default:
			in.skipped++
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parsePath reads the body of a PATH frame.
func (in *inbound) parsePath(body []byte) error {
	kind, proof, err := wire.ParseProof(body)
	switch {
	case err == nil && kind == wire.PathKindChallenge:
		in.has |= hasChallenge
		in.challenge = proof
		return nil
	case err == nil:
		in.has |= hasResponse
		in.response = proof
		return nil
	case !errors.Is(err, wire.ErrKind):
		return err
	}
	switch in.info, err = wire.ParsePathInfo(body); {
	case err == nil:
		in.has |= hasInfo
	case errors.Is(err, wire.ErrKind):
		in.skipped++
		err = nil
	}
	return err
}

func (o *ml1Opener) received() (count, highest uint32) {
	h, _ := o.opener.Highest()
	return uint32(o.opener.Received()), uint32(h)
}

// delayClock turns the 16-bit send times of DATA frames into one-way delays with a
// common, arbitrary offset. It follows the offset's drift, so that a session may last
// for any time as long as delays differ by less than 3 s.
type delayClock struct {
	last  int64 // latest delay, in stampUnits
	valid bool
}

func (c *delayClock) delay(now, sent uint16) time.Duration { return c.extend(now - sent) }

// extend does the same for a difference that somebody else has taken.
func (c *delayClock) extend(d uint16) time.Duration {
	if !c.valid {
		c.last, c.valid = int64(d), true
	}
	c.last += int64(int16(d - uint16(c.last)))
	return time.Duration(c.last) * stampUnit
}

// at does the same for a difference that is not a measurement.
func (c *delayClock) at(d uint16) time.Duration {
	return time.Duration(c.last+int64(int16(d-uint16(c.last)))) * stampUnit
}
