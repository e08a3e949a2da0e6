package demo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// A transfer is one TCP download through a tunnel: pseudo-random bytes from the
// server's stack to the client's, hashed at both ends.
type transfer struct {
	listener *gonet.TCPListener
	stopped  chan struct{}
	stopOnce sync.Once
	ended    sync.WaitGroup

	received atomic.Int64 // bytes

	mu     sync.Mutex // guards the following
	client net.Conn
	server net.Conn
	last   time.Time // when bytes last arrived
	gap    time.Duration

	sender, receiver outcome // once ended
}

// An outcome is what one end of a transfer has seen.
type outcome struct {
	bytes int64
	hash  [sha256.Size]byte
	err   error
}

const tcpPort = 5001

// chunk is how much is handed to TCP at once, in bytes.
const chunk = 16 << 10

// download starts a transfer.
func (t *tunnel) download(ctx context.Context, seed uint64) (*transfer, error) {
	l, err := t.serverStack.listen(tcpPort)
	if err != nil {
		return nil, fmt.Errorf("listening in the tunnel: %w", err)
	}
	x := &transfer{listener: l, stopped: make(chan struct{})}
	x.ended.Go(func() { x.sender = x.serve(seed) })
	ctx, cancel := context.WithTimeoutCause(ctx, connectFor, errors.New("no answer"))
	defer cancel()
	conn, err := t.clientStack.dial(ctx, netip.AddrPortFrom(serverHost, tcpPort))
	if err != nil {
		x.abort()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("connecting through the tunnel: %w", err)
	}
	x.client, x.last = conn, time.Now()
	x.ended.Go(func() { x.receiver = x.fetch(conn) })
	return x, nil
}

// serve is the server: it sends to whoever connects first until stop is called.
func (x *transfer) serve(seed uint64) (o outcome) {
	conn, err := x.listener.Accept()
	if err != nil {
		return outcome{err: err}
	}
	defer conn.Close()
	x.mu.Lock()
	x.server = conn
	x.mu.Unlock()
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	random := rand.NewChaCha8(key)
	sum := sha256.New()
	buf := make([]byte, chunk)
	for {
		select {
		case <-x.stopped:
			o.err = conn.(interface{ CloseWrite() error }).CloseWrite()
			sum.Sum(o.hash[:0])
			// The connection is over when the client has read everything and closed.
			conn.SetReadDeadline(time.Now().Add(drainFor))
			io.Copy(io.Discard, conn)
			return o
		default:
		}
		random.Read(buf)
		n, err := conn.Write(buf)
		sum.Write(buf[:n])
		o.bytes += int64(n)
		if err != nil {
			o.err = err
			return o
		}
	}
}

// fetch is the client: it reads until the end.
func (x *transfer) fetch(conn net.Conn) (o outcome) {
	defer conn.Close()
	sum := sha256.New()
	buf := make([]byte, 4*chunk)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			sum.Write(buf[:n])
			o.bytes += int64(n)
			x.received.Add(int64(n))
			x.arrived(time.Now())
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				o.err = err
			}
			sum.Sum(o.hash[:0])
			return o
		}
	}
}

func (x *transfer) arrived(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gap = max(x.gap, now.Sub(x.last))
	x.last = now
}

// resetGap forgets the gaps until now.
func (x *transfer) resetGap(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gap = 0
	x.last = now
}

// longestGap returns the longest time since resetGap in which nothing arrived.
func (x *transfer) longestGap(now time.Time) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return max(x.gap, now.Sub(x.last))
}

// drainFor bounds how long what was sent may take to arrive.
const drainFor = 8 * time.Second

// stop makes the sender send no more. done tells when everything has arrived.
func (x *transfer) stop() { x.stopOnce.Do(func() { close(x.stopped) }) }

// done returns a channel that is closed when both ends have finished.
func (x *transfer) done() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.ended.Wait()
	}()
	return done
}

// abort ends the transfer at once. A receiver that closes with bytes unread resets
// the connection, which ends the sender's side of it, too.
func (x *transfer) abort() {
	x.stop()
	x.listener.Shutdown() // ends Accept, which Close does not
	x.expire(x.client)
	ended := x.done()
	select {
	case <-ended:
	case <-time.After(resetFor):
		x.mu.Lock()
		server := x.server
		x.mu.Unlock()
		x.expire(server)
		<-ended
	}
	x.listener.Close()
}

// resetFor bounds how long a reset may take to reach the sender.
const resetFor = 500 * time.Millisecond

// expire makes reads and writes that wait return.
func (x *transfer) expire(conn net.Conn) {
	if conn != nil {
		conn.SetDeadline(time.Now())
	}
}
