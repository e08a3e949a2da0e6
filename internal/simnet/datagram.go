package simnet

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"
)

const (
	protoICMP = 1
	protoUDP  = 17

	headerSize = 28 // IPv4, and UDP or ICMP echo
	stampSize  = 16 // time of sending and number
	pingSize   = 84 // ping's default
)

// putHeader fills in an IPv4 header.
func putHeader(b []byte, proto byte, src, dst netip.Addr) {
	clear(b[:20])
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	s, d := src.As4(), dst.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[10:], ^checksum(b[:20]))
}

// checksum is the sum of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// udpSender sends numbered datagrams at a constant rate.
type udpSender struct {
	pkt      []byte
	interval time.Duration
	at       time.Duration
	n        uint64
}

func newUDPSender(f Flow, local, remote netip.AddrPort) *udpSender {
	size := f.Size
	if size == 0 {
		size = 200
	}
	u := &udpSender{pkt: make([]byte, max(size, headerSize+stampSize)), at: f.Start}
	u.interval = time.Duration(float64(len(u.pkt)) / float64(max(f.Rate, 1)) * float64(time.Second))
	putHeader(u.pkt, protoUDP, local.Addr(), remote.Addr())
	udp := u.pkt[20:]
	binary.BigEndian.PutUint16(udp, local.Port())
	binary.BigEndian.PutUint16(udp[2:], remote.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	return u // without a checksum, as IPv4 allows
}

func (u *udpSender) input(time.Duration, []byte) error {
	return errors.New("a datagram came back to its sender")
}

func (u *udpSender) poll(now time.Duration, emit func(pkt []byte)) {
	for u.at <= now {
		binary.BigEndian.PutUint64(u.pkt[headerSize:], uint64(u.at))
		binary.BigEndian.PutUint64(u.pkt[headerSize+8:], u.n)
		emit(u.pkt)
		u.n++
		u.at += u.interval
	}
}

func (u *udpSender) next() time.Duration { return u.at }

// udpReceiver notes the delay of each datagram, and those out of order.
type udpReceiver struct {
	log       arrivalLog
	delays    []time.Duration
	highest   uint64
	reordered int
	received  int
}

func (u *udpReceiver) input(now time.Duration, pkt []byte) error {
	if len(pkt) < headerSize+stampSize {
		return errors.New("a datagram was cut")
	}
	sent := time.Duration(binary.BigEndian.Uint64(pkt[headerSize:]))
	n := binary.BigEndian.Uint64(pkt[headerSize+8:])
	u.received++
	u.log.note(now, uint64(len(pkt)))
	if sent >= u.log.from {
		u.delays = append(u.delays, now-sent)
	}
	if n < u.highest {
		u.reordered++
	}
	u.highest = max(u.highest, n)
	return nil
}

func (u *udpReceiver) poll(time.Duration, func([]byte)) {}

func (u *udpReceiver) next() time.Duration { return never }

// pinger sends echo requests if it is the client's, and answers those it gets.
type pinger struct {
	side     int
	every    time.Duration
	from     time.Duration // what is measured begins
	at       time.Duration
	answers  [][]byte
	rtts     []time.Duration
	measured int // requests whose answers are measured
	seen     map[uint64]bool
}

func newPinger(c Config, side int) pinger {
	p := pinger{side: side, every: c.PingEvery, from: c.Warmup, at: never, seen: make(map[uint64]bool)}
	if p.every == 0 {
		p.every = 50 * time.Millisecond
	}
	if side == Client && p.every > 0 {
		p.at = p.every
	}
	return p
}

func (p *pinger) next() time.Duration {
	if len(p.answers) > 0 {
		return 0
	}
	return p.at
}

func (p *pinger) poll(now time.Duration, emit func(pkt []byte)) {
	for _, a := range p.answers {
		emit(a)
	}
	p.answers = p.answers[:0]
	for ; p.at <= now; p.at += p.every {
		if p.at >= p.from {
			p.measured++
		}
		emit(p.packet(8, p.at))
	}
}

// packet returns an echo request (kind 8) or reply (kind 0) with the time of the request.
func (p *pinger) packet(kind byte, at time.Duration) []byte {
	b := make([]byte, pingSize)
	putHeader(b, protoICMP, hostAddrs[p.side], hostAddrs[1-p.side])
	icmp := b[20:]
	icmp[0] = kind
	binary.BigEndian.PutUint16(icmp[6:], uint16(at/max(p.every, 1)))
	binary.BigEndian.PutUint64(icmp[8:], uint64(at))
	binary.BigEndian.PutUint16(icmp[2:], ^checksum(icmp))
	return b
}

func (p *pinger) input(now time.Duration, pkt []byte) error {
	if len(pkt) != pingSize || checksum(pkt[20:]) != 0xffff {
		return errors.New("an echo was damaged")
	}
	at := binary.BigEndian.Uint64(pkt[28:])
	if pkt[20] == 8 {
		p.answers = append(p.answers, p.packet(0, time.Duration(at)))
		return nil
	}
	if !p.seen[at] && time.Duration(at) >= p.from {
		p.rtts = append(p.rtts, now-time.Duration(at))
	}
	p.seen[at] = true
	return nil
}

// quantile returns the value below which a share q of the sorted values lies; 0 if there
// are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func summarize(values []time.Duration, lost int) Latency {
	slices.Sort(values)
	return Latency{
		Answered: len(values),
		Lost:     lost,
		Median:   quantile(values, 0.5),
		P99:      quantile(values, 0.99),
		Max:      quantile(values, 1),
	}
}
