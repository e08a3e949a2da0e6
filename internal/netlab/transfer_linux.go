package netlab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SeriesStep is the length of one element of TransferResult.Series.
const SeriesStep = 100 * time.Millisecond

// Transfer is a TCP transfer from one host to another. From, To, Addr and one of Bytes
// and Duration are needed; the zero value of the others is their default.
type Transfer struct {
	From, To *Host
	// Addr is an address of To, where it listens.
	Addr netip.Addr
	// Source is the address of From to send from, by default the host's choice.
	Source netip.Addr
	// Bytes is how much to send; if zero, as much as goes in Duration.
	Bytes    int64
	Duration time.Duration
	// Congestion is the congestion control, "cubic" by default.
	Congestion string
	// Timeout bounds the whole transfer: 30 s by default, besides Duration.
	Timeout time.Duration
}

// TransferResult is a transfer as the receiver saw it.
type TransferResult struct {
	Bytes int64
	// Elapsed is from the first byte to the last.
	Elapsed time.Duration
	// Goodput is in bits of payload per second.
	Goodput float64
	// Series has the bytes of each SeriesStep since the first byte. The last element
	// covers less time.
	Series []int64
	// LongestGap is the longest time between two reads that returned bytes.
	LongestGap time.Duration
	// Retransmits is how many segments the sender sent again.
	Retransmits uint32
}

// Steady returns the goodput in bits per second without the first skip of the transfer
// and its last, incomplete step. It is zero if nothing remains.
func (r TransferResult) Steady(skip time.Duration) float64 {
	first := int(skip / SeriesStep)
	last := len(r.Series) - 1
	if first >= last {
		return 0
	}
	var sum int64
	for _, n := range r.Series[first:last] {
		sum += n
	}
	return float64(sum) * 8 / (float64(last-first) * SeriesStep.Seconds())
}

// TransferHash sends n random bytes over TCP from one host to addr on another. It fails
// unless the other receives all of them and they hash to the same.
func TransferHash(from, to *Host, addr netip.Addr, n int64) (TransferResult, error) {
	return Transfer{From: from, To: to, Addr: addr, Bytes: n}.Run(context.Background())
}

// Run makes the transfer. It fails unless the receiver gets exactly what was sent, told
// by a SHA-256 of both. If it fails after the first byte, the result has what arrived.
func (x Transfer) Run(ctx context.Context) (TransferResult, error) {
	if x.Congestion == "" {
		x.Congestion = "cubic"
	}
	if x.Timeout == 0 {
		x.Timeout = 30*time.Second + x.Duration
	}
	r, err := x.run(ctx)
	if err != nil {
		return r, fmt.Errorf("transfer from %s to %v on %s: %w", x.From.Name, x.Addr, x.To.Name, err)
	}
	return r, nil
}

func (x Transfer) run(ctx context.Context) (r TransferResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, x.Timeout)
	defer cancel()
	if x.Bytes <= 0 && x.Duration <= 0 {
		return r, errors.New("nothing to send: set Bytes or Duration")
	}
	l, err := x.To.Listen("tcp", netip.AddrPortFrom(x.Addr, 0).String())
	if err != nil {
		return r, err
	}
	defer l.Close()

	type received struct {
		TransferResult
		sum []byte
		err error
	}
	in := make(chan received, 1)
	go func() {
		var got received
		got.TransferResult, got.sum, got.err = receive(ctx, l)
		in <- got
	}()
	out, retransmits, sendErr := x.send(ctx, l.Addr().String())
	if sendErr != nil {
		// The receiver cannot finish.
		cancel()
	}
	got := <-in
	got.Retransmits = retransmits
	switch {
	case sendErr != nil:
		return got.TransferResult, sendErr
	case got.err != nil:
		return got.TransferResult, got.err
	case string(out) != string(got.sum):
		return got.TransferResult, fmt.Errorf("the %d bytes received differ from those sent", got.Bytes)
	}
	return got.TransferResult, nil
}

// send connects, sends, and returns the hash of what it sent.
func (x Transfer) send(ctx context.Context, to string) (sum []byte, retransmits uint32, err error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, x.Congestion)
		}); cerr != nil {
			return cerr
		}
		if err != nil {
			return fmt.Errorf("congestion control %s: %w", x.Congestion, err)
		}
		return nil
	}}
	if x.Source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(x.Source, 0))
	}
	c, err := x.From.dial(ctx, d, "tcp", to)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	defer abortOnDone(ctx, c)()

	h := sha256.New()
	if x.Bytes > 0 {
		err = sendBytes(c, h, x.Bytes)
	} else {
		err = sendUntil(c, h, time.Now().Add(x.Duration))
	}
	if err == nil {
		err = c.(*net.TCPConn).CloseWrite()
	}
	if err == nil {
		// The receiver closes when it has everything, so that the counters are final.
		_, err = c.Read(make([]byte, 1))
		if err == io.EOF {
			err = nil
		}
	}
	retransmits = countRetransmits(c.(*net.TCPConn))
	return h.Sum(nil), retransmits, cause(ctx, err)
}

func sendBytes(c net.Conn, h hash.Hash, n int64) error {
	_, err := io.CopyN(io.MultiWriter(c, h), newContent(), n)
	return err
}

// sendUntil sends until a deadline, wherever in the content that is.
func sendUntil(c net.Conn, h hash.Hash, deadline time.Time) error {
	content := newContent()
	buf := make([]byte, 64<<10)
	if err := c.SetWriteDeadline(deadline); err != nil {
		return err
	}
	for {
		if _, err := content.Read(buf); err != nil {
			return err
		}
		n, err := c.Write(buf)
		h.Write(buf[:n])
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return c.SetWriteDeadline(time.Time{})
		}
		if err != nil {
			return err
		}
	}
}

// newContent returns an endless stream that compression or repetition cannot imitate.
func newContent() io.Reader {
	return rand.NewChaCha8([32]byte{})
}

// receive accepts one connection and reads it to its end.
func receive(ctx context.Context, l net.Listener) (r TransferResult, sum []byte, err error) {
	defer abortOnDone(ctx, l)()
	c, err := l.Accept()
	if err != nil {
		return r, nil, cause(ctx, err)
	}
	defer c.Close()
	defer abortOnDone(ctx, c)()

	h := sha256.New()
	buf := make([]byte, 256<<10)
	var first, last time.Time
	for {
		n, err := c.Read(buf)
		now := time.Now()
		if n > 0 {
			if first.IsZero() {
				first, last = now, now
			}
			r.LongestGap = max(r.LongestGap, now.Sub(last))
			last = now
			for step := int(now.Sub(first) / SeriesStep); len(r.Series) <= step; {
				r.Series = append(r.Series, 0)
			}
			r.Series[len(r.Series)-1] += int64(n)
			r.Bytes += int64(n)
			h.Write(buf[:n])
		}
		if err != nil {
			r.Elapsed = last.Sub(first)
			if r.Elapsed > 0 {
				r.Goodput = float64(r.Bytes) * 8 / r.Elapsed.Seconds()
			}
			if err == io.EOF {
				err = nil
			}
			return r, h.Sum(nil), cause(ctx, err)
		}
	}
}

// abortOnDone closes c when ctx is done, unless stop is called before.
func abortOnDone(ctx context.Context, c io.Closer) (stop func()) {
	cancel := context.AfterFunc(ctx, func() { c.Close() })
	return func() { cancel() }
}

// cause returns why err happened: ctx, if that is done.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	return err
}

// countRetransmits returns zero if the kernel does not say.
func countRetransmits(c *net.TCPConn) (n uint32) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = rc.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Total_retrans
		}
	})
	return n
}
