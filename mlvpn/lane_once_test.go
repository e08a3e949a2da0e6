package mlvpn

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/internal/simnet"
)

// TestLaneDeliversOnce sends numbered packets over lines that lose some, deliver some
// twice and some late, with copies and with packets sent again: none comes out twice, and
// few are lost.
func TestLaneDeliversOnce(t *testing.T) {
	const packets, every = 8000, 500 * time.Microsecond
	for _, x := range []struct {
		name   string
		action Action
	}{
		{"in order", 0},
		{"unordered", Unordered},
		{"in order, copied", Duplicate | LowestLatency},
		{"unordered, copied", Unordered | Duplicate | LowestLatency},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := simLines(t, "50, 10 ±5, 3 % + 50, 30 ±5, 3 %")
			for i := range p.Lines {
				up := &p.Lines[i].Up
				up.Duplicate, up.Reorder, up.ReorderBy = 0.02, 0.01, 15*time.Millisecond
			}
			silent(&p, 0, 3*time.Second, 3500*time.Millisecond)
			m := multilink(t)
			if x.action != 0 {
				m.set = func(c *Config) { c.Rules = []Rule{{Action: x.action}} }
			}
			seen := make(map[uint64]int)
			net, err := simnet.NewNetwork(simnet.NetworkConfig{
				Profile: p,
				Tunnel:  m.tunnel(),
				Seed:    1,
				Deliver: func(_ int, pkt []byte) {
					_, n := number(t, pkt)
					seen[n]++
				},
			})
			m.must(err)
			at, sent := time.Second, uint64(0)
			for now := time.Duration(0); now < 7*time.Second; {
				m.must(net.Advance(now))
				if now == at && sent < packets {
					net.Ingress(now, simnet.Client, udp(true, 7, sent, 1000))
					m.must(net.Advance(now))
					at, sent = at+every, sent+1
				}
				now = max(now, net.Next())
				if sent < packets {
					now = min(now, at)
				}
			}
			for n, times := range seen {
				if times > 1 {
					t.Errorf("%s: packet %d came %d times", x.name, n, times)
				}
			}
			c := &m.ends[simnet.Client].session().tx.current.tx.count
			t.Logf("%s: %d of %d packets came, %d were sent again, %d copied", x.name, len(seen), packets, c.repaired, c.copied)
			if lost := packets - len(seen); lost > packets/100 || c.repaired == 0 || (x.action&Duplicate != 0) != (c.copied > 0) {
				t.Errorf("%s: %d of %d packets lost, %d sent again, %d copied", x.name, lost, packets, c.repaired, c.copied)
			}
		})
	}
}
