package mlvpn

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// A client with a valid key sends as much as its lines take, while the others talk to the
// server at a rate that theirs have room for.

// honestPort is the UDP port that the others use. The flood uses many, so that it has the
// share of many flows wherever it queues with others.
const (
	honestPort = 7
	roguePort  = 1000 // the first of roguePorts
	roguePorts = 5000
)

// TestRogueClient allows the others a loss of less than 1 %, in IP packets and in
// Ethernet frames, which a broadcast multiplies.
func TestRogueClient(t *testing.T) {
	for _, ethernet := range []bool{false, true} {
		for _, size := range []int{60, 1300} {
			t.Run(fmt.Sprintf("ethernet=%v/size=%d", ethernet, size), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testRogueClient(t, ethernet, size) })
			})
		}
	}
}

func testRogueClient(t *testing.T, ethernet bool, size int) {
	m := newMany(t, 3, false, ethernet)
	defer m.close()
	time.Sleep(2 * time.Second)
	// packet is from one site to the server, or back; in a frame, if need be.
	packet := func(up bool, i int, port uint16, n uint64, size int, to [6]byte) []byte {
		src, dst := netip.AddrPortFrom(m.sites[i].host, port), netip.AddrPortFrom(serverHost, 9)
		from := mac(i)
		if !up {
			src, dst = netip.AddrPortFrom(serverHost, port), netip.AddrPortFrom(m.sites[i].host, 9)
			from = mac(9)
		}
		payload := make([]byte, size-28)
		binary.BigEndian.PutUint64(payload, n)
		p := tuntest.UDP4(src, dst, payload)
		if ethernet {
			p = tuntest.Ethernet(to, from, tuntest.EtherTypeIPv4, p)
		}
		return p
	}
	buf := make([]byte, 2048)
	// drain returns how many packets of each kind a device has delivered.
	drain := func(dev *tuntest.Device) (honest, flood int) {
		ip := 0
		if ethernet {
			ip = minFrame
		}
		for {
			n, ok := dev.TryReceive(buf)
			switch {
			case !ok:
				return honest, flood
			case n < ip+28:
			case binary.BigEndian.Uint16(buf[ip+20:]) == honestPort:
				honest++
			case binary.BigEndian.Uint16(buf[ip+20:]) >= roguePort:
				flood++
			}
		}
	}
	var sent, arrived, flooded, tried int
	turn := func(rogue, honest bool) {
		for n := 0; rogue && n < 20; n++ { // of which its lines do not take all
			if m.sites[0].dev.Inject(packet(true, 0, uint16(roguePort+tried%roguePorts), uint64(n), size, broadcast)) != nil {
				break
			}
			tried++
		}
		for i := 1; honest && i < len(m.sites); i++ {
			for _, up := range []bool{true, false} {
				dev, to := m.dev, mac(i)
				if up {
					dev, to = m.sites[i].dev, mac(9)
				}
				if err := dev.Inject(packet(up, i, honestPort, uint64(sent), 600, to)); err != nil {
					t.Fatal(err)
				}
				sent++
			}
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		honestly, flood := drain(m.dev)
		arrived, flooded = arrived+honestly, flooded+flood
		for _, s := range m.sites[1:] {
			honestly, _ := drain(s.dev)
			arrived += honestly
		}
		drain(m.sites[0].dev)
	}
	for range 500 { // the others alone: rates are found, stations learnt
		turn(false, true)
	}
	for range 500 {
		turn(true, false)
	}
	sent, arrived, flooded = 0, 0, 0
	n := times(1000, 30_000)
	for range n {
		turn(true, true)
	}
	for range 250 {
		turn(false, false)
	}
	took := time.Duration(n) * 2 * time.Millisecond
	rate := float64(flooded*size*8) / took.Seconds() / 1e6
	lost := 1 - float64(arrived)/float64(sent)
	t.Logf("beside a flood of which %.1f Mbit/s arrive, %d of %d packets are lost: %.2f %%", rate, sent-arrived, sent, 100*lost)
	if rate < 2 {
		t.Errorf("only %.1f Mbit/s of the flood arrive: this tests nothing", rate)
	}
	if lost > 0.01 {
		t.Errorf("the others lose %.2f %% of their packets, want less than 1", 100*lost)
	}
}
