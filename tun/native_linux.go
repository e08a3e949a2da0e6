package tun

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

const cloneDevice = "/dev/net/tun"

// linux is a TUN or TAP device. Its file descriptor is opened here, so that nothing
// has to monitor the interface from goroutines of other network namespaces.
type linux struct {
	packets
	file *os.File // belongs to packets
	ctl  *control
}

// packets moves packets: wireguard for TUN, tap for TAP.
type packets interface {
	read(bufs [][]byte, sizes []int, offset int) (int, error)
	write(bufs [][]byte, offset int) error
	batchSize() int
	close() error
}

func (l *linux) read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n, err := l.packets.read(bufs, sizes, offset)
	if err != nil && err != errSkip && l.removed() {
		err = errRemoved
	}
	return n, err
}

func (l *linux) write(bufs [][]byte, offset int) error {
	err := l.packets.write(bufs, offset)
	if err != nil && l.removed() {
		err = errRemoved
	}
	return err
}

// removed reports whether the interface was deleted. The errors of reads and writes do
// not tell: some are those of a closed file.
func (l *linux) removed() bool {
	conn, err := l.file.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	err = conn.Control(func(fd uintptr) {
		_, err := query(int(fd))
		gone = errors.Is(err, unix.EBADFD)
	})
	return err == nil && gone
}

func (l *linux) mtu() (int, error) { return l.ctl.mtu() }

func (l *linux) close() error {
	return errors.Join(l.packets.close(), l.ctl.close())
}

func openSystem(cfg Config) (system, string, error) {
	fail := func(format string, args ...any) (system, string, error) {
		return nil, "", fmt.Errorf("tun: open %q: "+format, append([]any{cfg.Name}, args...)...)
	}
	name := cfg.Name
	if name == "" {
		name = "tun%d"
		if cfg.TAP {
			name = "tap%d"
		}
	}
	if err := checkName(name); err != nil {
		return fail("%w", err)
	}
	fd, err := unix.Open(cloneDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch {
	case err == nil:
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV):
		return fail("no %s (load the kernel module tun; pass the device to a container): %w", cloneDevice, err)
	case errors.Is(err, os.ErrPermission):
		return fail("%s: %s: %w", cloneDevice, permissionHint, err)
	default:
		return fail("%s: %w", cloneDevice, err)
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return fail("%w", err)
	}
	flags, kind, otherwise := uint16(unix.IFF_TUN|unix.IFF_NO_PI|unix.IFF_VNET_HDR), "TUN", "a TAP device"
	if cfg.TAP {
		flags, kind, otherwise = unix.IFF_TAP|unix.IFF_NO_PI, "TAP", "a TUN device"
	}
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		unix.Close(fd)
		switch {
		case errors.Is(err, os.ErrPermission):
			return fail("%s: %w", permissionHint, err)
		case errors.Is(err, unix.EBUSY):
			return fail("the device is in use by another program, choose another name: %w", err)
		case errors.Is(err, unix.EINVAL):
			return fail("the name belongs to an interface that is no %s device, or to %s, choose another name: %w", kind, otherwise, err)
		}
		return fail("make %s device: %w", kind, err)
	}
	sys, name, err := attach(fd, cfg.TAP, cfg.mtu(), cfg.MTU == 0)
	if err != nil {
		return fail("%w", err)
	}
	return sys, name, nil
}

const permissionHint = "needs root or CAP_NET_ADMIN, or a device prepared with ip tuntap add dev NAME mode tun|tap user USER"

// checkName catches what the kernel would refuse without a reason.
func checkName(name string) error {
	switch {
	case len(name) >= unix.IFNAMSIZ:
		return fmt.Errorf("an interface name has at most %d bytes", unix.IFNAMSIZ-1)
	case name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r\x00"):
		return errors.New("an interface name has no slash, colon or white space")
	case strings.Count(name, "%") > 1 || strings.Contains(strings.ReplaceAll(name, "%d", ""), "%"):
		return errors.New("an interface name has no percent sign but one %d")
	}
	return nil
}

func adoptSystem(f *os.File, cfg Config) (system, string, bool, error) {
	defer f.Close()
	fail := func(format string, args ...any) (system, string, bool, error) {
		return nil, "", false, fmt.Errorf("tun: adopt %s: "+format, append([]any{f.Name()}, args...)...)
	}
	// f may be registered with the runtime's poller in blocking mode. A descriptor
	// of our own has no such history.
	fd, err := duplicate(f)
	if err != nil {
		return fail("%w", err)
	}
	ifr, err := query(fd)
	if err != nil {
		unix.Close(fd)
		return fail("not a TUN or TAP device: %w", err)
	}
	// Whether IFF_NO_PI is set cannot be seen: TUNGETIFF reports a socket without filter
	// in the same bit.
	flags := ifr.Uint16()
	tap := flags&unix.IFF_TAP != 0
	switch {
	case tap && flags&unix.IFF_VNET_HDR != 0:
		unix.Close(fd)
		return fail("TAP device has offload headers: open it without IFF_VNET_HDR")
	case cfg.TAP && !tap:
		unix.Close(fd)
		return fail("a TUN device, not a TAP device")
	}
	sys, name, err := attach(fd, tap, cfg.MTU, false)
	if err != nil {
		return fail("%w", err)
	}
	return sys, name, tap, nil
}

func duplicate(f *os.File) (fd int, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	ctlErr := conn.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if ctlErr != nil {
		return -1, ctlErr
	}
	return fd, err
}

// query returns the name and flags of the interface behind fd.
func query(fd int) (*unix.Ifreq, error) {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return nil, err
	}
	return ifr, unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr)
}

// attach builds the system on fd, which it takes. mtu 0 leaves the MTU alone; a
// lenient attach keeps the interface's MTU if it may not change it.
func attach(fd int, tap bool, mtu int, lenient bool) (system, string, error) {
	ifr, err := query(fd)
	if err != nil {
		unix.Close(fd)
		return nil, "", fmt.Errorf("get the interface's name: %w", err)
	}
	name := ifr.Name()
	ctl, err := newControl(name)
	if err != nil {
		unix.Close(fd)
		return nil, "", err
	}
	if mtu != 0 {
		err := ctl.setMTU(mtu)
		if err != nil && !(lenient && errors.Is(err, os.ErrPermission)) {
			unix.Close(fd)
			ctl.close()
			return nil, "", err
		}
	}
	if tap {
		if err := unix.SetNonblock(fd, true); err != nil {
			unix.Close(fd)
			ctl.close()
			return nil, "", err
		}
		file := os.NewFile(uintptr(fd), name)
		return &linux{&tapDevice{file}, file, ctl}, name, nil
	}
	if ifr.Uint16()&unix.IFF_VNET_HDR != 0 {
		// An earlier owner may have chosen the longer header.
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, 10); err != nil {
			unix.Close(fd)
			ctl.close()
			return nil, "", fmt.Errorf("set the offload header's size: %w", err)
		}
	}
	dev, _, err := wgtun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		unix.Close(fd)
		ctl.close()
		return nil, "", err
	}
	return &linux{newWireguard(dev), dev.File(), ctl}, name, nil
}

// control asks the kernel about an interface over a socket. The socket belongs to the
// network namespace that the interface was opened in, whatever thread uses it.
type control struct {
	name string
	last atomic.Int64 // the MTU last seen

	mu sync.Mutex // guards the following
	fd int
}

func newControl(name string) (*control, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	c := &control{name: name, fd: fd}
	if _, err := c.mtu(); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("get the MTU: %w", err)
	}
	return c, nil
}

// mtu returns the MTU. An interface that was renamed or moved to another network
// namespace keeps the last one known.
func (c *control) mtu() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return 0, os.ErrClosed
	}
	ifr, err := unix.NewIfreq(c.name)
	if err != nil {
		return 0, err
	}
	err = unix.IoctlIfreq(c.fd, unix.SIOCGIFMTU, ifr)
	if errors.Is(err, unix.ENODEV) && c.last.Load() != 0 {
		return int(c.last.Load()), nil
	}
	if err != nil {
		return 0, err
	}
	mtu := int(ifr.Uint32())
	c.last.Store(int64(mtu))
	return mtu, nil
}

// setMTU sets the MTU unless it is so already, which needs no privilege.
func (c *control) setMTU(mtu int) error {
	if int(c.last.Load()) == mtu {
		return nil
	}
	ifr, err := unix.NewIfreq(c.name)
	if err != nil {
		return err
	}
	ifr.SetUint32(uint32(mtu))
	if err := unix.IoctlIfreq(c.fd, unix.SIOCSIFMTU, ifr); err != nil {
		return fmt.Errorf("set the MTU from %d to %d (if not privileged, use ip link set dev %s mtu %d before): %w",
			c.last.Load(), mtu, c.name, mtu, err)
	}
	c.last.Store(int64(mtu))
	return nil
}

func (c *control) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	err := unix.Close(c.fd)
	c.fd = -1
	return err
}
