package mlvpn

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/prefix"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/reorder"
)

// The receiver is one goroutine. A datagram passes, in this order: find (the path, by
// the receiver index in its header), open (authenticated, replays dropped), dispatch
// (control messages to the sender, packets through the reorder buffer), deliver (to
// the device). Nothing is believed before open.
type receiver struct {
	e    *engine
	done chan struct{} // closed when the receiver has ended

	box     mailbox[func(now time.Time)]
	batches chan *portBatch

	paths  map[uint32]inboundSlot  // by our receiver index
	macKey [32]byte                // of INITs to this end; constant once running
	door   *doorkeeper             // on a server; constant
	timers timers[*epoch]          // epochs that hold packets
	hosts  map[netip.Addr]*Session // inner hosts and where they were seen last
	owners prefix.Table[*account]  // inner prefixes of clients that are known by key
	held   pool
	out    [][]byte // packets to deliver, each behind tun.Headroom bytes
	outBuf [][]byte // the buffers they lie in
	tell   []senderMsg
	calls  []func(now time.Time)
	busy   []*epoch // that the present batch has brought datagrams of
	in     inbound
	legacy *legacyReceiver // of a Legacy, else nil; constant
	count  receiverCounters
}

// maxHandshakes bounds the handshake datagrams that wait for the sender.
const maxHandshakes = 64

func (r *receiver) init(e *engine) {
	r.e = e
	r.done = make(chan struct{})
	r.box = newMailbox[func(time.Time)]()
	r.batches = make(chan *portBatch)
	r.paths = make(map[uint32]inboundSlot)
	r.held.size = e.bufs
	r.hosts = make(map[netip.Addr]*Session)
}

func (r *receiver) run(ctx context.Context) {
	defer close(r.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var b *portBatch
		select {
		case b = <-r.batches:
		case <-r.box.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		next := r.turn(time.Now(), b)
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// turn does all that is due at now, and deals with a batch of datagrams if there is
// one. It returns when it wants to be called again; the zero Time means not before
// something happens.
func (r *receiver) turn(now time.Time, b *portBatch) (next time.Time) {
	// What the sender has installed must be known before a packet that answers it.
	r.calls = r.box.take(r.calls)
	for _, call := range r.calls {
		call(now)
	}
	if b != nil {
		r.process(now, b)
		b.free <- b
	}
	for {
		ep, ok := r.timers.due(now)
		if !ok {
			break
		}
		r.report(now, ep)
		r.release(now, ep)
	}
	r.deliver()
	r.e.sender.box.putAll(r.tell)
	if r.e.bridge != nil && r.e.bridge.waiting() {
		r.e.sender.box.signal()
	}
	clear(r.tell)
	r.tell = r.tell[:0]
	next, _ = r.timers.next()
	return next
}

// install lets the packets of an epoch in.
func (r *receiver) install(ep *epoch) {
	ep.rx.buffer = reorder.New[heldPacket](r.e.cfg.Reorder)
	r.accept(ep, ep.tx.keys)
}

// remove forgets an epoch, its keys included: the sender has done so before. What it
// holds is delivered: it is authentic, and its holes will not be filled any more.
func (r *receiver) remove(now time.Time, ep *epoch, all []*keys) {
	for _, k := range all {
		r.retire(k)
	}
	r.timers.remove(ep)
	ep.rx.buffer.Flush()
	r.drain(now, ep)
}

const (
	// restAfter is how long others bring packets and a path does not before the reorder
	// buffer stops waiting for it.
	restAfter = time.Second
	// maxPause is the longest pause between packets that counts as traffic.
	maxPause = 50 * time.Millisecond
)

// expect tells the reorder buffer which paths packets may come by. A path that is new
// or has come back is expected to bring some: its first datagram is a probe, which
// precedes them. One that brings none while others do, such as a fallback, is not
// waited for until it does.
func (r *receiver) expect(now time.Time, p *pathState) {
	e := &p.epoch.rx
	brings := len(r.in.packets) > 0
	if brings {
		e.busy += min(now.Sub(e.last), maxPause)
		e.last = now
	}
	if brings || !p.rx.known {
		p.rx.brought, p.rx.known = e.busy, true
		if !p.rx.active {
			p.rx.active = true
			e.buffer.SetLink(p.link, true)
		}
	}
	if e.busy-e.swept < restAfter/4 {
		return
	}
	e.swept = e.busy
	for _, x := range p.epoch.rx.paths {
		if x != nil && x.rx.active && e.busy-x.rx.brought >= restAfter {
			x.rx.active = false
			e.buffer.SetLink(x.link, false)
		}
	}
}

// linkDown is told that the sender takes a path for dead: the reorder buffer must not
// wait for it.
func (r *receiver) linkDown(p *pathState) {
	p.rx.active, p.rx.known = false, false
	p.epoch.rx.buffer.SetLink(p.link, false)
}

// process deals with the datagrams of one batch.
func (r *receiver) process(now time.Time, b *portBatch) {
	stamp := r.e.stamp(now)
	for i := range b.n {
		if r.legacy != nil {
			r.legacy.arrived(now, stamp, b, i)
			continue
		}
		datagram := b.bufs[i][:b.sizes[i]]
		index, _, ok := wire.ParseHeader(datagram)
		if !ok {
			r.count.malformed++
			continue
		}
		if index == 0 {
			r.handshake(now, datagram, b.port, b.from[i])
			continue
		}
		slot, ok := r.paths[index]
		if !ok {
			r.count.unknown++
			continue
		}
		p := r.open(&slot, datagram)
		if p == nil {
			continue
		}
		r.accepted(now, stamp, p, slot.keys, b, i)
	}
}

// accepted deals with the datagram at position i of a batch, which has been opened under
// keys k, or none in MLVPN's protocol. r.in is what it carries.
func (r *receiver) accepted(now time.Time, stamp uint16, p *pathState, k *inboundKeys, b *portBatch, i int) {
	p.rx.count.datagrams++
	p.rx.count.bytes += uint64(b.sizes[i])
	p.rx.rate.Add(now, b.sizes[i])
	r.record(now, stamp, p, b.sizes[i])
	p.rx.last = now
	if b.port.from != nil {
		b.port.proven.Store(true)
	}
	r.expect(now, p)
	told := r.origin(now, p, b.port, b.from[i], b.sizes[i])
	if k != nil && !k.proved {
		k.proved = true
		r.tell = append(r.tell, senderMsg{kind: msgProved, path: p, keys: k.keys, at: now})
	}
	if r.in.has != 0 {
		m := senderMsg{path: p, at: now, port: b.port, addr: b.from[i], newest: r.in.newest}
		if !told {
			m.size = b.sizes[i]
		}
		r.dispatch(p, m)
	}
	if r.packets(now, stamp, p, b.bufs[i]) {
		b.bufs[i] = r.held.get()
	}
	for _, ep := range r.busy {
		ep.rx.reporting.busy = false
		r.report(now, ep)
		r.schedule(now, ep)
	}
	clear(r.busy)
	r.busy = r.busy[:0]
}

// handshake passes a handshake datagram on to the sender, if it has a mac1 that only
// somebody who knows this end can have made.
func (r *receiver) handshake(now time.Time, datagram []byte, on *port, from link.Addr) {
	kind, mode, ok := wire.HandshakeType(datagram)
	switch {
	case !ok, (kind == wire.KindInit) != (r.e.expects == wire.KindInit), kind != wire.KindInit && mode != r.e.cfg.mode():
		r.count.malformed++
		return
	case kind == wire.KindInit:
		m, covered, err := wire.ParseInit(datagram)
		switch {
		case err != nil:
			r.count.malformed++
			return
		case mode != r.e.cfg.mode():
			r.refuse(now, on, from, "one end has a password and the other keys")
			return
		case !crypto.VerifyMAC1(r.macKey, covered, m.MAC1):
			r.refuse(now, on, from, "the sender has another password or another server key")
			return
		}
		switch r.door.judge(now, &m, covered, on, from) {
		case unproved:
			r.retry(now, &m, covered, on, from)
			return
		case tooMany:
			r.count.flooded++
			return
		}
	}
	if r.e.handshakes.Load() >= maxHandshakes {
		r.count.flooded++
		return
	}
	r.e.handshakes.Add(1)
	r.tell = append(r.tell, senderMsg{kind: msgHandshake, at: now, port: on, addr: from, data: slices.Clone(datagram)})
}

// refuse counts a handshake with a wrong key and logs it, at most once a minute.
func (r *receiver) refuse(now time.Time, on *port, from link.Addr, why string) {
	r.count.badMAC++
	if !r.count.refusedLog.IsZero() && now.Sub(r.count.refusedLog) < time.Minute {
		return
	}
	r.count.refusedLog = now
	r.e.log.Warn("refused a handshake: "+why, "link", on.cfg.Name, "from", from, "refused so far", r.count.badMAC)
}

// open authenticates a datagram, stores what it carries in r.in and returns the path
// that it came by, or nil.
func (r *receiver) open(slot *inboundSlot, datagram []byte) *pathState {
	p := slot.epoch.rx.paths[slot.link]
	if p == nil && r.e.expects != wire.KindInit {
		r.count.unknown++ // a client uses its links before the server does
		return nil
	}
	o, err := r.opener(slot)
	if err == nil {
		err = o.open(datagram, &r.in)
	}
	switch {
	case err == nil:
		if p == nil {
			p = &pathState{epoch: slot.epoch, link: slot.link}
			slot.epoch.rx.paths[slot.link] = p
		}
		p.rx.open = o
		p.rx.count.skipped += uint64(r.in.skipped)
		if r.in.malformed {
			r.count.malformed++
		}
		return p
	case errors.Is(err, crypto.ErrReplay):
		r.count.replayed++
		if p != nil {
			p.rx.count.replayed++
		}
	default:
		r.count.unauthentic++
		if p != nil {
			p.rx.count.unauthentic++
		}
	}
	return nil
}

// origin tells the sender where a path's authentic packets come from. Only the newest
// packet may move a path, so that reordered ones do not move it back.
func (r *receiver) origin(now time.Time, p *pathState, on *port, from link.Addr, size int) (told bool) {
	if !r.in.newest || p.rx.port == on && p.rx.addr == from {
		return false
	}
	p.rx.port, p.rx.addr = on, from
	r.tell = append(r.tell, senderMsg{kind: msgHeard, path: p, port: on, addr: from, at: now, size: size, newest: true})
	return true
}

const (
	// maxControlRate is how many datagrams with control messages a path may bring in a
	// second, and maxControlBurst at once. What they ask for in others is dropped: a peer
	// with a valid key must not keep the sender busy.
	maxControlRate  = 256
	maxControlBurst = 64
)

// allowControl reports whether a path may bring control messages now.
func (p *pathReceiver) allowControl(now time.Time) bool {
	const gap = time.Second / maxControlRate
	if p.busy.Before(now) {
		p.busy = now
	}
	if p.busy.Sub(now) > (maxControlBurst-1)*gap {
		return false
	}
	p.busy = p.busy.Add(gap)
	return true
}

// dispatch passes control messages on to the sender. What m says already is true of all.
func (r *receiver) dispatch(p *pathState, m senderMsg) {
	in := &r.in.control
	if in.has&^hasClose != 0 && !p.rx.allowControl(m.at) {
		p.rx.count.excess++
		in.has &= hasClose
	}
	if in.has&hasChallenge != 0 {
		m.kind, m.proof = msgChallenge, in.challenge
		r.tell = append(r.tell, m)
		m.size = 0
	}
	if in.has&hasResponse != 0 {
		m.kind, m.proof = msgResponse, in.response
		r.tell = append(r.tell, m)
		m.size = 0
	}
	if in.has&hasFeedback != 0 {
		m.kind, m.body = msgFeedback, r.e.bodies.get()
		*m.body = append((*m.body)[:0], in.feedback...)
		r.tell = append(r.tell, m)
		m.body = nil
	}
	if in.has&hasHold != 0 {
		r.hold(m.at, p.epoch, in.hold)
	}
	if in.has&hasInfo != 0 {
		m.kind, m.info = msgInfo, in.info
		r.tell = append(r.tell, m)
		m.size = 0
	}
	if in.has&hasPing != 0 {
		m.kind, m.ping = msgPing, in.ping
		m.received, m.highest = p.rx.open.received()
		r.tell = append(r.tell, m)
		m.size = 0
	}
	if in.has&hasPong != 0 {
		m.kind, m.pong = msgPong, in.pong
		r.tell = append(r.tell, m)
		m.size = 0
	}
	if in.has&hasRekey != 0 {
		m.kind, m.rekey = msgRekey, in.rekey
		m.rekey.Noise = slices.Clone(in.rekey.Noise)
		r.tell = append(r.tell, m)
		m.size = 0
	}
	if in.has&hasLegacy != 0 {
		m.kind, m.legacy = msgLegacy, in.legacy
		m.received, m.highest = in.received, in.highest
		r.tell = append(r.tell, m)
	}
	if in.has&hasClose != 0 {
		m.kind, m.closing = msgClose, in.closing
		r.tell = append(r.tell, m)
	}
}
