package mlvpn

import (
	"errors"
	"time"

	"github.com/multilink-vpn/multilink/internal/legacy"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/reorder"
	"github.com/multilink-vpn/multilink/tun"
)

// legacySealer seals packets of MLVPN's protocol (package legacy).
type legacySealer struct {
	sender *sender
	codec  *legacy.Codec
	out    *legacy.Outgoing
	link   *legacy.Link // nil before the path has joined
	reply  legacy.Type  // what hasPong stands for
}

// stampBits is the length of wire.Data.Stamp.
const stampBits = 24

func (s *legacySealer) sealData(dst []byte, d wire.Data, buf, _ []byte) ([]byte, error) {
	return s.out.Data(dst, s.sender.now, s.codec, d.Stamp, stampBits, buf[tun.Headroom:]), nil
}

// sealControl appends nothing if there is no such message, or no occasion for it.
func (s *legacySealer) sealControl(dst []byte, c *control) ([]byte, error) {
	t, ok := s.reply, true
	switch {
	case c.has&hasClose != 0, c.has&hasInfo != 0 && c.info.Tier == wire.TierNone:
		t, ok = legacy.Disconnect, s.link.Up()
	case c.has&hasPong != 0:
	case c.has&hasPing != 0:
		t, ok = s.link.Probe(s.sender.now)
	default:
		ok = false
	}
	if !ok {
		return dst, nil
	}
	return s.out.Control(dst, s.sender.now, s.codec, t), nil
}

func (s *legacySealer) worn(uint64) bool { return false }

// legacyReceiver opens packets of MLVPN's protocol.
type legacyReceiver struct {
	l       *Legacy
	ports   map[*port]*legacyPath
	own     map[uint32]bool // flow IDs of this end
	scratch []byte
	based   bool
	base    uint64 // number of the first packet that came in order
}

// legacyPath is what arrives on one link.
type legacyPath struct {
	path     *pathState
	in       legacy.Incoming
	from     link.Addr // the peer, as far as is known
	recalled time.Time // when the peer was last told to call
	told     uint16    // the timestamp that the sender was told last
}

func (x *legacyReceiver) init(l *Legacy) {
	x.l = l
	x.ports = make(map[*port]*legacyPath)
	x.own = make(map[uint32]bool)
	l.epoch.rx.buffer = reorder.New[heldPacket](l.e.cfg.Reorder)
}

func (x *legacyReceiver) add(on *port, p *pathState, flowID uint32) {
	x.own[flowID] = true
	x.l.epoch.rx.paths[p.link] = p
	x.ports[on] = &legacyPath{path: p, in: legacy.Incoming{Own: func(id uint32) bool { return x.own[id] }}}
}

// arrived deals with the datagram at position i of a batch. It stands in for what
// receiver.process does to find a path, and open.
func (x *legacyReceiver) arrived(now time.Time, stamp uint16, b *portBatch, i int) {
	r, from, datagram := &x.l.e.receiver, b.from[i], b.bufs[i][:b.sizes[i]]
	p := x.ports[b.port]
	if p == nil {
		r.count.unknown++ // of a link that has been removed
		return
	}
	h, body, err := x.l.codec.Open(x.scratch[:0], datagram)
	switch {
	case errors.Is(err, legacy.ErrMalformed):
		r.count.malformed++
		return
	case err != nil:
		r.count.unauthentic++
		p.path.rx.count.unauthentic++
		if h.Type == legacy.Auth || h.Type == legacy.AuthOK {
			r.refuse(now, b.port, from, "the sender has another password")
		}
		return
	}
	x.scratch = body
	r.in.has, r.in.packets, r.in.skipped, r.in.malformed, r.in.newest = 0, r.in.packets[:0], 0, false, false
	if x.l.codec.ClearData && h.Type == legacy.Data {
		if err = legacy.ErrOther; from == p.from {
			err = p.in.AcceptClear(&h)
		}
	} else {
		err = x.accept(now, p, &h, from)
	}
	if err != nil {
		r.count.replayed++
		p.path.rx.count.replayed++
		if err == legacy.ErrOther && h.Type == legacy.KeepAlive {
			x.recall(now, p, b.port, from)
		}
		return
	}
	if h.Type == legacy.Data && len(body) > 0 {
		x.data(&h, copy(datagram[legacy.HeaderSize:], body))
	}
	r.accepted(now, stamp, p.path, nil, b, i)
}

// accept decides on a packet that was authentic.
func (x *legacyReceiver) accept(now time.Time, p *legacyPath, h *legacy.Header, from link.Addr) error {
	a, err := p.in.Accept(now, h)
	if err != nil {
		return err
	}
	in := &x.l.e.receiver.in
	if in.newest = a.Newest; a.Newest {
		p.from = from
	}
	if a.New {
		x.restart(now)
	}
	// Data comes too often to tell the sender of each packet's timestamps.
	const often = 100 // ms
	if h.Type != legacy.Data || h.Timestamp-p.told >= often {
		p.told = h.Timestamp
		in.has |= hasLegacy
		in.legacy = *h
		in.received, in.highest = p.in.Received()
	}
	return nil
}

// recall has the sender tell a client that it must call first, once a second at most.
func (x *legacyReceiver) recall(now time.Time, p *legacyPath, on *port, from link.Addr) {
	r := &x.l.e.receiver
	if !x.l.cfg.Server || now.Sub(p.recalled) < time.Second || r.e.handshakes.Load() >= maxHandshakes {
		return
	}
	p.recalled = now
	r.e.handshakes.Add(1)
	r.tell = append(r.tell, senderMsg{kind: msgHandshake, path: p.path, port: on, addr: from, at: now})
}

// data notes an inner packet, which lies behind the header.
func (x *legacyReceiver) data(h *legacy.Header, size int) {
	in := inboundPacket{start: legacy.HeaderSize, end: legacy.HeaderSize + size}
	in.Time = h.Timestamp * uint16(time.Millisecond/stampUnit)
	if h.Reorder {
		if !x.based {
			x.based, x.base = true, h.DataSeq
		}
		n := h.DataSeq - x.base
		in.Flags |= wire.FlagOrdered
		in.Order, in.Stamp = uint16(n), uint32(n)&wire.MaxStamp
	}
	r := &x.l.e.receiver
	r.in.packets = append(r.in.packets, in)
}

// restart is told that the peer has begun to count anew.
func (x *legacyReceiver) restart(now time.Time) {
	ep, r := x.l.epoch, &x.l.e.receiver
	ep.rx.buffer.Flush()
	r.drain(now, ep)
	ep.rx.buffer.Reset()
	ep.rx.clock = delayClock{}
	x.based = false
	for _, p := range ep.rx.paths {
		if p != nil {
			p.rx.active, p.rx.known = false, false
		}
	}
}

// number implements sealer. Nobody asks: the protocol has no reports.
func (s *legacySealer) number() uint64 { return 0 }
