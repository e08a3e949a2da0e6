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
		mtu    int
		want   int
	}{
		{"", conf.TUN, 0, 1400},
		{"", conf.TUN, 1432, 1432},
		{conf.CompatMLVPN1, conf.TUN, 0, 1400},
		{conf.CompatMLVPN1, conf.TUN, 1300, 1300},
		{conf.CompatMLVPN1, conf.TUN, 1432, 1428},
		{conf.CompatMLVPN1, conf.TAP, 1432, 1414},
	} {
		if got := tunnelMTU(&conf.Config{Compat: x.compat, Device: x.device, MTU: x.mtu}); got != x.want {
			t.Errorf("%+v: %d", x, got)
		}
	}
}
