package fq

import (
	"testing"
	"time"
)

// load has a standing queue of some flows: with each packet that goes one comes, or two
// if it is overloaded.
type load struct {
	q       *Queue[[128]byte]
	n       int
	flows   int
	skipped int // flows that cannot go in a round
	over    bool
}

func newLoad(flows, standing, skipped int) *load {
	l := &load{q: New(Config[[128]byte]{Target: time.Hour}), flows: flows, skipped: skipped}
	l.over = standing >= l.q.cfg.Packets
	for range standing {
		l.push()
	}
	return l
}

func (l *load) now() time.Time { return epoch.Add(time.Duration(l.n) * 10 * time.Microsecond) }

func (l *load) push() {
	l.q.Push(l.now(), uint32(l.n%l.flows)*0x01000193, l.n%17/16, 1400, [128]byte{})
	l.n++
}

func (l *load) next() {
	l.push()
	if l.over {
		l.push()
	}
	l.q.Begin(l.now())
	for i := 0; ; i++ {
		if _, ok := l.q.Head(l.now()); !ok {
			return
		}
		if i < l.skipped {
			l.q.Skip()
			continue
		}
		l.q.Take()
		return
	}
}

var loads = []struct {
	name                     string
	flows, standing, skipped int
}{
	{"Empty", 1, 0, 0},
	{"OneFlow", 1, 100, 0},
	{"Flows=16", 16, 100, 0},
	{"Flows=16/Skipped=3", 16, 100, 3},
	{"Flows=256", 256, 800, 0},
	{"Full", 64, 1024, 0},
}

func TestAllocs(t *testing.T) {
	for _, c := range loads {
		l := newLoad(c.flows, c.standing, c.skipped)
		for range 300_000 {
			l.next()
		}
		if n := testing.AllocsPerRun(100_000, l.next); n != 0 {
			t.Errorf("%s: %v allocations a packet", c.name, n)
		}
		if dropped := l.q.Stats(0).Dropped[Overflow]; l.over != (dropped > 100_000) || l.q.Len() < min(c.standing, 512) {
			t.Errorf("%s: %d packets, %d dropped: not the load that was meant", c.name, l.q.Len(), dropped)
		}
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, c := range loads {
		b.Run(c.name, func(b *testing.B) {
			l := newLoad(c.flows, c.standing, c.skipped)
			b.ReportAllocs()
			for b.Loop() {
				l.next()
			}
		})
	}
}
