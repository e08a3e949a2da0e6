// Package tun opens the virtual network device whose packets a tunnel carries.
//
// A [Device] is a method subset of golang.zx2c4.com/wireguard/tun.Device, so any
// device of that package, its user-space network stack included, is one. The
// package opens and adopts devices; it configures no address, route or firewall.
package tun

// A Device is a virtual network interface. Reads yield the packets that the host
// sends into it, writes deliver packets to the host.
//
// A packet is a bare IP packet (TUN) or an Ethernet frame (TAP).
//
// Read and Write may be called concurrently with each other and with Close. At
// most one goroutine calls Read at a time, and one Write. Neither retains a buffer
// once it returns.
type Device interface {
	// Read waits for at least one packet and reads up to len(bufs) of them, at most
	// BatchSize. Packet i is put at bufs[i][offset:] and its length in sizes[i]; the
	// bytes before offset are headroom and left alone. It returns the number of
	// packets. After Close it returns an error that matches os.ErrClosed or
	// net.ErrClosed.
	Read(bufs [][]byte, sizes []int, offset int) (n int, err error)

	// Write sends the packets bufs[i][offset:] to the host. The device may use the
	// bytes before offset as scratch space (an offset of at least 16 suits every
	// system), may change the packets' contents and may append to a buffer within
	// its capacity. The returned n is informative only: implementations differ on
	// whether it counts packets or bytes.
	Write(bufs [][]byte, offset int) (n int, err error)

	// MTU returns the largest packet, in bytes, that the host will send into the
	// device. It may change while the device is open.
	MTU() (int, error)

	// Name returns the interface's name.
	Name() (string, error)

	// BatchSize returns the largest number of packets that one Read may yield. It
	// does not change.
	BatchSize() int

	// Close unblocks Read and Write and releases the device. It may be called more
	// than once.
	Close() error
}

// Headroom is the offset, in bytes, that suits Read and Write of every Device.
const Headroom = 16
