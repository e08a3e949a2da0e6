package demo

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	gstack "gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/multilink-vpn/multilink/tun"
)

// A stack is a user-space TCP/IP stack, gVisor's, with one IPv4 address. It is the
// tun.Device of one end of the tunnel.
//
// wireguard-go's tun/netstack wraps the same stack and would do as a device, but it
// does not let its user choose TCP's loss recovery, and its Close panics if it is
// called twice or while the stack sends.
type stack struct {
	addr  netip.Addr
	stack *gstack.Stack
	link  *channel.Endpoint

	parted context.Context // done when the tunnel has closed its device
	part   context.CancelFunc
}

var _ tun.Device = (*stack)(nil)

const (
	// batch is how many packets one Read yields at most.
	batch = 32

	// sendQueue is how many packets may wait for Read. TCP's window is less.
	sendQueue = 4096

	nic = 1
)

func newStack(addr netip.Addr) (*stack, error) {
	s := &stack{
		addr: addr,
		stack: gstack.New(gstack.Options{
			NetworkProtocols:   []gstack.NetworkProtocolFactory{ipv4.NewProtocol},
			TransportProtocols: []gstack.TransportProtocolFactory{tcp.NewProtocol},
		}),
		link: channel.New(sendQueue, mtu, ""),
	}
	s.parted, s.part = context.WithCancel(context.Background())
	if err := s.configure(); err != nil {
		s.close()
		return nil, fmt.Errorf("setting up a network stack: %v", err)
	}
	return s, nil
}

func (s *stack) configure() tcpip.Error {
	sack := tcpip.TCPSACKEnabled(true)
	if err := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		return err
	}
	// With RACK, its default, this TCP sends one segment per round trip after a timeout
	// that lost many, for as long as it takes to repair them all: every ACK on the way
	// counts as a new loss. RFC 6675, which it uses otherwise, recovers as others do.
	recovery := tcpip.TCPRecovery(0)
	if err := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &recovery); err != nil {
		return err
	}
	if err := s.stack.CreateNIC(nic, s.link); err != nil {
		return err
	}
	addr := tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddrFrom4(s.addr.As4()).WithPrefix(),
	}
	if err := s.stack.AddProtocolAddress(nic, addr, gstack.AddressProperties{}); err != nil {
		return err
	}
	s.stack.AddRoute(tcpip.Route{Destination: header.IPv4EmptySubnet, NIC: nic})
	return nil
}

// Read implements tun.Device.
func (s *stack) Read(bufs [][]byte, sizes []int, offset int) (n int, err error) {
	p := s.link.ReadContext(s.parted)
	if p == nil {
		return 0, os.ErrClosed
	}
	for ; p != nil; p = s.link.Read() {
		sizes[n] = flatten(bufs[n][offset:], p)
		p.DecRef()
		if n++; n == len(bufs) {
			break
		}
	}
	return n, nil
}

func flatten(dst []byte, p *gstack.PacketBuffer) (n int) {
	for _, part := range p.AsSlices() {
		n += copy(dst[n:], part)
	}
	return n
}

// Write implements tun.Device. The stack copies the packets.
func (s *stack) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		p := gstack.NewPacketBuffer(gstack.PacketBufferOptions{Payload: buffer.MakeWithData(b[offset:])})
		s.link.InjectInbound(ipv4.ProtocolNumber, p)
		p.DecRef()
	}
	return len(bufs), nil
}

// MTU implements tun.Device.
func (s *stack) MTU() (int, error) { return mtu, nil }

// Name implements tun.Device.
func (s *stack) Name() (string, error) { return "gvisor", nil }

// BatchSize implements tun.Device.
func (s *stack) BatchSize() int { return batch }

// Close implements tun.Device. It parts the stack from the tunnel; close ends it.
func (s *stack) Close() error {
	s.part()
	return nil
}

// close ends the stack, its connections and its goroutines.
func (s *stack) close() {
	s.part()
	s.stack.Destroy()
	s.link.Close()
	s.link.Drain()
}

// listen listens for TCP connections.
func (s *stack) listen(port uint16) (*gonet.TCPListener, error) {
	return gonet.ListenTCP(s.stack, tcpip.FullAddress{NIC: nic, Port: port}, ipv4.ProtocolNumber)
}

// dial makes a TCP connection.
func (s *stack) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	at := tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(to.Addr().As4()), Port: to.Port()}
	conn, err := gonet.DialContextTCP(ctx, s.stack, at, ipv4.ProtocolNumber)
	if err != nil {
		return nil, err
	}
	return conn, nil
}
