package probe

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"192.0.2.1":              {ICMP, netip.MustParseAddrPort("192.0.2.1:0")},
		"icmp:192.0.2.1":         {ICMP, netip.MustParseAddrPort("192.0.2.1:0")},
		"icmp:2001:db8::1":       {ICMP, netip.MustParseAddrPort("[2001:db8::1]:0")},
		"2001:db8::1":            {ICMP, netip.MustParseAddrPort("[2001:db8::1]:0")},
		"tcp:192.0.2.1:443":      {TCP, netip.MustParseAddrPort("192.0.2.1:443")},
		"udp:[2001:db8::1]:53":   {UDP, netip.MustParseAddrPort("[2001:db8::1]:53")},
		"icmp:::ffff:192.0.2.1":  {ICMP, netip.MustParseAddrPort("192.0.2.1:0")},
		"tcp:[::ffff:1.2.3.4]:1": {TCP, netip.MustParseAddrPort("1.2.3.4:1")},
	} {
		if got, err := ParseTarget(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "ping:192.0.2.1", "tcp:192.0.2.1", "tcp:192.0.2.1:0", "example.org", "udp:example.org:53", "icmp:"} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

func TestHealth(t *testing.T) {
	c := Config{}.WithDefaults()
	var h Health
	for i, step := range []struct{ answered, changed, dead bool }{
		{true, false, false},
		{false, false, false},
		{false, false, false},
		{true, false, false}, // which begins anew
		{false, false, false},
		{false, false, false},
		{false, true, true},
		{false, false, true},
		{true, false, true},
		{false, false, true}, // which begins anew
		{true, false, true},
		{true, true, false},
		{true, false, false},
	} {
		if changed := h.Result(c, step.answered); changed != step.changed || h.Dead() != step.dead {
			t.Errorf("step %d: changed %v, dead %v", i, changed, h.Dead())
		}
	}
}

// TestInTime wants the default configuration to notice within 3 s, whenever a line dies
// or comes back.
func TestInTime(t *testing.T) {
	c := Config{}.WithDefaults()
	dies := time.Duration(c.Fails)*c.Interval + c.Timeout
	returns := time.Duration(c.Answers)*c.Interval + c.Timeout
	if dies > 3*time.Second || returns > 3*time.Second {
		t.Errorf("a death takes %v, a return %v", dies, returns)
	}
}

// TestProbes asks services of this host.
func TestProbes(t *testing.T) {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			udp.WriteTo(buf[:n], from)
		}
	}()
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	line := Line{Addr: netip.MustParseAddr("127.0.0.1")}
	open := netip.MustParseAddrPort(tcp.Addr().String())
	if err := once(ctx, line, Target{TCP, open}); err != nil {
		t.Errorf("TCP: %v", err)
	}
	tcp.Close()
	if err := once(ctx, line, Target{TCP, open}); err != nil {
		t.Errorf("TCP, refused: %v", err)
	}
	if err := once(ctx, line, Target{UDP, netip.MustParseAddrPort(udp.LocalAddr().String())}); err != nil {
		t.Errorf("UDP: %v", err)
	}
	short, stop := context.WithTimeout(ctx, 100*time.Millisecond)
	defer stop()
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := once(short, line, Target{UDP, netip.MustParseAddrPort(silent.LocalAddr().String())}); err == nil {
		t.Error("UDP: silence is taken for an answer")
	}
}

// TestRunWithoutTargets ends at once: there is nothing to probe a line with.
func TestRunWithoutTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Targets: []Target{{ICMP, netip.MustParseAddrPort("[2001:db8::1]:0")}}}
		Run(t.Context(), cfg, Line{Addr: netip.MustParseAddr("192.0.2.1")}, func(bool) { t.Error("told") })
	})
}
