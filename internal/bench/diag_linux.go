package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The kernel tells of its sockets by sock_diag(7). These are of linux/sock_diag.h and
// linux/inet_diag.h.
const (
	diagByFamily   = 20 // SOCK_DIAG_BY_FAMILY
	diagInfo       = 2  // INET_DIAG_INFO
	diagProtocol   = 3  // INET_DIAG_REQ_PROTOCOL
	diagRequestLen = 56 // struct inet_diag_req_v2
	diagMessageLen = 72 // struct inet_diag_msg
	diagID         = 8  // struct inet_diag_sockid in the request
	diagMessageID  = 4  // and in the message
	diagIDLen      = 48
	diagCookie     = 40 // of the socket, in the ID
	allButListen   = ^uint32(1 << 10)
)

// Where struct tcp_info and struct mptcp_info have what their receiver got in order. Of
// MPTCP it is a sequence number.
const (
	tcpReceived   = 128 // tcpi_bytes_received
	mptcpToken    = 12  // mptcpi_token
	mptcpReceived = 32  // mptcpi_rcv_nxt
)

// diag asks the kernel about TCP or MPTCP sockets of the network namespace that it was
// opened in.
type diag struct {
	fd    int
	mptcp bool
	buf   []byte
}

// diagSocket is a socket as the kernel tells of it.
type diagSocket struct {
	id       [diagIDLen]byte // as one asks for it again
	received uint64          // bytes in order; of MPTCP counted from anywhere
}

func openDiag(mptcp bool) (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("socket statistics: %w", err)
	}
	// An answer that does not come must not stop the bench.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("socket statistics: %w", err)
	}
	return &diag{fd: fd, mptcp: mptcp, buf: make([]byte, 64<<10)}, nil
}

func (d *diag) close() {
	unix.Close(d.fd)
}

// all returns the sockets with the given local or, if it is remote, remote port.
func (d *diag) all(port uint16, remote bool) ([]diagSocket, error) {
	var id [diagIDLen]byte
	if remote {
		binary.BigEndian.PutUint16(id[2:], port)
	} else {
		binary.BigEndian.PutUint16(id[0:], port)
	}
	return d.ask(id, unix.NLM_F_DUMP)
}

// one returns a socket again. It fails if that is gone.
func (d *diag) one(s diagSocket) (diagSocket, error) {
	found, err := d.ask(s.id, 0)
	if err != nil {
		return s, err
	}
	if len(found) != 1 {
		return s, errors.New("socket statistics: not one socket")
	}
	return found[0], nil
}

func (d *diag) ask(id [diagIDLen]byte, flags uint16) ([]diagSocket, error) {
	const length = unix.SizeofNlMsghdr + diagRequestLen + unix.SizeofRtAttr + 4
	req := make([]byte, length)
	order := binary.NativeEndian
	order.PutUint32(req[0:], length)
	order.PutUint16(req[4:], diagByFamily)
	order.PutUint16(req[6:], unix.NLM_F_REQUEST|flags)
	body := req[unix.SizeofNlMsghdr:]
	body[0], body[1], body[2] = unix.AF_INET, unix.IPPROTO_TCP, 1<<(diagInfo-1)
	order.PutUint32(body[4:], allButListen)
	copy(body[diagID:], id[:])
	attr := body[diagRequestLen:]
	order.PutUint16(attr[0:], unix.SizeofRtAttr+4)
	order.PutUint16(attr[2:], diagProtocol)
	order.PutUint32(attr[4:], unix.IPPROTO_TCP)
	if d.mptcp {
		order.PutUint32(attr[4:], unix.IPPROTO_MPTCP)
	}
	if err := unix.Sendto(d.fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("socket statistics: %w", err)
	}
	return d.answers(flags&unix.NLM_F_DUMP != 0)
}

// answers reads the answers to a request, of which a dump has any number and then an end.
func (d *diag) answers(dump bool) (found []diagSocket, err error) {
	for {
		n, err := unix.Read(d.fd, d.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("socket statistics: %w", err)
		}
		for b := d.buf[:n]; len(b) >= unix.SizeofNlMsghdr; {
			length := int(binary.NativeEndian.Uint32(b))
			if length < unix.SizeofNlMsghdr || length > len(b) {
				return nil, errors.New("socket statistics: malformed answer")
			}
			body := b[unix.SizeofNlMsghdr:length]
			switch binary.NativeEndian.Uint16(b[4:]) {
			case unix.NLMSG_DONE:
				return found, nil
			case unix.NLMSG_ERROR:
				if len(body) >= 4 {
					return nil, os.NewSyscallError("socket statistics", unix.Errno(-int32(binary.NativeEndian.Uint32(body))))
				}
			case diagByFamily:
				if s, ok := d.parse(body); ok {
					found = append(found, s)
				}
			}
			b = b[min((length+3)&^3, len(b)):]
		}
		if !dump {
			return found, nil
		}
	}
}

// parse reads one socket. It reports false if that has no statistics.
func (d *diag) parse(b []byte) (s diagSocket, ok bool) {
	if len(b) < diagMessageLen {
		return s, false
	}
	copy(s.id[:], b[diagMessageID:])
	order := binary.NativeEndian
	for b = b[diagMessageLen:]; len(b) >= unix.SizeofRtAttr; {
		length := int(order.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return s, false
		}
		info := b[unix.SizeofRtAttr:length]
		if order.Uint16(b[2:]) == diagInfo {
			switch {
			case d.mptcp && len(info) >= mptcpReceived+8:
				// One asks for an MPTCP connection by its token.
				order.PutUint32(s.id[diagCookie:], order.Uint32(info[mptcpToken:]))
				s.received = order.Uint64(info[mptcpReceived:])
				return s, true
			case !d.mptcp && len(info) >= tcpReceived+8:
				s.received = order.Uint64(info[tcpReceived:])
				return s, true
			}
			return s, false
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return s, false
}
