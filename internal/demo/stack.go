package demo

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	wgtun "golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/multilink-vpn/multilink/tun"
)

// A stack is a user-space TCP/IP stack (gVisor's, as wireguard-go wraps it) with one
// address. It is the tun.Device of one end of the tunnel.
//
// wireguard-go's device could be handed to the tunnel as it is, but for its Close: a
// second Close panics, and so does a Close while the stack sends a packet. So Close
// only parts the stack from the tunnel, and close ends the stack when it is quiet.
// Between the two, what the stack sends is dropped.
type stack struct {
	device wgtun.Device
	net    *netstack.Net

	packets chan []byte // from the stack, to Read
	free    chan []byte

	parted chan struct{}
	part   sync.Once
	pumped chan struct{} // closed when pump has ended
	sent   chan struct{} // has an element if the stack has sent something lately
}

var _ tun.Device = (*stack)(nil)

// batch is how many packets one Read yields at most.
const batch = 32

func newStack(addr netip.Addr) (*stack, error) {
	device, net, err := netstack.CreateNetTUN([]netip.Addr{addr}, nil, mtu)
	if err != nil {
		return nil, err
	}
	s := &stack{
		device:  device,
		net:     net,
		packets: make(chan []byte, 2*batch),
		free:    make(chan []byte, 3*batch),
		parted:  make(chan struct{}),
		pumped:  make(chan struct{}),
		sent:    make(chan struct{}, 1),
	}
	for range cap(s.free) {
		s.free <- make([]byte, mtu)
	}
	go s.pump()
	return s, nil
}

// pump takes what the stack sends, for Read, or for nobody once the stack is parted.
func (s *stack) pump() {
	defer close(s.pumped)
	sizes := make([]int, 1)
	bufs := make([][]byte, 1)
	scrap := make([]byte, mtu)
	for {
		buf := scrap
		select {
		case buf = <-s.free:
		case <-s.parted:
		}
		bufs[0] = buf[:cap(buf)]
		n, err := s.device.Read(bufs, sizes, 0)
		if err != nil {
			return
		}
		if n == 0 {
			continue
		}
		select {
		case s.sent <- struct{}{}:
		default:
		}
		select {
		case s.packets <- bufs[0][:sizes[0]]:
		case <-s.parted:
		}
	}
}

// Read implements tun.Device.
func (s *stack) Read(bufs [][]byte, sizes []int, offset int) (n int, err error) {
	select {
	case p := <-s.packets:
		s.take(p, bufs, sizes, offset, 0)
	case <-s.parted:
		return 0, os.ErrClosed
	}
	for n = 1; n < len(bufs); n++ {
		select {
		case p := <-s.packets:
			s.take(p, bufs, sizes, offset, n)
		default:
			return n, nil
		}
	}
	return n, nil
}

func (s *stack) take(p []byte, bufs [][]byte, sizes []int, offset, i int) {
	sizes[i] = copy(bufs[i][offset:], p)
	s.free <- p
}

// Write implements tun.Device.
func (s *stack) Write(bufs [][]byte, offset int) (int, error) {
	return s.device.Write(bufs, offset)
}

// MTU implements tun.Device.
func (s *stack) MTU() (int, error) { return s.device.MTU() }

// Name implements tun.Device.
func (s *stack) Name() (string, error) { return s.device.Name() }

// BatchSize implements tun.Device.
func (s *stack) BatchSize() int { return batch }

// Close implements tun.Device.
func (s *stack) Close() error {
	s.part.Do(func() { close(s.parted) })
	return nil
}

const (
	// quiet is how long the stack must have sent nothing before it is closed. It is
	// shorter than TCP's shortest retransmission timeout, so that a connection that is
	// not quite over cannot keep close waiting.
	quiet = 50 * time.Millisecond
	// quietFor bounds the wait.
	quietFor = time.Second
)

// close ends the stack. Its connections should have ended.
func (s *stack) close() {
	s.Close()
	limit := time.After(quietFor)
wait:
	for {
		select {
		case <-s.sent:
		case <-time.After(quiet):
			break wait
		case <-limit:
			break wait
		}
	}
	s.device.Close()
	<-s.pumped
}

// A listener is a stack's. Close does not end an Accept that waits, Shutdown does.
type listener interface {
	net.Listener
	Shutdown()
}

// listen listens for TCP connections.
func (s *stack) listen(addr netip.AddrPort) (listener, error) {
	return s.net.ListenTCPAddrPort(addr)
}

// dial makes a TCP connection.
func (s *stack) dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	return s.net.DialContextTCPAddrPort(ctx, addr)
}
