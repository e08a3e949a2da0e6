package routing

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// source listens on a host and sends without end to whoever connects. It returns whom
// it has seen.
func (w *world) source(host, address string) (peers func() []netip.Addr) {
	w.t.Helper()
	l, err := w.hosts[host].Listen("tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []netip.Addr
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			seen = append(seen, c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap())
			mu.Unlock()
			serving.Go(func() {
				defer c.Close()
				for buf := make([]byte, 16<<10); ; {
					if _, err := c.Write(buf); err != nil {
						return
					}
				}
			})
		}
	})
	w.t.Cleanup(func() { l.Close() })
	return func() []netip.Addr {
		mu.Lock()
		defer mu.Unlock()
		return append([]netip.Addr(nil), seen...)
	}
}

// A download is a TCP connection that reads all the time.
type download struct {
	conn  net.Conn
	bytes atomic.Int64
	err   chan error
}

// download starts one from a host.
func (w *world) download(host, address string) *download {
	w.t.Helper()
	c, err := w.hosts[host].Dial(w.t.Context(), "tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	d := &download{conn: c, err: make(chan error, 1)}
	go func() {
		for buf := make([]byte, 64<<10); ; {
			n, err := c.Read(buf)
			d.bytes.Add(int64(n))
			if err != nil {
				d.err <- err
				return
			}
		}
	}()
	w.t.Cleanup(func() { c.Close() })
	return d
}

// grows waits until so many more bytes have arrived, and fails the test if that takes
// longer than it may.
func (d *download) grows(t *testing.T, bytes int64, within time.Duration) {
	t.Helper()
	want := d.bytes.Load() + bytes
	eventually(t, within, "the download goes on", func() bool {
		select {
		case err := <-d.err:
			t.Fatalf("the download has ended: %v", err)
		default:
		}
		return d.bytes.Load() >= want
	})
}

// eventually waits until ok, and fails the test if that takes longer than it may.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A capture counts the IPv4 packets that pass an interface of a host, by protocol and
// addresses, without those that a switch delivers by mistake.
type capture struct {
	mu    sync.Mutex
	count map[flow]int
}

type flow struct {
	out      bool // of the interface
	proto    byte
	src, dst netip.Addr
}

func (w *world) capture(host, dev string) *capture {
	w.t.Helper()
	var fd int
	w.in(host, func() (err error) {
		ifi, err := net.InterfaceByName(dev)
		if err != nil {
			return err
		}
		all := int(uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8)
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100000})
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: ifi.Index})
	})
	c := &capture{count: make(map[flow]int)}
	var running sync.WaitGroup
	var done atomic.Bool
	running.Go(func() {
		defer unix.Close(fd)
		for buf := make([]byte, 2048); !done.Load(); {
			n, from, err := unix.Recvfrom(fd, buf, 0)
			ll, ok := from.(*unix.SockaddrLinklayer)
			if err != nil || !ok || ll.Pkttype == unix.PACKET_OTHERHOST || n < 20 || buf[0]>>4 != 4 {
				continue
			}
			f := flow{
				out: ll.Pkttype == unix.PACKET_OUTGOING, proto: buf[9],
				src: netip.AddrFrom4([4]byte(buf[12:16])), dst: netip.AddrFrom4([4]byte(buf[16:20])),
			}
			c.mu.Lock()
			c.count[f]++
			c.mu.Unlock()
		}
	})
	w.t.Cleanup(func() { done.Store(true); running.Wait() })
	return c
}

// packets returns how many packets fit.
func (c *capture) packets(fits func(f flow) bool) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f, k := range c.count {
		if fits(f) {
			n += k
		}
	}
	return n
}
