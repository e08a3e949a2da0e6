package link

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpBatch is the largest number of datagrams of one system call. The gain from
// longer batches is small.
const udpBatch = 64

// controlSize holds one IPV6_PKTINFO (40 bytes on 64-bit systems), the larger of the
// two control messages in use.
const controlSize = 64

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// udpSender sends batches without waiting, with sendmmsg(2).
type udpSender struct {
	raw  syscall.RawConn
	is6  bool
	call func(fd uintptr) bool // made once: a closure per call would allocate

	msgs  [udpBatch]mmsghdr
	iovs  [udpBatch]unix.Iovec
	name  unix.RawSockaddrInet6 // or RawSockaddrInet4, which is shorter
	ctl   [controlSize]byte
	first int // arguments and results of call
	end   int
	errno syscall.Errno
}

func (s *udpSender) init(_ *net.UDPConn, raw syscall.RawConn, is6 bool) {
	s.raw, s.is6 = raw, is6
	s.call = func(fd uintptr) bool {
		for retried := false; s.first < s.end; {
			n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.msgs[s.first])),
				uintptr(s.end-s.first), unix.MSG_DONTWAIT, 0, 0)
			switch errno {
			case 0:
				s.first += int(n)
				retried = false
				continue
			case unix.EINTR:
				continue
			case unix.EAGAIN, unix.ENOBUFS:
			default:
				// An ICMP error caused by an earlier datagram is reported here once,
				// and says nothing of this one.
				if !retried {
					retried = true
					continue
				}
			}
			s.errno = errno
			break
		}
		return true
	}
}

func (s *udpSender) send(pkts [][]byte, to *Addr) (int, error) {
	var nameLen uint32
	ctlLen := 0
	if to != nil {
		var err error
		if nameLen, err = s.setName(to); err != nil {
			return 0, err
		}
		ctlLen = s.setControl(to.Local, to.Interface)
	}
	sent := 0
	for sent < len(pkts) {
		n, errno, err := s.sendBatch(pkts[sent:min(len(pkts), sent+udpBatch)], nameLen, ctlLen)
		sent += n
		if err != nil {
			return sent, err
		}
		switch errno {
		case 0:
		case unix.EAGAIN, unix.ENOBUFS:
			return sent, ErrFull
		case unix.EMSGSIZE:
			return sent, ErrTooLarge
		case unix.EINVAL, unix.ENODEV, unix.ENXIO:
			// The interface may have gone, and come back with another index, while
			// the address is still there.
			if to == nil || to.Interface == 0 || ctlLen == 0 || to.Local.IsLinkLocalUnicast() {
				return sent, errno
			}
			without := *to
			without.Interface = 0
			n, err := s.send(pkts[sent:], &without)
			return sent + n, err
		default:
			return sent, errno
		}
	}
	return sent, nil
}

// sendBatch sends up to udpBatch datagrams. errno is the reason that the first one not
// sent was refused, err that nothing was tried.
func (s *udpSender) sendBatch(pkts [][]byte, nameLen uint32, ctlLen int) (n int, errno syscall.Errno, err error) {
	for i, p := range pkts {
		s.iovs[i].Base = unsafe.SliceData(p)
		s.iovs[i].SetLen(len(p))
		h := &s.msgs[i].hdr
		h.Iov = &s.iovs[i]
		h.SetIovlen(1)
		h.Name, h.Namelen, h.Control = nil, 0, nil
		h.SetControllen(ctlLen)
		if nameLen > 0 {
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&s.name)), nameLen
		}
		if ctlLen > 0 {
			h.Control = &s.ctl[0]
		}
	}
	s.first, s.end, s.errno = 0, len(pkts), 0
	err = s.raw.Write(s.call)
	for i := range pkts {
		s.iovs[i].Base = nil
	}
	return s.first, s.errno, err
}

// setName stores the destination in s.name and returns its length.
func (s *udpSender) setName(to *Addr) (uint32, error) {
	addr := to.Remote.Addr()
	if !addr.IsValid() {
		return 0, errors.New("no remote address")
	}
	if !s.is6 {
		if addr = addr.Unmap(); !addr.Is4() {
			return 0, unix.EAFNOSUPPORT
		}
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.name))
		*sa = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr.As4()}
		putPort(&sa.Port, to.Remote.Port())
		return unix.SizeofSockaddrInet4, nil
	}
	s.name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: addr.As16()}
	putPort(&s.name.Port, to.Remote.Port())
	if zone := addr.Zone(); zone != "" {
		index, err := zoneIndex(zone, to.Interface)
		if err != nil {
			return 0, err
		}
		s.name.Scope_id = uint32(index)
	}
	return unix.SizeofSockaddrInet6, nil
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

// setControl stores the source address and interface in s.ctl, as ip(7) and RFC 3542
// section 6.1 say, and returns the length of the control message. A socket for both
// families takes IPv4 sources in the mapped form.
func (s *udpSender) setControl(local netip.Addr, index int) int {
	if !local.IsValid() || local.IsUnspecified() {
		return 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&s.ctl[0]))
	data := unsafe.Pointer(&s.ctl[unix.CmsgLen(0)])
	if s.is6 {
		h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		*(*unix.Inet6Pktinfo)(data) = unix.Inet6Pktinfo{Addr: local.As16(), Ifindex: uint32(index)}
		return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
	}
	if local = local.Unmap(); !local.Is4() {
		return 0
	}
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	*(*unix.Inet4Pktinfo)(data) = unix.Inet4Pktinfo{Ifindex: int32(index), Spec_dst: local.As4()}
	return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
}

// udpReceiver receives what is waiting, with recvmmsg(2).
type udpReceiver struct {
	raw  syscall.RawConn
	call func(fd uintptr) bool // made once: a closure per call would allocate

	msgs  [udpBatch]mmsghdr
	iovs  [udpBatch]unix.Iovec
	names []unix.RawSockaddrInet6 // udpBatch elements, none if connected
	ctls  [][controlSize]byte     // like names
	zones map[uint32]netip.Addr   // any address with the zone of that interface
	want  int                     // argument and results of call
	got   int
	errno syscall.Errno
}

func (r *udpReceiver) init(_ *net.UDPConn, raw syscall.RawConn, _, connected bool) {
	r.raw = raw
	if !connected {
		r.names = make([]unix.RawSockaddrInet6, udpBatch)
		r.ctls = make([][controlSize]byte, udpBatch)
		r.zones = make(map[uint32]netip.Addr)
	}
	r.call = func(fd uintptr) bool {
		for {
			n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.msgs[0])),
				uintptr(r.want), unix.MSG_DONTWAIT, 0, 0)
			switch errno {
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				return false
			}
			r.got, r.errno = int(n), errno
			return true
		}
	}
}

func (r *udpReceiver) receive(bufs [][]byte, sizes []int, from []Addr) (int, error) {
	r.want = min(len(bufs), len(sizes), udpBatch)
	if r.names != nil {
		r.want = min(r.want, len(from))
	}
	if r.want == 0 {
		return 0, nil
	}
	for {
		r.prepare(bufs)
		err := r.raw.Read(r.call)
		for i := range r.want {
			r.iovs[i].Base = nil
		}
		if err != nil {
			return 0, err
		}
		if r.errno != 0 {
			return 0, r.errno
		}
		if n := r.collect(bufs, sizes, from); n > 0 {
			return n, nil
		}
	}
}

func (r *udpReceiver) prepare(bufs [][]byte) {
	for i, b := range bufs[:r.want] {
		r.iovs[i].Base = unsafe.SliceData(b)
		r.iovs[i].SetLen(len(b))
		h := &r.msgs[i].hdr
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Flags = 0
		if r.names != nil {
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&r.names[i])), unix.SizeofSockaddrInet6
			h.Control = &r.ctls[i][0]
			h.SetControllen(controlSize)
		}
	}
}

// collect stores the sizes and origins of what came, closes the gaps that datagrams
// longer than their buffers leave, and returns the number of datagrams.
func (r *udpReceiver) collect(bufs [][]byte, sizes []int, from []Addr) int {
	n := 0
	for i := range r.got {
		m := &r.msgs[i]
		size := int(m.len)
		if m.hdr.Flags&unix.MSG_TRUNC != 0 || size > len(bufs[n]) {
			continue
		}
		if n != i {
			copy(bufs[n], bufs[i][:size])
		}
		sizes[n] = size
		if r.names != nil {
			from[n] = r.origin(i)
		}
		n++
	}
	return n
}

// origin returns where message i came from and arrived.
func (r *udpReceiver) origin(i int) Addr {
	var a Addr
	sa := &r.names[i]
	switch sa.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		a.Remote = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), port(&sa.Port))
	case unix.AF_INET6:
		addr := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.Scope_id != 0 && addr.Is6() {
			addr = addr.WithZone(r.zone(sa.Scope_id))
		}
		a.Remote = netip.AddrPortFrom(addr, port(&sa.Port))
	}
	// Control messages are larger than their data, so that this stops at the end of
	// what the system stored.
	for ctl := r.ctls[i][:r.msgs[i].hdr.Controllen]; len(ctl) >= unix.CmsgLen(0); {
		h, data, rest, err := unix.ParseOneSocketControlMessage(ctl)
		if err != nil {
			break
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			p := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
			a.Local, a.Interface = netip.AddrFrom4(p.Spec_dst), int(p.Ifindex)
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			p := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
			a.Local, a.Interface = netip.AddrFrom16(p.Addr).Unmap(), int(p.Ifindex)
		}
		ctl = rest
	}
	if a.Local.IsMulticast() {
		a.Local = netip.Addr{} // no source for an answer
	}
	return a
}

// zone returns the name of an interface. Keeping an address with that zone keeps the
// zone interned, so that netip.Addr.WithZone does not allocate.
func (r *udpReceiver) zone(index uint32) string {
	if a, ok := r.zones[index]; ok {
		return a.Zone()
	}
	name := strconv.Itoa(int(index))
	if ifi, err := net.InterfaceByIndex(int(index)); err == nil {
		name = ifi.Name
	}
	r.zones[index] = netip.IPv6Unspecified().WithZone(name)
	return name
}

// Ports are in network byte order in memory.

func putPort(p *uint16, port uint16) {
	b := (*[2]byte)(unsafe.Pointer(p))
	b[0], b[1] = byte(port>>8), byte(port)
}

func port(p *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(p))
	return uint16(b[0])<<8 | uint16(b[1])
}
