//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlSize holds the control messages of one datagram: source address and
// interface.
const controlSize = 128

// udpSender sends one datagram per system call, without waiting.
type udpSender struct {
	raw  syscall.RawConn
	is6  bool
	call func(fd uintptr) bool // made once: a closure per call would allocate

	sa4  unix.SockaddrInet4
	sa6  unix.SockaddrInet6
	ctl  [controlSize]byte
	pkt  []byte // arguments and result of call
	oob  []byte
	name unix.Sockaddr
	err  error
}

func (s *udpSender) init(_ *net.UDPConn, raw syscall.RawConn, is6 bool) {
	s.raw, s.is6 = raw, is6
	s.call = func(fd uintptr) bool {
		for retried := false; ; {
			_, s.err = unix.SendmsgN(int(fd), s.pkt, s.oob, s.name, unix.MSG_DONTWAIT)
			switch s.err {
			case nil, unix.EAGAIN, unix.ENOBUFS:
				return true
			case unix.EINTR:
				continue
			}
			// An ICMP error caused by an earlier datagram is reported here once, and
			// says nothing of this one.
			if retried {
				return true
			}
			retried = true
		}
	}
}

func (s *udpSender) send(pkts [][]byte, to *Addr) (int, error) {
	s.name, s.oob = nil, nil
	if to != nil {
		if err := s.setName(to); err != nil {
			return 0, err
		}
		s.oob = s.ctl[:s.setControl(to)]
	}
	defer func() { s.pkt = nil }()
	for i, p := range pkts {
		s.pkt = p
		if err := s.raw.Write(s.call); err != nil {
			return i, err
		}
		switch s.err {
		case nil:
		case unix.EAGAIN, unix.ENOBUFS:
			return i, ErrFull
		case unix.EMSGSIZE:
			return i, ErrTooLarge
		default:
			return i, s.err
		}
	}
	return len(pkts), nil
}

func (s *udpSender) setName(to *Addr) error {
	addr := to.Remote.Addr()
	if !addr.IsValid() {
		return errors.New("no remote address")
	}
	if !s.is6 {
		if addr = addr.Unmap(); !addr.Is4() {
			return unix.EAFNOSUPPORT
		}
		s.sa4 = unix.SockaddrInet4{Port: int(to.Remote.Port()), Addr: addr.As4()}
		s.name = &s.sa4
		return nil
	}
	s.sa6 = unix.SockaddrInet6{Port: int(to.Remote.Port()), Addr: addr.As16()}
	if zone := addr.Zone(); zone != "" {
		index, err := zoneIndex(zone, to.Interface)
		if err != nil {
			return err
		}
		s.sa6.ZoneId = uint32(index)
	}
	s.name = &s.sa6
	return nil
}

func zoneIndex(zone string, index int) (int, error) {
	if index != 0 {
		return index, nil
	}
	if index, err := strconv.Atoi(zone); err == nil {
		return index, nil
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, err
	}
	return ifi.Index, nil
}

// setControl stores the source address and interface in s.ctl (RFC 3542 section 6.1)
// and returns the length. A socket for both families leaves the source of IPv4
// datagrams to the system, as few systems take it in the mapped form.
func (s *udpSender) setControl(to *Addr) int {
	local := to.Local.Unmap()
	switch {
	case !local.IsValid() || local.IsUnspecified() || local.Is4() == s.is6:
		return 0
	case local.Is4():
		return putSource4(s.ctl[:], local, to.Interface)
	}
	return putControl(s.ctl[:], unix.IPPROTO_IPV6, unix.IPV6_PKTINFO,
		unix.Inet6Pktinfo{Addr: local.As16(), Ifindex: uint32(to.Interface)})
}

// putControl stores one control message in b and returns its length.
func putControl[T any](b []byte, level, typ int32, data T) int {
	size := int(unsafe.Sizeof(data))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, typ
	h.SetLen(unix.CmsgLen(size))
	*(*T)(unsafe.Pointer(&b[unix.CmsgLen(0)])) = data
	return unix.CmsgSpace(size)
}

// udpReceiver receives one datagram per system call.
type udpReceiver struct {
	conn *net.UDPConn
	ctl  [controlSize]byte
}

func (r *udpReceiver) init(conn *net.UDPConn, _ syscall.RawConn, _, _ bool) { r.conn = conn }

func (r *udpReceiver) receive(bufs [][]byte, sizes []int, from []Addr) (int, error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	for {
		n, nctl, flags, remote, err := r.conn.ReadMsgUDPAddrPort(bufs[0], r.ctl[:])
		if err != nil {
			return 0, err
		}
		if flags&unix.MSG_TRUNC != 0 {
			continue
		}
		sizes[0] = n
		if from != nil {
			from[0] = origin(remote, r.ctl[:nctl])
		}
		return 1, nil
	}
}

// origin reads the control messages of a datagram.
func origin(remote netip.AddrPort, ctl []byte) Addr {
	a := Addr{Remote: unmap(remote)}
	for len(ctl) >= unix.CmsgLen(0) {
		h, data, rest, err := unix.ParseOneSocketControlMessage(ctl)
		if err != nil {
			break
		}
		switch {
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			p := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
			a.Local, a.Interface = netip.AddrFrom16(p.Addr).Unmap(), int(p.Ifindex)
		case h.Level == unix.IPPROTO_IP:
			getSource4(&a, h.Type, data)
		}
		ctl = rest
	}
	if a.Local.IsMulticast() {
		a.Local = netip.Addr{} // no source for an answer
	}
	return a
}

func setUDPOptions(fd uintptr, is6 bool, cfg *UDPConfig) error {
	s := int(fd)
	if cfg.dual() && is6 {
		if err := unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return fmt.Errorf("take IPv4 as well: %w", err)
		}
	}
	if err := cfg.way().set(fd, is6); err != nil {
		return err
	}
	if err := setSystemOptions(s, is6, cfg); err != nil {
		return err
	}
	setBuffer(s, unix.SO_RCVBUF, cfg.readBuffer())
	setBuffer(s, unix.SO_SNDBUF, cfg.writeBuffer())
	if is6 {
		if err := unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1); err != nil {
			return err
		}
		return unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return nil
}

// setBuffer sets the size of a buffer, or the largest power-of-two fraction of it that
// the system grants.
func setBuffer(s, opt, size int) {
	for size >= 64<<10 && unix.SetsockoptInt(s, unix.SOL_SOCKET, opt, size) != nil {
		size /= 2
	}
}
