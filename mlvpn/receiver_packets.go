package mlvpn

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/flow"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/reorder"
	"github.com/multilink-vpn/multilink/tun"
)

// packets deals with the inner packets of a datagram that lies in buf. It reports
// whether buf was kept, to be used again when the packet in it is delivered.
func (r *receiver) packets(now time.Time, stamp uint16, p *pathState, buf []byte) (kept bool) {
	for i := range r.in.packets {
		in := &r.in.packets[i]
		h := heldPacket{buf, in.start, in.end}
		if last := i == len(r.in.packets)-1; !last {
			// Only one packet can keep the buffer: the others get one of their own.
			own := r.held.get()
			h = heldPacket{own, tun.Headroom, tun.Headroom + copy(own[tun.Headroom:], in.Payload)}
			if !r.packet(now, stamp, p, in, h) {
				r.held.put(own)
			}
			continue
		}
		kept = r.packet(now, stamp, p, in, h)
	}
	return kept
}

// packet delivers one inner packet, at once or in its turn, and reports whether it
// kept h.buf.
func (r *receiver) packet(now time.Time, stamp uint16, p *pathState, in *inboundPacket, h heldPacket) bool {
	ep := p.epoch
	b := ep.rx.buffer
	info, ok := flow.Parse(h.buf[h.start:h.end], r.e.cfg.Ethernet)
	q := reorder.Packet{
		Order:    in.Order,
		Stamp:    in.Stamp,
		Link:     p.link,
		Delay:    ep.rx.clock.delay(stamp, in.Time),
		Hold:     in.Flags&wire.FlagHold != 0,
		Repaired: in.Flags&wire.FlagRepair != 0,
	}
	verdict := reorder.Next
	switch {
	case !r.admit(p, &info, ok, h.end-h.start):
		b.Seen(now, p.link, in.Stamp, q.Delay)
		return false
	case ep.rx.oneOrder && in.Flags&wire.FlagOrdered != 0:
		// The C daemon counts everything in one order, which has no place for exceptions.
		verdict = b.Push(now, q, h)
	case ok && in.Flags&wire.FlagOrdered != 0:
		q.Flow = flow.Bucket(info.Hash(ep.rx.seed), flowBuckets)
		verdict = b.Push(now, q, h)
	case ep.rx.oneOrder:
		b.Seen(now, p.link, in.Stamp, q.Delay)
	case !ep.rx.seen.first(in.Stamp):
		verdict = reorder.Duplicate
	case q.Hold:
		verdict = b.Delay(now, q, h)
	case !q.Repaired:
		b.Seen(now, p.link, in.Stamp, q.Delay)
	}
	if verdict == reorder.Next || verdict == reorder.Late {
		r.queueOut(now, ep, h)
	}
	r.release(now, ep)
	return verdict != reorder.Duplicate
}

// drain queues what the reorder buffer lets go.
func (r *receiver) drain(now time.Time, ep *epoch) {
	for h, ok := ep.rx.buffer.Pop(now); ok; h, ok = ep.rx.buffer.Pop(now) {
		r.queueOut(now, ep, h)
	}
}

// release does so and sets the timer for the rest.
func (r *receiver) release(now time.Time, ep *epoch) {
	r.drain(now, ep)
	r.schedule(now, ep)
}

// schedule sets the epoch's timer to its earliest deadline.
func (r *receiver) schedule(now time.Time, ep *epoch) {
	at, _ := ep.rx.buffer.NextDeadline()
	if report := ep.rx.reporting.at(); at.IsZero() || !report.IsZero() && report.Before(at) {
		at = report
	}
	r.timers.set(ep, at)
}

// queueOut puts a packet on the list for the device, unless it is for other clients.
func (r *receiver) queueOut(now time.Time, ep *epoch, h heldPacket) {
	if r.bridged(now, ep.session, &h) {
		return
	}
	r.out = append(r.out, h.buf[h.start-tun.Headroom:h.end])
	r.outBuf = append(r.outBuf, h.buf)
	if len(r.out) == deliverBatch {
		r.deliver()
	}
}

// deliverBatch is how many packets are written to the device at once.
const deliverBatch = 128

// deliver writes the queued packets to the device.
func (r *receiver) deliver() {
	if len(r.out) == 0 {
		return
	}
	if _, err := r.e.cfg.Device.Write(r.out, tun.Headroom); err != nil {
		r.count.deviceErrors += uint64(len(r.out))
	} else {
		r.count.delivered += uint64(len(r.out))
	}
	for i, buf := range r.outBuf {
		r.held.put(buf)
		r.outBuf[i], r.out[i] = nil, nil
	}
	r.out, r.outBuf = r.out[:0], r.outBuf[:0]
}
