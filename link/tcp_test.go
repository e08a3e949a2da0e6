package link_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/link"
)

func TestTCP(t *testing.T) {
	for _, local := range []string{"127.0.0.1:0", "[::]:0"} {
		l, err := link.ListenTCP(link.TCPConfig{Local: netip.MustParseAddrPort(local)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				c.Write([]byte("x"))
				c.Close()
			}
		}()
		c, err := link.DialTCP(t.Context(), link.TCPConfig{
			Local:  netip.MustParseAddrPort("127.0.0.1:0"),
			Remote: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(l.Addr().(*net.TCPAddr).Port)),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if n, err := c.Read(make([]byte, 2)); n != 1 {
			t.Errorf("%s: read %d bytes: %v", local, n, err)
		}
	}
}

func TestTCPErrors(t *testing.T) {
	if _, err := link.DialTCP(t.Context(), link.TCPConfig{}); err == nil || !strings.Contains(err.Error(), "TCPConfig.Remote") {
		t.Errorf("without a remote address: %v", err)
	}
	remote := netip.MustParseAddrPort("127.0.0.1:1")
	if _, err := link.ListenTCP(link.TCPConfig{Remote: remote}); err == nil || !strings.Contains(err.Error(), "DialTCP") {
		t.Errorf("listening with a remote address: %v", err)
	}
	if _, err := link.DialTCP(t.Context(), link.TCPConfig{Remote: remote, Interface: "none0"}); err == nil || !strings.Contains(err.Error(), "none0") {
		t.Errorf("by an interface that is not there: %v", err)
	}
}
