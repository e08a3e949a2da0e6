package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/multilink-vpn/multilink/link"
)

const (
	// textMTU is the largest datagram. A line of it is 2000 characters long.
	textMTU = 1500
	// textQueue is the number of lines that wait for the other side to take them.
	textQueue = 64
)

// TextLink is a link.Link over text. It is written to be read; a transport for daily
// use would reuse its buffers and write many lines at once.
type TextLink struct {
	rwc   io.ReadWriteCloser
	lines *bufio.Scanner // only accessed by Receive
	queue chan []byte

	closeOnce sync.Once
	closed    chan struct{}
}

var _ link.Link = (*TextLink)(nil)

// NewTextLink returns a link over rwc, which Close closes.
func NewTextLink(rwc io.ReadWriteCloser) *TextLink {
	l := &TextLink{
		rwc:    rwc,
		lines:  bufio.NewScanner(rwc),
		queue:  make(chan []byte, textQueue),
		closed: make(chan struct{}),
	}
	// A peer cannot make the link keep more than one long line in memory.
	l.lines.Buffer(nil, base64.StdEncoding.EncodedLen(textMTU)+2)
	go l.write()
	return l
}

// Send implements link.Link.
//
// Writing to the stream may block, and Send may not. So Send only queues, and says
// ErrFull when the queue is full. The queue holds copies (the encoded lines): the
// caller is free to reuse its datagrams once Send has returned.
func (l *TextLink) Send(pkts [][]byte) (n int, err error) {
	for _, p := range pkts {
		if l.isClosed() {
			return n, net.ErrClosed
		}
		if len(p) > textMTU {
			return n, link.ErrTooLarge
		}
		line := append(base64.StdEncoding.AppendEncode(nil, p), '\n')
		select {
		case l.queue <- line:
			n++
		default:
			return n, link.ErrFull
		}
	}
	return n, nil
}

// write moves lines from the queue to the stream until the link is closed.
func (l *TextLink) write() {
	for {
		select {
		case line := <-l.queue:
			if _, err := l.rwc.Write(line); err != nil {
				return // the reading side of the stream ends as well, and Receive reports it
			}
		case <-l.closed:
			return
		}
	}
}

// Receive implements link.Link. One datagram at a time is enough for a slow transport.
func (l *TextLink) Receive(bufs [][]byte, sizes []int) (n int, err error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	for {
		ok := l.lines.Scan()
		switch {
		case l.isClosed():
			return 0, net.ErrClosed
		case !ok && l.lines.Err() == nil:
			return 0, io.EOF
		case !ok:
			// The stream is broken for good, and only io.EOF says so.
			return 0, fmt.Errorf("textlink: %w", errors.Join(io.EOF, l.lines.Err()))
		}
		line := l.lines.Bytes()
		p, err := base64.StdEncoding.AppendDecode(nil, line)
		if err != nil {
			continue // a damaged line is a lost datagram, not a corrupt one
		}
		if len(p) > len(bufs[0]) {
			continue // dropped, never truncated
		}
		sizes[0] = copy(bufs[0], p)
		return 1, nil
	}
}

// MTU implements link.Link.
func (l *TextLink) MTU() int { return textMTU }

// Close implements link.Link. Closing the stream ends a Receive that waits, and the
// goroutine.
func (l *TextLink) Close() error {
	var err error
	l.closeOnce.Do(func() {
		close(l.closed)
		err = l.rwc.Close()
	})
	return err
}

func (l *TextLink) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}
