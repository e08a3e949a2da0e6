package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

const (
	// A frame is the length of a datagram in 2 bytes, big-endian, and the datagram.
	frameHeader = 2
	maxFrame    = 1<<16 - 1

	defaultStreamMTU   = 2048
	defaultStreamQueue = 64 << 10

	// streamRead is the least size of the read buffer. It makes one read of many
	// frames.
	streamRead = 64 << 10
)

// StreamConfig configures NewStream and NewStreamListener. Neither modifies it.
type StreamConfig struct {
	// MTU is the largest datagram in bytes, up to 65535. It must be the same at both
	// ends: a longer one from the peer ends the link. Zero means 2048, enough for a
	// packet of 1500 bytes and what a tunnel adds to it.
	MTU int

	// Queue is the number of bytes, with 2 per datagram for its length, that may wait
	// for the stream to take them, on top of the buffers of the stream itself. Zero
	// means 64 KiB. At least one datagram of MTU bytes always fits.
	Queue int
}

func (cfg *StreamConfig) mtu() int {
	if cfg.MTU <= 0 {
		return defaultStreamMTU
	}
	return min(cfg.MTU, maxFrame)
}

func (cfg *StreamConfig) queue() int {
	queue := cfg.Queue
	if queue <= 0 {
		queue = defaultStreamQueue
	}
	return max(queue, frameHeader+cfg.mtu())
}

// Stream is a Link over a reliable byte stream, such as TCP, TLS or a serial line.
//
// Each datagram is framed by its length in 2 bytes, big-endian. A stream that is slower
// than what is sent makes Send report ErrFull; datagrams that it accepted arrive
// complete and in order, unless the stream breaks. Nothing in the frame is
// authenticated: the datagrams must be.
//
// The end of the stream, an error of it or a frame that is too long end the link:
// Receive returns an error matching io.EOF from then on, and so does Send.
type Stream struct {
	rwc io.ReadWriteCloser
	mtu int

	out streamQueue
	in  frameReader // only accessed by Receive
}

// NewStream returns a link over rwc, which it owns: Close closes rwc, and that must
// unblock its Read and Write. The link starts one goroutine, which ends after Close or
// the first error of a write.
func NewStream(rwc io.ReadWriteCloser, cfg StreamConfig) *Stream {
	s := &Stream{rwc: rwc, mtu: cfg.mtu()}
	s.out.init(cfg.queue())
	s.in.init(rwc, s.mtu)
	go s.out.drain(rwc)
	return s
}

// Send implements Link. It copies pkts.
func (s *Stream) Send(pkts [][]byte) (n int, err error) { return s.out.put(pkts, s.mtu) }

// Receive implements Link.
func (s *Stream) Receive(bufs [][]byte, sizes []int) (n int, err error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	if s.out.isClosed() {
		return 0, net.ErrClosed
	}
	n, err = s.in.next(bufs, sizes)
	if s.out.isClosed() {
		return 0, net.ErrClosed
	}
	if err != nil {
		// A peer that breaks the framing would otherwise not learn of it.
		s.out.fail(err)
		s.rwc.Close()
		return 0, err
	}
	return n, nil
}

// MTU implements Link.
func (s *Stream) MTU() int { return s.mtu }

// Addresses implements Addresser. Addresses that are not of TCP are zero.
func (s *Stream) Addresses() (local, remote netip.AddrPort) {
	if c, ok := s.rwc.(net.Conn); ok {
		return addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	}
	return netip.AddrPort{}, netip.AddrPort{}
}

// Close implements Link, and closes the stream. Datagrams that still wait are lost.
func (s *Stream) Close() error {
	if !s.out.close() {
		return nil
	}
	if err := s.rwc.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("link: close the stream: %w", err)
	}
	return nil
}

// streamEnd is the error of a stream that has come to its end because of cause.
func streamEnd(cause error) error {
	if cause == io.EOF {
		return io.EOF
	}
	return fmt.Errorf("link: the stream has ended: %w: %w", io.EOF, cause)
}

// streamQueue holds the frames that wait for the stream.
type streamQueue struct {
	limit int

	mu      sync.Mutex // guards the following
	changed sync.Cond  // queued is no longer empty, or the queue has ended
	queued  []byte     // frames
	writing int        // bytes that drain is writing
	closed  bool
	err     error // why nothing is accepted any more, unless closed
}

func (q *streamQueue) init(limit int) {
	q.limit = limit
	q.changed.L = &q.mu
}

// put appends frames as long as they fit.
func (q *streamQueue) put(pkts [][]byte, mtu int) (n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range pkts {
		switch {
		case q.closed:
			return n, net.ErrClosed
		case q.err != nil:
			return n, q.err
		case len(p) > mtu:
			return n, ErrTooLarge
		case len(q.queued)+q.writing+frameHeader+len(p) > q.limit:
			return n, ErrFull
		}
		if len(q.queued) == 0 {
			q.changed.Signal()
		}
		q.queued = binary.BigEndian.AppendUint16(q.queued, uint16(len(p)))
		q.queued = append(q.queued, p...)
		n++
	}
	return n, nil
}

// drain writes all queued frames at once, again and again until the queue ends.
func (q *streamQueue) drain(w io.Writer) {
	var spare []byte
	for {
		q.mu.Lock()
		q.writing = 0
		for len(q.queued) == 0 && !q.closed && q.err == nil {
			q.changed.Wait()
		}
		if q.closed || q.err != nil {
			q.mu.Unlock()
			return
		}
		frames := q.queued
		q.queued = spare[:0]
		q.writing = len(frames)
		q.mu.Unlock()

		if _, err := w.Write(frames); err != nil {
			q.fail(streamEnd(err))
			return
		}
		spare = frames
	}
}

// fail ends the queue because of err, unless it has ended already.
func (q *streamQueue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	q.changed.Signal()
}

// close ends the queue and reports whether it was not closed before.
func (q *streamQueue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := !q.closed
	q.closed = true
	q.changed.Signal()
	return first
}

func (q *streamQueue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// frameReader cuts a stream into datagrams.
type frameReader struct {
	r   io.Reader
	mtu int

	buf        []byte
	start, end int   // of the bytes read and not yet consumed
	err        error // of r; final
}

func (f *frameReader) init(r io.Reader, mtu int) {
	f.r, f.mtu = r, mtu
	f.buf = make([]byte, max(streamRead, frameHeader+mtu))
}

// next waits for a datagram that fits its buffer, and stores it and those that are
// already there.
func (f *frameReader) next(bufs [][]byte, sizes []int) (int, error) {
	n := 0
	for n < len(bufs) && n < len(sizes) {
		p, ok, err := f.frame()
		if err != nil {
			if n > 0 {
				return n, nil // the error is found again
			}
			return 0, err
		}
		if ok {
			if len(p) <= len(bufs[n]) {
				sizes[n] = copy(bufs[n], p)
				n++
			}
			continue
		}
		if n > 0 {
			break
		}
		if err := f.fill(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// frame consumes the next complete frame of the buffer and returns its datagram, which
// is valid until fill. ok is false if there is none.
func (f *frameReader) frame() (p []byte, ok bool, err error) {
	have := f.buf[f.start:f.end]
	if len(have) < frameHeader {
		return nil, false, nil
	}
	size := int(binary.BigEndian.Uint16(have))
	if size > f.mtu {
		return nil, false, streamEnd(fmt.Errorf("the peer sent a frame of %d bytes, more than the MTU of %d: give both ends the same MTU", size, f.mtu))
	}
	if len(have) < frameHeader+size {
		return nil, false, nil
	}
	f.start += frameHeader + size
	return have[frameHeader : frameHeader+size], true, nil
}

// fill reads more bytes into the buffer, which has room for the rest of a frame.
func (f *frameReader) fill() error {
	if f.err != nil {
		return f.err
	}
	// A frame in progress moves to the front when the room behind it gets short.
	if f.start == f.end {
		f.start, f.end = 0, 0
	} else if len(f.buf)-f.start < frameHeader+f.mtu {
		f.end = copy(f.buf, f.buf[f.start:f.end])
		f.start = 0
	}
	const maxEmptyReads = 100
	for range maxEmptyReads {
		n, err := f.r.Read(f.buf[f.end:])
		f.end += n
		if err != nil {
			if err == io.EOF && f.start < f.end && n == 0 {
				err = io.ErrUnexpectedEOF
			}
			f.err = streamEnd(err)
		}
		if n > 0 {
			return nil
		}
		if err != nil {
			return f.err
		}
	}
	f.err = streamEnd(io.ErrNoProgress)
	return f.err
}

// StreamListener is a Listener over a net.Listener, such as one of TCP or TLS.
type StreamListener struct {
	l   net.Listener
	cfg StreamConfig

	once   sync.Once
	closed chan struct{}
}

// NewStreamListener returns a listener whose links are streams accepted by l. It owns l.
func NewStreamListener(l net.Listener, cfg StreamConfig) *StreamListener {
	return &StreamListener{l: l, cfg: cfg, closed: make(chan struct{})}
}

// Accept implements Listener. The link is a *Stream.
func (l *StreamListener) Accept() (Link, error) {
	c, err := l.l.Accept()
	if err == nil {
		return NewStream(c, l.cfg), nil
	}
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
		return nil, fmt.Errorf("link: accept at %s: %w", l.l.Addr(), err)
	}
}

// Addr returns the address that the listener is bound to.
func (l *StreamListener) Addr() net.Addr { return l.l.Addr() }

// Close implements Listener.
func (l *StreamListener) Close() error {
	var err error
	l.once.Do(func() {
		close(l.closed)
		if cerr := l.l.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) {
			err = fmt.Errorf("link: close the listener at %s: %w", l.l.Addr(), cerr)
		}
	})
	return err
}
