package mlvpn

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// A memQueue is one direction of a link in memory: datagrams in pooled buffers, so
// that it allocates nothing once its pool is filled, and no goroutine.
type memQueue struct {
	wake   chan struct{} // capacity 1
	closed chan struct{}
	once   sync.Once
	limit  int // datagrams; beyond, put refuses

	mu    sync.Mutex // guards the following
	queue []memDatagram
	head  int
	free  [][]byte
}

type memDatagram struct {
	data []byte
	from link.Addr
}

func newMemQueue(limit int) *memQueue {
	return &memQueue{wake: make(chan struct{}, 1), closed: make(chan struct{}), limit: limit}
}

// put appends a copy of a datagram and reports false if the queue is full.
func (q *memQueue) put(datagram []byte, from link.Addr) bool {
	q.mu.Lock()
	if len(q.queue)-q.head >= q.limit {
		q.mu.Unlock()
		return false
	}
	var buf []byte
	if n := len(q.free); n > 0 && len(datagram) <= cap(q.free[n-1]) {
		buf, q.free = q.free[n-1], q.free[:n-1]
	} else {
		buf = make([]byte, 0, max(2048, len(datagram)))
	}
	q.queue = append(q.queue, memDatagram{append(buf[:0], datagram...), from})
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// take waits for datagrams and copies as many as fit; from may be nil.
func (q *memQueue) take(bufs [][]byte, sizes []int, from []link.Addr) (int, error) {
	for {
		q.mu.Lock()
		n := 0
		for q.head < len(q.queue) && n < len(bufs) {
			d := &q.queue[q.head]
			sizes[n] = copy(bufs[n], d.data)
			if from != nil {
				from[n] = d.from
			}
			q.free = append(q.free, d.data)
			*d = memDatagram{}
			q.head++
			n++
		}
		if q.head == len(q.queue) {
			q.queue, q.head = q.queue[:0], 0
		}
		q.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-q.wake:
		case <-q.closed:
			return 0, net.ErrClosed
		}
	}
}

func (q *memQueue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue) - q.head
}

func (q *memQueue) close() { q.once.Do(func() { close(q.closed) }) }

// A memLink and a memSocket are the two ends of a link in memory without any
// impairment.
type memLink struct {
	in, out *memQueue
	addr    link.Addr // what the socket sees
}

type memSocket struct {
	in    *memQueue
	links map[link.Addr]*memQueue
}

var (
	_ link.Link   = (*memLink)(nil)
	_ link.Socket = (*memSocket)(nil)
)

const memMTU = 1500

// newMemPair returns a link and the socket that it leads to, which holds up to limit
// datagrams in each direction.
func newMemPair(limit int) (*memLink, *memSocket) {
	addr := link.Addr{Remote: netip.MustParseAddrPort("198.51.100.1:4000")}
	up, down := newMemQueue(limit), newMemQueue(limit)
	return &memLink{in: down, out: up, addr: addr}, &memSocket{in: up, links: map[link.Addr]*memQueue{addr: down}}
}

func (l *memLink) Send(pkts [][]byte) (int, error) {
	for i, pkt := range pkts {
		if !l.out.put(pkt, l.addr) {
			return i, link.ErrFull
		}
	}
	return len(pkts), nil
}

func (l *memLink) Receive(bufs [][]byte, sizes []int) (int, error) {
	return l.in.take(bufs, sizes, nil)
}

func (l *memLink) MTU() int { return memMTU }

func (l *memLink) Close() error {
	l.in.close()
	return nil
}

func (s *memSocket) SendTo(pkts [][]byte, to link.Addr) (int, error) {
	q := s.links[to]
	for i, pkt := range pkts {
		if q != nil && !q.put(pkt, link.Addr{}) {
			return i, link.ErrFull
		}
	}
	return len(pkts), nil
}

func (s *memSocket) ReceiveFrom(bufs [][]byte, sizes []int, from []link.Addr) (int, error) {
	return s.in.take(bufs, sizes, from)
}

func (s *memSocket) LocalAddr() netip.AddrPort {
	return netip.MustParseAddrPort("203.0.113.1:5000")
}

func (s *memSocket) MTU() int { return memMTU }

func (s *memSocket) Close() error {
	s.in.close()
	return nil
}

// BenchmarkPair is a whole client and server, with their goroutines, over links in
// memory, in one direction. One operation is one packet.
func BenchmarkPair(b *testing.B) {
	for _, links := range []int{1, 4} {
		for _, size := range []int{64, 1400} {
			b.Run(fmt.Sprintf("links=%d/size=%d", links, size), func(b *testing.B) {
				d := newDuct(b, links, size, 16)
				d.carry(4096)
				before, lateBefore := d.sdev.counts()
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				d.carry(b.N)
				b.StopTimer()
				after, late := d.sdev.counts()
				b.ReportMetric(100*(1-float64(after-before)/float64(b.N)), "%lost")
				b.ReportMetric(100*float64(late-lateBefore)/float64(b.N), "%reordered")
			})
		}
	}
}

// BenchmarkSend and BenchmarkReceive are the two halves alone, without goroutines:
// from the device's batch to the link's queue, and from there to the device.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{64, 1400} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			d := newDriver(newBench(b, 1, size, 16))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for n := 0; n < b.N; n += 64 {
				d.send(64)
				if d.wires[0].len() >= 1<<14 {
					b.StopTimer()
					d.receiveAll()
					b.StartTimer()
				}
			}
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	for _, size := range []int{64, 1400} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			d := newDriver(newBench(b, 1, size, 16))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += 64 {
				if d.wires[0].len() == 0 {
					b.StopTimer()
					for range 1 << 8 {
						d.send(64)
					}
					b.StartTimer()
				}
				d.receive()
			}
		})
	}
}

// BenchmarkIdleSessions reports what a server keeps for each session that is up and
// idle, with one link of the sixteen that a handshake provides for.
func BenchmarkIdleSessions(b *testing.B) {
	for range b.N {
		const sessions = 1000
		serverKey := crypto.GeneratePrivateKey()
		server, err := NewServer(ServerConfig{Config: Config{Device: tuntest.New(tuntest.Config{}), Key: serverKey}})
		if err != nil {
			b.Fatal(err)
		}
		_, sock := newMemPair(1 << 16)
		for q := range sock.links {
			delete(sock.links, q) // what is sent is lost
		}
		if err := server.AddSocket(sock, LinkConfig{Name: "x"}); err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { server.Run(ctx) })
		server.Stats()
		before := heap()
		secrets := make([]*crypto.Secrets, sessions)
		clientKey := crypto.GeneratePrivateKey()
		for i := range secrets {
			_, secrets[i] = exchangeSecrets(b, clientKey, serverKey)
		}
		s := &server.e.sender
		for i := range secrets {
			s.e.call(func(now time.Time) {
				own := s.allocate(minLinks)
				ses := &Session{e: server.e, peer: "client"}
				ep := s.newEpoch(now, ses, secrets[i], crypto.ChaCha20Poly1305, own, own)
				s.propose(now, ses, ep)
				p := s.path(ep, 0)
				on := &port{cfg: LinkConfig{Name: "x", Timeout: time.Hour}, sock: sock, traffic: newTraffic()}
				if err := s.join(now, p, on, link.Addr{Remote: netip.MustParseAddrPort("192.0.2.1:1")}); err != nil {
					b.Error(err)
					return
				}
				p.tx.monitor.Answered(now)
				s.noteState(now, p, "")
			})
		}
		if n := len(server.Stats().Sessions); n != sessions {
			b.Fatalf("%d sessions", n)
		}
		b.ReportMetric(float64(int64(heap())-int64(before))/sessions, "B/session")
		cancel()
		running.Wait()
	}
}
