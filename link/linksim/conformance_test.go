package linksim_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/link/linksim"
	"github.com/multilink-vpn/multilink/link/linktest"
)

// pairOf returns a factory of links with one profile in both directions.
func pairOf(p linksim.Profile) linktest.MakePair {
	return func(testing.TB) (a, b link.Link) { return linksim.Pair(p, p, 1) }
}

func TestConformance(t *testing.T) {
	perfect := linktest.Traits{Lossless: true, Ordered: true, NoDup: true, Virtual: true}
	t.Run("Perfect", func(t *testing.T) { linktest.TestLink(t, pairOf(linksim.Profile{}), perfect) })
	t.Run("Line", func(t *testing.T) {
		line := linksim.Profile{Rate: 20e6 / 8, Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Overhead: linksim.OverheadUDP4}
		linktest.TestLink(t, pairOf(line), perfect)
	})
	t.Run("Bad", func(t *testing.T) {
		bad := linksim.Profile{
			Rate: 20e6 / 8, Delay: 20 * time.Millisecond,
			Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, ReorderBy: 5 * time.Millisecond,
		}
		linktest.TestLink(t, pairOf(bad), linktest.Traits{Virtual: true})
	})
	t.Run("RealTime", func(t *testing.T) {
		linktest.TestLink(t, pairOf(linksim.Profile{}), linktest.Traits{Lossless: true, Ordered: true, NoDup: true})
	})
}

func TestSocketConformance(t *testing.T) {
	linktest.TestSocket(t, func(t testing.TB) (link.Socket, func() link.Link) {
		n := linksim.NewNetwork(1)
		at := netip.MustParseAddrPort("192.0.2.1:5080")
		s, err := n.Listen(at)
		if err != nil {
			t.Fatal(err)
		}
		peer := netip.MustParseAddr("198.51.100.1")
		return s, func() link.Link {
			l, err := n.Dial(netip.AddrPortFrom(peer, 0), at, linksim.Profile{}, linksim.Profile{})
			if err != nil {
				t.Fatal(err)
			}
			peer = peer.Next()
			return l
		}
	})
}

func BenchmarkConformance(b *testing.B) { linktest.BenchmarkLink(b, pairOf(linksim.Profile{})) }
