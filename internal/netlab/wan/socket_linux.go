package wan

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batch is how many frames one system call moves.
	batch = 64
	// socketBuffer holds a third of a second of 200 Mbit/s, small frames' bookkeeping
	// included.
	socketBuffer = 16 << 20
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// stamp is a control message with one SCM_TIMESTAMPNS.
type stamp struct {
	hdr unix.Cmsghdr
	at  unix.Timespec
}

// vector is the argument of recvmmsg and sendmmsg, and what it points to. It must not
// be copied after init.
type vector struct {
	msgs  [batch]mmsghdr
	iovs  [batch]unix.Iovec
	stamp [batch]stamp
}

func (v *vector) init() {
	for i := range v.msgs {
		v.msgs[i].hdr.Iov = &v.iovs[i]
		v.msgs[i].hdr.SetIovlen(1)
	}
}

// set points entry i at b.
func (v *vector) set(i int, b []byte) {
	v.iovs[i].Base = &b[0]
	v.iovs[i].SetLen(len(b))
}

// expectStamp prepares entry i to receive a timestamp. The kernel undoes it with every
// frame.
func (v *vector) expectStamp(i int) {
	h := &v.msgs[i].hdr
	h.Control = (*byte)(unsafe.Pointer(&v.stamp[i]))
	h.SetControllen(int(unsafe.Sizeof(v.stamp[i])))
}

// arrived returns the wall clock time in nanoseconds when the kernel received entry
// i, or false if it did not say.
func (v *vector) arrived(i int) (int64, bool) {
	s := &v.stamp[i]
	if uint64(v.msgs[i].hdr.Controllen) < uint64(unsafe.Sizeof(*s)) || s.hdr.Level != unix.SOL_SOCKET || s.hdr.Type != unix.SCM_TIMESTAMPNS {
		return 0, false
	}
	return s.at.Nano(), true
}

// recv fills entries from the first on without blocking and returns how many.
func (v *vector) recv(fd int) (int, unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.msgs)), batch, unix.MSG_DONTWAIT, 0, 0)
	return int(r), errno
}

// send sends the first n entries without blocking and returns how many the kernel
// took.
func (v *vector) send(fd, n int) (int, unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.msgs)), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	return int(r), errno
}

// openPort returns a packet socket on the interface called name in the caller's
// network namespace.
func openPort(name string) (fd int, err error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return -1, fmt.Errorf("wan: open port %s: %w", name, err)
	}
	proto := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	// Without a protocol the socket receives nothing until it is bound, so no frame of
	// another interface slips in.
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("wan: open port %s: packet socket: %w", name, err)
	}
	for _, o := range []struct {
		what              string
		level, opt, value int
	}{
		{"ignore outgoing frames", unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1},
		{"bypass the queueing discipline", unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1},
		{"timestamps", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
		{"receive buffer", unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer},
		{"send buffer", unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.opt, o.value); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("wan: open port %s: %s: %w", name, o.what, err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: ifi.Index}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("wan: open port %s: bind: %w", name, err)
	}
	return fd, nil
}

// overruns returns how many frames the kernel dropped since the last call because the
// socket's buffer was full.
func overruns(fd int) uint64 {
	st, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0
	}
	return uint64(st.Drops)
}

// clock reads the monotonic and the wall clock at once.
type clock struct {
	start time.Time
}

func (c clock) now() (mono time.Duration, wall int64) {
	t := time.Now()
	return t.Sub(c.start), t.UnixNano()
}
