package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PingConfig says how to ping. The zero value of a field is its default.
type PingConfig struct {
	Source   netip.Addr    // by default the host's choice
	Interval time.Duration // between requests, 20 ms by default
	Timeout  time.Duration // to wait for the last replies, 1 s by default
	Size     int           // of the ICMP payload in bytes, at least 8; 56 by default
}

// PingResult is what came back.
type PingResult struct {
	Sent, Received int
	// RTTs are the round-trip times in the order of the replies, to when the kernel
	// received them, so that a busy machine adds little.
	RTTs []time.Duration
}

// Loss returns the share of requests without a reply, 0 to 1.
func (r PingResult) Loss() float64 {
	if r.Sent == 0 {
		return 0
	}
	return 1 - float64(r.Received)/float64(r.Sent)
}

// Min returns the shortest round-trip time, zero if there is none.
func (r PingResult) Min() time.Duration {
	if len(r.RTTs) == 0 {
		return 0
	}
	return slices.Min(r.RTTs)
}

// Median returns the median round-trip time, zero if there is none.
func (r PingResult) Median() time.Duration {
	if len(r.RTTs) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(r.RTTs))
	return s[len(s)/2]
}

// Max returns the longest round-trip time, zero if there is none.
func (r PingResult) Max() time.Duration {
	if len(r.RTTs) == 0 {
		return 0
	}
	return slices.Max(r.RTTs)
}

// The types of ICMP (RFC 792) and ICMPv6 (RFC 4443) echo messages, which are the same
// but for these.
type echoTypes struct {
	network        string
	request, reply byte
}

var (
	echo4 = echoTypes{"ip4:icmp", 8, 0}
	echo6 = echoTypes{"ip6:ipv6-icmp", 128, 129}
)

const echoHeader = 8

// Ping sends n echo requests to dst with the default [PingConfig]. Lost requests are no
// error.
func (h *Host) Ping(dst netip.Addr, n int) (PingResult, error) {
	return h.PingWith(PingConfig{}, dst, n)
}

// PingWith sends n echo requests to dst as cfg says.
func (h *Host) PingWith(cfg PingConfig, dst netip.Addr, n int) (PingResult, error) {
	if cfg.Interval == 0 {
		cfg.Interval = 20 * time.Millisecond
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Second
	}
	if cfg.Size == 0 {
		cfg.Size = 56
	}
	r, err := h.ping(cfg, dst, n)
	if err != nil {
		return r, fmt.Errorf("ping %v from %s: %w", dst, h.Name, err)
	}
	return r, nil
}

func (h *Host) ping(cfg PingConfig, dst netip.Addr, n int) (r PingResult, err error) {
	types := echo4
	if dst.Is6() {
		types = echo6
	}
	source := ""
	if cfg.Source.IsValid() {
		source = cfg.Source.String()
	}
	if cfg.Size < 8 {
		return r, fmt.Errorf("payload of %d bytes has no room for a timestamp", cfg.Size)
	}
	pc, err := h.ListenPacket(types.network, source)
	if err != nil {
		return r, err
	}
	defer pc.Close()
	c := pc.(*net.IPConn)
	if err := stampArrivals(c); err != nil {
		return r, err
	}

	start := time.Now()
	// Concurrent pings of a host receive each other's replies; the start tells them apart.
	id := uint16(start.UnixNano() >> 10)
	got := make(chan []time.Duration, 1)
	go func() { got <- receiveEchoes(c, types, id, n) }()
	msg := make([]byte, echoHeader+cfg.Size)
	var sendErr error
	for i := range n {
		time.Sleep(time.Until(start.Add(time.Duration(i) * cfg.Interval)))
		msg[0], msg[2], msg[3] = types.request, 0, 0
		binary.BigEndian.PutUint16(msg[4:], id)
		binary.BigEndian.PutUint16(msg[6:], uint16(i))
		binary.BigEndian.PutUint64(msg[8:], uint64(time.Now().UnixNano()))
		if types == echo4 {
			binary.BigEndian.PutUint16(msg[2:], checksum(msg))
		}
		r.Sent++
		if _, err := c.WriteTo(msg, &net.IPAddr{IP: dst.AsSlice(), Zone: dst.Zone()}); err != nil && sendErr == nil {
			sendErr = err
		}
	}
	if err := c.SetReadDeadline(time.Now().Add(cfg.Timeout)); err != nil {
		return r, err
	}
	r.RTTs = <-got
	r.Received = len(r.RTTs)
	if r.Received == 0 && sendErr != nil {
		return r, sendErr
	}
	return r, nil
}

// receiveEchoes returns the round-trip times of up to n replies, until c's deadline.
func receiveEchoes(c *net.IPConn, types echoTypes, id uint16, n int) (rtts []time.Duration) {
	buf, oob := make([]byte, 65536), make([]byte, 128)
	seen := make(map[uint16]bool)
	for len(rtts) < n {
		k, oobn, _, _, err := c.ReadMsgIP(buf, oob)
		now := time.Now().UnixNano()
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return rtts
		}
		if err != nil {
			continue
		}
		msg := buf[:k]
		if types == echo4 {
			// A raw socket of IPv4 gives the IP header too, one of IPv6 does not.
			msg = msg[min(int(msg[0]&0xf)*4, k):]
		}
		if len(msg) < echoHeader+8 || msg[0] != types.reply || binary.BigEndian.Uint16(msg[4:]) != id {
			continue
		}
		seq := binary.BigEndian.Uint16(msg[6:])
		if seen[seq] {
			continue
		}
		seen[seq] = true
		if at, ok := arrival(oob[:oobn]); ok {
			now = at
		}
		rtts = append(rtts, time.Duration(now-int64(binary.BigEndian.Uint64(msg[8:]))))
	}
	return rtts
}

// stampArrivals makes the kernel say when it received each packet.
func stampArrivals(c *net.IPConn) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	cerr := rc.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
	return errors.Join(cerr, err)
}

// arrival finds the time of stampArrivals, in nanoseconds of Unix time.
func arrival(oob []byte) (ns int64, ok bool) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, false
	}
	for _, m := range msgs {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			ts := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return ts.Nano(), true
		}
	}
	return 0, false
}

// checksum is the internet checksum (RFC 1071) of b.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	return ^uint16(sum)
}
