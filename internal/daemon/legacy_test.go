package daemon

import (
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/mlvpn"
)

const compatText = `[general]
mode = "server"
compat = "mlvpn1"
compat_accept_risk = 1
password = "short"
mtu = 1432
[dsl]
bindport = 5080
`

func TestLegacyConfig(t *testing.T) {
	c := parse(t, compatText)
	if keys, err := parseKeys(c); err != nil || keys != (keyring{}) {
		t.Errorf("keys of a short password that is not made a key of: %v", err)
	}
	l := legacyConfig(c, mlvpn.Config{Ethernet: true})
	if l.Password != "short" || !l.Server || l.ClearData || !l.AcceptRisk || !l.Ethernet {
		t.Errorf("%+v", l)
	}
	clear := parse(t, strings.Replace(compatText, "mtu = 1432", "cleartext_data = 1", 1))
	if l := legacyConfig(clear, mlvpn.Config{}); !l.ClearData {
		t.Errorf("%+v", l)
	}
}

func TestTunnelMTU(t *testing.T) {
	for _, x := range []struct {
		compat string
		device conf.DeviceType
		link   conf.Link
		mtu    int
		want   int
	}{
		{"", conf.TUN, conf.Link{}, 0, 1400},
		{"", conf.TUN, conf.Link{}, 1432, 1432},
		{conf.CompatMLVPN1, conf.TUN, conf.Link{BindHost: "192.0.2.1"}, 0, 1400},
		{conf.CompatMLVPN1, conf.TUN, conf.Link{BindHost: "192.0.2.1"}, 1300, 1300},
		{conf.CompatMLVPN1, conf.TUN, conf.Link{BindHost: "192.0.2.1"}, 1432, 1428},
		{conf.CompatMLVPN1, conf.TAP, conf.Link{RemoteHost: "192.0.2.1"}, 1432, 1414},
		{conf.CompatMLVPN1, conf.TUN, conf.Link{BindPort: 5080}, 1432, 1408},
		{conf.CompatMLVPN1, conf.TUN, conf.Link{RemoteHost: "2001:db8::1"}, 1432, 1408},
		{conf.CompatMLVPN1, conf.TAP, conf.Link{RemoteHost: "example.net"}, 0, 1394},
	} {
		if got := tunnelMTU(&conf.Config{Compat: x.compat, Device: x.device, MTU: x.mtu, Links: []conf.Link{{BindHost: "192.0.2.9"}, x.link}}); got != x.want {
			t.Errorf("%+v: %d", x, got)
		}
	}
}
