package mlvpn

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestLegacyOrder(t *testing.T) {
	for _, ethernet := range []bool{false, true} {
		t.Run(fmt.Sprintf("ethernet=%v", ethernet), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testLegacyOrder(t, ethernet) })
		})
	}
}

// testLegacyOrder checks that packets of several flows, and frames that are broken, leave
// no hole in the one order of all that another has to wait for; nor does a server that
// was started anew wait for what was before.
func testLegacyOrder(t *testing.T, ethernet bool) {
	conf := LegacyConfig{Config: Config{Ethernet: ethernet, Rules: []Rule{{Action: Duplicate}}}}
	r := newRelic(t, legacyLines(), conf)
	defer r.close()
	r.sleep(1500 * time.Millisecond)
	buf := make([]byte, 2000)
	trickle := func(what string) {
		t.Helper()
		for i := range 15 {
			pkt := udp(true, uint16(7+i%3), uint64(i), 600)
			if ethernet {
				header := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0}
				if i%5 == 0 {
					header[12], header[13] = 0x86, 0xdd // which it is not
				}
				pkt = append(header, pkt...)
			}
			r.inject(r.cdev, pkt)
			r.sleep(15 * time.Millisecond) // of which 10 are the line's
			got := 0
			for _, ok := r.sdev.TryReceive(buf); ok; _, ok = r.sdev.TryReceive(buf) {
				got++
			}
			if got != 1 {
				t.Errorf("%s, packet %d: delivered %d times at once", what, i, got)
			}
			r.sleep(45 * time.Millisecond)
		}
	}
	trickle("at first")
	sent := uint64(0)
	for _, l := range r.ends[0].Stats().Sessions[0].Links {
		sent += l.SentPackets
	}
	if sent != 15 {
		t.Errorf("%d packets sent of 15: the C daemon knows no copies", sent)
	}
	r.stop[1]()
	r.start(1)
	r.sleep(8 * time.Second)
	trickle("after a restart of the server")
	r.sleep(time.Second)

	if err := r.lines[0].Rebind(netip.MustParseAddrPort("192.0.2.7:7777")); err != nil {
		t.Fatal(err)
	}
	r.sleep(1500 * time.Millisecond)
	for _, l := range r.ends[1].Stats().Sessions[0].Links {
		if l.Name == "a" && l.Remote.Remote != netip.MustParseAddrPort("192.0.2.7:7777") {
			t.Errorf("the server has not followed the client: %v", l.Remote)
		}
	}
}
