package tun

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// inNamespace runs f on a thread of its own, in a network namespace of its own. Both
// end with it.
func inNamespace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	done := make(chan struct{})
	var reason error
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread must not serve anybody else
		if reason = unix.Unshare(unix.CLONE_NEWNET); reason != nil {
			return
		}
		if _, reason = os.Stat(cloneDevice); reason != nil {
			return
		}
		f(t)
	}()
	<-done
	if reason != nil {
		if os.Getenv("MULTILINK_REQUIRE_ROOT") == "1" {
			t.Fatalf("cannot make a network namespace with TUN devices: %v", reason)
		}
		t.Skipf("needs root and %s: %v", cloneDevice, reason)
	}
}

// check ends the test. Unlike t.Fatal it may be called by f of inNamespace.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
}

func open(t *testing.T, cfg Config) *Native {
	t.Helper()
	n, err := Open(cfg)
	check(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

// up gives the interface an address and brings it up.
func up(t *testing.T, name, addr string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	check(t, err)
	a, err := netlink.ParseAddr(addr)
	check(t, err)
	check(t, netlink.AddrAdd(link, a))
	check(t, netlink.LinkSetUp(link))
}

func socket(t *testing.T, addr string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// readUDP reads until there is an IPv4 packet to port and returns its UDP payload.
func readUDP(t *testing.T, n *Native, bufs [][]byte, sizes []int, port uint16) []byte {
	t.Helper()
	for range 100 {
		count, err := n.Read(bufs, sizes, Headroom)
		check(t, err)
		for i := range count {
			pkt := bufs[i][Headroom : Headroom+sizes[i]]
			if n.TAP() {
				pkt = pkt[14:]
			}
			if len(pkt) >= 28 && pkt[0]>>4 == 4 && pkt[9] == unix.IPPROTO_UDP && binary.BigEndian.Uint16(pkt[22:]) == port {
				return pkt[28:]
			}
		}
	}
	check(t, fmt.Errorf("no datagram for port %d in 100 reads", port))
	return nil
}

func udp4(src, dst netip.AddrPort, payload []byte) []byte {
	h := ipv4.Header{Version: 4, Len: 20, TotalLen: 28 + len(payload), TTL: 64, Protocol: unix.IPPROTO_UDP,
		Src: src.Addr().AsSlice(), Dst: dst.Addr().AsSlice()}
	b, err := h.Marshal()
	if err != nil {
		panic(err)
	}
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum>>16+sum))
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(b, 0, 0) // no checksum (RFC 768)
	return append(b, payload...)
}

var (
	host  = netip.MustParseAddrPort("192.0.2.1:2000")
	other = netip.MustParseAddrPort("192.0.2.2:2001")
)

func TestTUN(t *testing.T) { inNamespace(t, testTUN) }

func testTUN(t *testing.T) {
	n := open(t, Config{Name: "mltest%d"})
	name, _ := n.Name()
	if name != "mltest0" {
		t.Errorf("name is %q", name)
	}
	if mtu, err := n.MTU(); mtu != DefaultMTU || err != nil {
		t.Errorf("MTU = %d, %v", mtu, err)
	}
	if n.BatchSize() != 128 || n.TAP() {
		t.Errorf("batch size %d, TAP %v", n.BatchSize(), n.TAP())
	}
	up(t, name, "192.0.2.1/24")
	conn := socket(t, host.String())

	_, err := conn.WriteToUDPAddrPort([]byte("out"), other)
	check(t, err)
	bufs, sizes := buffers(128, 2048)
	if got := readUDP(t, n, bufs, sizes, other.Port()); string(got) != "out" {
		t.Errorf("read %q", got)
	}

	var out [][]byte
	for i := range 200 {
		pkt := udp4(other, host, fmt.Appendf(nil, "in %d", i))
		if i == 100 {
			pkt = []byte{0xf0, 0} // the kernel refuses this one
		}
		out = append(out, append(make([]byte, Headroom, 4096), pkt...))
	}
	if _, err := n.Write(out, Headroom); err == nil {
		t.Error("no error for a packet that is none")
	}
	check(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	buf := make([]byte, 100)
	for i := range 200 {
		if i == 100 {
			continue
		}
		k, from, err := conn.ReadFromUDPAddrPort(buf)
		check(t, err)
		if want := fmt.Sprintf("in %d", i); string(buf[:k]) != want || from != other {
			t.Errorf("received %q from %v, want %q", buf[:k], from, want)
			break
		}
	}
	wantNoAllocs(t, n, conn, out[:100])
}

// TestTUNSegments sends one super-packet through the device, and reads it with as many
// buffers as its segments need, and with fewer.
func TestTUNSegments(t *testing.T) { inNamespace(t, testTUNSegments) }

func testTUNSegments(t *testing.T) {
	n := open(t, Config{Name: "mltest0", MTU: 1500})
	up(t, "mltest0", "192.0.2.1/24")
	conn := socket(t, host.String())
	for _, count := range []int{128, 3, 1} {
		payload := bytes.Repeat([]byte("0123456789"), 2000)
		oob := segmentSize(1000)
		if _, _, err := conn.WriteMsgUDPAddrPort(payload, oob, other); err != nil {
			t.Logf("kernel does not segment UDP: %v", err)
			return
		}
		bufs, sizes := buffers(count, 2048)
		for got := 0; got < 20; {
			k, err := n.Read(bufs, sizes, Headroom)
			check(t, err)
			for i := range k {
				pkt := bufs[i][Headroom : Headroom+sizes[i]]
				if pkt[0]>>4 != 4 {
					continue
				}
				if len(pkt) != 1028 || !bytes.Equal(pkt[28:], payload[:1000]) {
					t.Errorf("segment of %d bytes", len(pkt))
				}
				got++
			}
		}
	}
}

// TestTUNOversized raises the MTU behind the program's back: packets that do not fit
// the buffers are lost, and nothing else happens.
func TestTUNOversized(t *testing.T) { inNamespace(t, testTUNOversized) }

func testTUNOversized(t *testing.T) {
	n := open(t, Config{Name: "mltest0"})
	up(t, "mltest0", "192.0.2.1/24")
	link, err := netlink.LinkByName("mltest0")
	check(t, err)
	check(t, netlink.LinkSetMTU(link, 9000))
	if mtu, err := n.MTU(); mtu != 9000 || err != nil {
		t.Errorf("MTU = %d, %v", mtu, err)
	}
	conn := socket(t, host.String())
	for _, count := range []int{128, 2} {
		big := make([]byte, 32000)
		_, err := conn.WriteToUDPAddrPort(big[:8000], other) // one packet
		check(t, err)
		_, _, err = conn.WriteMsgUDPAddrPort(big, segmentSize(4000), other) // one super-packet
		if err != nil {
			t.Logf("kernel does not segment UDP: %v", err)
		}
		_, err = conn.WriteToUDPAddrPort([]byte("small"), other)
		check(t, err)
		bufs, sizes := buffers(count, 2048)
		if got := readUDP(t, n, bufs, sizes, other.Port()); string(got) != "small" {
			t.Errorf("read %d bytes", len(got))
		}
	}
}

func segmentSize(n uint16) []byte {
	b := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], n)
	return b
}

func TestTAP(t *testing.T) { inNamespace(t, testTAP) }

func testTAP(t *testing.T) {
	n := open(t, Config{TAP: true, MTU: 1400})
	name, _ := n.Name()
	if name != "tap0" || !n.TAP() || n.BatchSize() != 1 {
		t.Errorf("name %q, TAP %v, batch size %d", name, n.TAP(), n.BatchSize())
	}
	if mtu, err := n.MTU(); mtu != 1400 || err != nil {
		t.Errorf("MTU = %d, %v", mtu, err)
	}
	up(t, name, "192.0.2.1/24")
	link, err := netlink.LinkByName(name)
	check(t, err)
	hostMAC, otherMAC := link.Attrs().HardwareAddr, net.HardwareAddr{2, 0, 0, 0, 0, 9}
	check(t, netlink.NeighAdd(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: other.Addr().AsSlice(),
		HardwareAddr: otherMAC, State: netlink.NUD_PERMANENT}))
	conn := socket(t, host.String())
	bufs, sizes := buffers(1, 2048)

	_, err = conn.WriteToUDPAddrPort([]byte("out"), other)
	check(t, err)
	if got := readUDP(t, n, bufs, sizes, other.Port()); string(got) != "out" {
		t.Errorf("read %q", got)
	}
	frame := append(append(append(append(make([]byte, Headroom), hostMAC...), otherMAC...), 8, 0), udp4(other, host, []byte("in"))...)
	out := [][]byte{frame, frame}
	if k, err := n.Write(out, Headroom); k != 2 || err != nil {
		t.Errorf("Write = %d, %v", k, err)
	}
	check(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	buf := make([]byte, 100)
	for range 2 {
		k, _, err := conn.ReadFromUDPAddrPort(buf)
		check(t, err)
		if string(buf[:k]) != "in" {
			t.Errorf("received %q", buf[:k])
		}
	}
	if _, err := n.Write([][]byte{make([]byte, Headroom+5)}, Headroom); err == nil {
		t.Error("no error for a frame of 5 bytes")
	}

	wantNoAllocs(t, n, conn, out)
}

// wantNoAllocs checks that writing out and reading a datagram of conn do not allocate.
func wantNoAllocs(t *testing.T, n *Native, conn *net.UDPConn, out [][]byte) {
	t.Helper()
	if k := testing.AllocsPerRun(100, func() {
		if _, err := n.Write(out, Headroom); err != nil {
			t.Error(err)
		}
	}); k != 0 {
		t.Errorf("%v allocations per Write", k)
	}
	raw, err := conn.SyscallConn()
	check(t, err)
	to := unix.SockaddrInet4{Port: int(other.Port()), Addr: other.Addr().As4()}
	send := func(fd uintptr) { err = unix.Sendto(int(fd), []byte("x"), 0, &to) }
	const reads = 100
	for range reads + 10 {
		check(t, raw.Control(send))
		check(t, err)
	}
	bufs, sizes := buffers(n.BatchSize(), 2048)
	if k := testing.AllocsPerRun(reads, func() {
		if _, err := n.Read(bufs, sizes, Headroom); err != nil {
			t.Error(err)
		}
	}); k != 0 {
		t.Errorf("%v allocations per Read", k)
	}
}

// TestCloseUnblocks closes devices under a waiting Read.
func TestCloseUnblocks(t *testing.T) { inNamespace(t, testCloseUnblocks) }

func testCloseUnblocks(t *testing.T) {
	for _, cfg := range []Config{{}, {TAP: true}} {
		n := open(t, cfg)
		result := make(chan error)
		go func() {
			bufs, sizes := buffers(n.BatchSize(), 2048)
			for {
				if _, err := n.Read(bufs, sizes, Headroom); err != nil {
					result <- err
					return
				}
			}
		}()
		check(t, n.Close())
		check(t, n.Close())
		if err := <-result; !errors.Is(err, os.ErrClosed) {
			t.Errorf("Read = %v", err)
		}
		if _, err := n.Write([][]byte{make([]byte, 60)}, Headroom); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Write = %v", err)
		}
		if _, err := n.MTU(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("MTU = %v", err)
		}
		name, _ := n.Name()
		if _, err := netlink.LinkByName(name); err == nil {
			t.Errorf("interface %s still exists", name)
		}
	}
}

// TestInterfaceDeleted removes the interface under a waiting Read.
func TestInterfaceDeleted(t *testing.T) { inNamespace(t, testInterfaceDeleted) }

func testInterfaceDeleted(t *testing.T) {
	for _, cfg := range []Config{{Name: "mltest0"}, {Name: "mltest0", TAP: true}} {
		n := open(t, cfg)
		link, err := netlink.LinkByName("mltest0")
		check(t, err)
		check(t, netlink.LinkDel(link))
		bufs, sizes := buffers(128, 2048)
		_, err = n.Read(bufs, sizes, Headroom)
		if errors.Is(err, os.ErrClosed) || err == nil || !strings.Contains(err.Error(), "mltest0: the interface was removed") {
			t.Errorf("Read = %v", err)
		}
		_, err = n.Write([][]byte{append(make([]byte, Headroom), udp4(other, host, nil)...)}, Headroom)
		if errors.Is(err, os.ErrClosed) || err == nil || !strings.Contains(err.Error(), "mltest0: the interface was removed") {
			t.Errorf("Write = %v", err)
		}
		check(t, n.Close())
		if _, err := n.Read(bufs, sizes, Headroom); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Read after Close = %v", err)
		}
	}
}

// TestMTUAcrossNamespaces asks for the MTU from a thread of another namespace, and of
// an interface that has moved.
func TestMTUAcrossNamespaces(t *testing.T) { inNamespace(t, testMTUAcrossNamespaces) }

func testMTUAcrossNamespaces(t *testing.T) {
	n := open(t, Config{Name: "mltest0", MTU: 1300})
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		mtu, err := n.MTU()
		if err == nil && mtu != 1300 {
			err = fmt.Errorf("MTU is %d from another namespace", mtu)
		}
		result <- err
	}()
	check(t, <-result)
	link, err := netlink.LinkByName("mltest0")
	check(t, err)
	check(t, netlink.LinkSetName(link, "mltest1"))
	if mtu, err := n.MTU(); mtu != 1300 || err != nil {
		t.Errorf("MTU of the renamed interface = %d, %v", mtu, err)
	}
}

func TestOpenErrors(t *testing.T) { inNamespace(t, testOpenErrors) }

func testOpenErrors(t *testing.T) {
	open(t, Config{Name: "mltest0"})
	check(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "mlbr0"}}))
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Name: "mltest0"}, "in use"},
		{Config{Name: "mltest0", TAP: true}, "no TAP device"},
		{Config{Name: "mlbr0"}, "no TUN device"},
		{Config{Name: "a-name-too-long0"}, "at most 15 bytes"},
		{Config{Name: "a b"}, "white space"},
		{Config{Name: "a%s"}, "percent"},
		{Config{Name: "a%d%d"}, "percent"},
	} {
		n, err := Open(tt.cfg)
		if err == nil {
			n.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", tt.cfg.Name)) {
			t.Errorf("%+v: %v, want %q", tt.cfg, err, tt.want)
		}
	}
}

// TestUnprivileged gives up its thread's capabilities: then only a prepared device can
// be opened, and its MTU not changed.
func TestUnprivileged(t *testing.T) { inNamespace(t, testUnprivileged) }

func testUnprivileged(t *testing.T) {
	for _, name := range []string{"mlprep0", "mlprep1"} {
		check(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1280}, Mode: unix.IFF_TUN,
			Flags: netlink.TUNTAP_DEFAULTS, Owner: uint32(os.Getuid())}))
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	keep := uint32(1 << unix.CAP_DAC_OVERRIDE) // to open the device node in any container
	none[0] = unix.CapUserData{Effective: keep, Permitted: keep}
	check(t, unix.Capset(&header, &none[0]))

	if n, err := Open(Config{Name: "mltest0"}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("Open = %v, %v", n, err)
	}
	n := open(t, Config{Name: "mlprep0"})
	link, err := netlink.LinkByName("mlprep0")
	check(t, err)
	if mtu, err := n.MTU(); mtu != link.Attrs().MTU || err != nil {
		t.Errorf("MTU = %d, %v, want %d", mtu, err, link.Attrs().MTU)
	}
	check(t, n.Close())
	n = open(t, Config{Name: "mlprep0", MTU: link.Attrs().MTU})
	check(t, n.Close())
	if _, err := Open(Config{Name: "mlprep1", MTU: 1000}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "ip link set dev mlprep1 mtu 1000") {
		t.Errorf("Open with another MTU = %v", err)
	}
}

func TestFromFile(t *testing.T) { inNamespace(t, testFromFile) }

func testFromFile(t *testing.T) {
	make1 := func(flags uint16) *os.File {
		fd, err := unix.Open(cloneDevice, unix.O_RDWR|unix.O_CLOEXEC, 0) // blocking
		check(t, err)
		f := os.NewFile(uintptr(fd), cloneDevice)
		if flags != 0 {
			ifr, err := unix.NewIfreq("mlfile%d")
			check(t, err)
			ifr.SetUint16(flags)
			check(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr))
		}
		return f
	}
	for _, tt := range []struct {
		name  string
		flags uint16
		cfg   Config
		want  string // in the error
		tap   bool
		mtu   int
		batch int
	}{
		{name: "TUN", flags: unix.IFF_TUN | unix.IFF_NO_PI, mtu: 1500, batch: 1},
		{name: "TUN with offload", flags: unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR, mtu: 1300, batch: 128, cfg: Config{MTU: 1300}},
		{name: "TAP", flags: unix.IFF_TAP | unix.IFF_NO_PI, tap: true, mtu: 1500, batch: 1},
		{name: "TAP with offload", flags: unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR, want: "IFF_VNET_HDR"},
		{name: "TUN for TAP", flags: unix.IFF_TUN | unix.IFF_NO_PI, cfg: Config{TAP: true}, want: "not a TAP"},
		{name: "no device", want: "not a TUN or TAP device"},
		{name: "bad MTU", flags: unix.IFF_TUN | unix.IFF_NO_PI, cfg: Config{MTU: 3}, want: "MTU"},
	} {
		f := make1(tt.flags)
		n, err := FromFile(f, tt.cfg)
		if f.Close() == nil {
			t.Errorf("%s: the file was not taken", tt.name)
		}
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
			continue
		}
		check(t, err)
		if mtu, err := n.MTU(); mtu != tt.mtu || err != nil || n.TAP() != tt.tap || n.BatchSize() != tt.batch {
			t.Errorf("%s: MTU %d, %v; TAP %v, batch size %d", tt.name, mtu, err, n.TAP(), n.BatchSize())
		}
		// Close must unblock Read although the file was blocking.
		result := make(chan error)
		go func() {
			bufs, sizes := buffers(n.BatchSize(), 2048)
			_, err := n.Read(bufs, sizes, Headroom)
			result <- err
		}()
		check(t, n.Close())
		if err := <-result; !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: Read = %v", tt.name, err)
		}
	}
}
