package mlvpn

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/internal/simnet"
)

// stock fills a pool with n buffers, more than will ever be in use.
func (p *pool) stock(n int) {
	for range n {
		p.put(make([]byte, p.size))
	}
}

// TestLaneReturnsBuffers ends sessions in the middle of a transfer, while packets wait,
// are under way, are to be sent again and are held for order: every buffer comes back to
// its pool, whether all paths were in use until then, one was dead, or one was taken away.
func TestLaneReturnsBuffers(t *testing.T) {
	const stock, slabs = 6000, 16
	for _, x := range []struct {
		name   string
		cut    bool
		remove bool
	}{
		{"all paths work", false, false},
		{"a dead path", true, false},
		{"a path that was removed", false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := simLines(t, "50, 10, 2 % + 50, 60, 2 %")
			if x.cut {
				silent(&p, 1, 2*time.Second, time.Hour)
			}
			m := multilink(t)
			tunnel := m.tunnel()
			begin := tunnel.New
			tunnel.New = func(env simnet.Env) (client, server simnet.End) {
				client, server = begin(env)
				for _, end := range m.ends {
					end.e.sender.bufs.stock(stock)
					end.e.sender.slabs.stock(slabs)
					end.e.receiver.held.stock(stock)
				}
				return client, server
			}
			simulate(t, simnet.Config{
				Profile:  p,
				Tunnel:   tunnel,
				Flows:    []simnet.Flow{simnet.CUBIC(simnet.Down), simnet.BBR(simnet.Up)},
				Duration: 3 * time.Second,
				Seed:     1,
			})
			if x.remove {
				m.must(m.ends[simnet.Client].client.RemoveLink(2))
			}
			for _, end := range m.ends {
				s, r := &end.e.sender, &end.e.receiver
				if used := stock - len(s.bufs.free); used < 10 {
					t.Errorf("%s, side %d: only %d buffers were in use", x.name, end.side, used)
				}
				s.end(end.session())
				r.turn(s.now, nil)
				for _, p := range []struct {
					name string
					pool *pool
					want int
				}{{"sender", &s.bufs, stock}, {"slab", &s.slabs, slabs}, {"receiver", &r.held, stock}} {
					if got := len(p.pool.free); got != p.want {
						t.Errorf("%s, side %d: %d of %d %s buffers are back", x.name, end.side, got, p.want, p.name)
					}
				}
			}
		})
	}
}
