package simnet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/multilink-vpn/multilink/internal/tcpmodel"
)

// basePort is the port of flow 0 at both hosts; flow i has the one i above.
const basePort = 20000

// hostAddrs are the addresses of the hosts inside the tunnel, by side.
var hostAddrs = [sides]netip.Addr{
	Client: netip.AddrFrom4([4]byte{10, 42, 0, 1}),
	Server: netip.AddrFrom4([4]byte{10, 42, 0, 2}),
}

// A host is the computer behind one end: its ends of the flows, and ping.
type host struct {
	side  int
	flows []endpoint
	ping  pinger
	next  time.Duration // when it has something to do
	err   error
}

// An endpoint is a host's end of a flow.
type endpoint interface {
	// input takes a packet that is addressed to it.
	input(now time.Duration, pkt []byte) error
	// poll does what is due. emit borrows the packet.
	poll(now time.Duration, emit func(pkt []byte))
	next() time.Duration
}

func newHost(c Config, side int) *host {
	h := &host{side: side, ping: newPinger(c, side)}
	mtu := c.Tunnel.MTU
	if mtu == 0 {
		mtu = DefaultMTU
	}
	for i, f := range c.Flows {
		local := netip.AddrPortFrom(hostAddrs[side], uint16(basePort+i))
		remote := netip.AddrPortFrom(hostAddrs[1-side], uint16(basePort+i))
		sending := f.Direction.sender() == side
		var e endpoint
		switch {
		case f.Kind == UDP && sending:
			e = newUDPSender(f, local, remote)
		case f.Kind == UDP:
			e = &udpReceiver{log: newArrivalLog(c)}
		case sending:
			e = newTCPSender(c, f, i, mtu, local, remote)
		default:
			e = newTCPReceiver(c, mtu, local, remote)
		}
		h.flows = append(h.flows, e)
	}
	h.schedule()
	return h
}

// deliver takes a packet out of the tunnel.
func (h *host) deliver(now time.Duration, pkt []byte) {
	h.next = now
	if h.err == nil {
		h.err = h.dispatch(now, pkt)
	}
}

func (h *host) dispatch(now time.Duration, pkt []byte) error {
	if len(pkt) < 28 || pkt[0] != 0x45 || pkt[19] != hostAddrs[h.side].As4()[3] {
		return fmt.Errorf("at %v the tunnel delivers %d bytes that are no packet for this host", now, len(pkt))
	}
	if pkt[9] == protoICMP {
		return h.ping.input(now, pkt)
	}
	i := int(binary.BigEndian.Uint16(pkt[22:])) - basePort
	if i < 0 || i >= len(h.flows) {
		return fmt.Errorf("at %v the tunnel delivers a packet for port %d, which nobody sent", now, i+basePort)
	}
	if err := h.flows[i].input(now, pkt); err != nil {
		return fmt.Errorf("at %v flow %d: %w", now, i, err)
	}
	return nil
}

// work does what is due.
func (h *host) work(now time.Duration, n *Network) {
	emit := func(pkt []byte) { n.Ingress(now, h.side, pkt) }
	h.ping.poll(now, emit)
	for _, f := range h.flows {
		if f.next() <= now {
			f.poll(now, emit)
		}
	}
	h.schedule()
}

func (h *host) schedule() {
	h.next = h.ping.next()
	for _, f := range h.flows {
		h.next = min(h.next, f.next())
	}
}

// tcpSender is the end of a TCP flow that has the data.
type tcpSender struct {
	*tcpmodel.Sender
	start         time.Duration
	started       bool
	inbox         []tcpmodel.Segment
	local, remote netip.AddrPort
	buf           []byte
}

func newTCPSender(c Config, f Flow, i, mtu int, local, remote netip.AddrPort) *tcpSender {
	return &tcpSender{
		Sender: tcpmodel.NewSender(tcpmodel.Config{
			Control: f.Control,
			MSS:     mtu - tcpmodel.Overhead,
			Bytes:   f.Bytes,
			Seed:    c.Seed + uint64(i),
		}),
		start: f.Start,
		local: local, remote: remote,
	}
}

func (t *tcpSender) input(_ time.Duration, pkt []byte) (err error) {
	t.inbox, err = appendSegment(t.inbox, pkt)
	return err
}

// appendSegment queues a segment: it is worked off in poll, when packets may be sent.
func appendSegment(inbox []tcpmodel.Segment, pkt []byte) ([]tcpmodel.Segment, error) {
	_, _, seg, err := tcpmodel.ParsePacket(pkt)
	if err != nil {
		return inbox, err
	}
	return append(inbox, seg), nil
}

func (t *tcpSender) poll(now time.Duration, emit func(pkt []byte)) {
	if !t.started {
		t.started = true
		t.Connect(now)
	}
	send := func(s *tcpmodel.Segment) {
		t.buf = tcpmodel.AppendPacket(t.buf[:0], t.local, t.remote, s)
		emit(t.buf)
	}
	for i := range t.inbox {
		t.Input(now, &t.inbox[i])
		t.Poll(now, send) // each acknowledgement clocks out its own
	}
	t.inbox = t.inbox[:0]
	t.Poll(now, send)
}

func (t *tcpSender) next() time.Duration {
	switch {
	case !t.started:
		return t.start
	case len(t.inbox) > 0:
		return 0
	}
	return t.Next()
}

// tcpReceiver is the end of a TCP flow that gets the data.
type tcpReceiver struct {
	*tcpmodel.Receiver
	log           arrivalLog
	inbox         []tcpmodel.Segment
	local, remote netip.AddrPort
	buf           []byte
}

func newTCPReceiver(c Config, mtu int, local, remote netip.AddrPort) *tcpReceiver {
	return &tcpReceiver{
		Receiver: tcpmodel.NewReceiver(tcpmodel.ReceiverConfig{MSS: mtu - tcpmodel.Overhead, MaxWindow: 32 << 20}),
		log:      newArrivalLog(c),
		local:    local, remote: remote,
	}
}

func (t *tcpReceiver) input(_ time.Duration, pkt []byte) (err error) {
	t.inbox, err = appendSegment(t.inbox, pkt)
	return err
}

func (t *tcpReceiver) poll(now time.Duration, emit func(pkt []byte)) {
	send := func(s *tcpmodel.Segment) {
		t.buf = tcpmodel.AppendPacket(t.buf[:0], t.local, t.remote, s)
		emit(t.buf)
	}
	before := t.Stats().Bytes
	for i := range t.inbox {
		t.Input(now, &t.inbox[i])
		t.Poll(now, send)
	}
	t.inbox = t.inbox[:0]
	t.Poll(now, send)
	t.log.note(now, t.Stats().Bytes-before)
}

func (t *tcpReceiver) next() time.Duration {
	if len(t.inbox) > 0 {
		return 0
	}
	return t.Next()
}
