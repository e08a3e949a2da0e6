package reorder

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// load is an endless stream of packets over links, some of them lost.
type load struct {
	b       *Buffer[[]byte]
	arrival []int // permutation of a block of packets, without the lost ones
	block   int
	i       int
	round   int
	flows   int
	links   int
	value   []byte
	equal   bool // deliver all with the delay of the slowest link, every tenth in no order
	repair  bool // what is lost comes after all
	lost    []int
}

// newLoad stripes over links of which each is lag packets behind the one before.
func newLoad(links, lag, flows int, loss float64) *load {
	const block = 1 << 16
	l := &load{b: New[[]byte](Config{}), block: block, flows: flows, links: links, value: make([]byte, 1400)}
	for i := range links {
		l.b.SetLink(i, true)
	}
	rng := rand.New(rand.NewPCG(9, 9))
	for i := range block {
		if rng.Float64() >= loss {
			l.arrival = append(l.arrival, i)
		} else {
			l.lost = append(l.lost, i)
		}
	}
	slices.SortStableFunc(l.arrival, func(a, b int) int {
		return (a + a%links*lag) - (b + b%links*lag)
	})
	return l
}

// withRepair sends again what was lost, 1000 packets later.
func (l *load) withRepair() {
	l.repair = true
	l.b.SetRepair(50 * ms)
	all := make([]int, 0, l.block)
	for _, n := range l.arrival {
		for len(l.lost) > 0 && l.lost[0]+1000 < n {
			all = append(all, -l.lost[0])
			l.lost = l.lost[1:]
		}
		all = append(all, n)
	}
	l.arrival = all
}

func (l *load) next() {
	if l.i == len(l.arrival) {
		l.i = 0
		l.round++
	}
	at := l.arrival[l.i]
	repaired := at < 0
	n := l.round*l.block + max(at, -at)
	now := epoch.Add(time.Duration(l.round*l.block+l.i) * 10 * time.Microsecond)
	l.i++
	link := n % l.links
	p := Packet{
		Flow:     n / 8 % l.flows,
		Order:    uint16(n/8/l.flows*8 + n%8),
		Stamp:    uint32(n) & (1<<24 - 1),
		Link:     link,
		Delay:    time.Duration(20+link*10) * ms,
		Hold:     l.equal,
		Repaired: repaired,
	}
	l.b.Push(now, p, l.value)
	if l.equal && n%10 == 0 {
		l.b.Delay(now, p, l.value)
	}
	for {
		if _, ok := l.b.Pop(now); !ok {
			return
		}
	}
}

type loadCase struct {
	name       string
	links, lag int
	flows      int
	loss       float64
}

var loads = []loadCase{
	{"InOrder", 1, 0, 1, 0},
	{"InOrder/flows=256", 1, 0, 256, 0},
	{"OneLinkLossy", 1, 0, 1, 0.02},
	{"Striped", 2, 500, 1, 0},
	{"Striped/flows=256", 2, 500, 256, 0},
	{"StripedLossy", 2, 500, 1, 0.02},
	{"StripedLossy/flows=256", 2, 500, 256, 0.02},
	{"FourLinksLossy", 4, 500, 16, 0.02},
	{"Equalised/flows=16", 2, 500, 16, 0},
	{"EqualisedRepaired/flows=16", 2, 500, 16, 0.02},
	{"Repaired", 2, 500, 1, 0.02},
	{"Repaired/flows=256", 2, 500, 256, 0.02},
}

// make returns the load with what its name says.
func (c loadCase) make() *load {
	l := newLoad(c.links, c.lag, c.flows, c.loss)
	if strings.Contains(c.name, "Equalised") {
		l.equal = true
		l.b.SetTarget(40*ms, true)
	}
	if strings.Contains(c.name, "Repaired") {
		l.withRepair()
	}
	return l
}

func TestAllocs(t *testing.T) {
	for _, c := range loads {
		l := c.make()
		for range 200_000 {
			l.next()
		}
		if n := testing.AllocsPerRun(20_000, l.next); n != 0 {
			t.Errorf("%s: %v allocations a packet", c.name, n)
		}
		s := l.b.Stats()
		if (s.Held > 0) != (c.links > 1) || s.Late > s.Delivered/20 {
			t.Errorf("%s: not the load that was meant: %+v", c.name, s)
		}
		if (s.Early > 0) != l.equal || (s.Repaired > 1000) != l.repair {
			t.Errorf("%s: not the load that was meant: %+v", c.name, s)
		}
	}
}

func BenchmarkBuffer(b *testing.B) {
	for _, c := range loads {
		b.Run(c.name, func(b *testing.B) {
			l := c.make()
			for range 100_000 {
				l.next()
			}
			b.ReportAllocs()
			for b.Loop() {
				l.next()
			}
			s := l.b.Stats()
			b.ReportMetric(100*float64(s.Held)/float64(s.Delivered+s.Late), "%held")
		})
	}
}
