package linksim

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// Against a sorted list.
func TestFlightIsAStableQueue(t *testing.T) {
	type entry struct {
		due time.Time
		n   int
	}
	r := rand.New(rand.NewPCG(1, 2))
	var f flight
	var p pool
	var model []entry
	for n := range 20_000 {
		if len(model) > 0 && r.IntN(100) < 48 {
			due, ok := f.first()
			d := f.take()
			if want := model[0]; !ok || !due.Equal(want.due) || int(d.data[0])<<8|int(d.data[1]) != want.n&0xffff {
				t.Fatalf("step %d: took datagram %v due at %v, want %v", n, d.data, due, want)
			}
			model = model[1:]
			p.put(d)
			continue
		}
		due := at(time.Duration(r.IntN(50)) * time.Millisecond)
		f.add(due, p.get([]byte{byte(n >> 8), byte(n)}, link.Addr{}))
		i, _ := slices.BinarySearchFunc(model, due, func(e entry, due time.Time) int {
			if e.due.After(due) {
				return 1
			}
			return -1
		})
		model = slices.Insert(model, i, entry{due, n})
		if want := len(model) * (datagramCost + 2); f.cost != want {
			t.Fatalf("step %d: cost %d, want %d", n, f.cost, want)
		}
	}
	if len(model) == 0 {
		t.Fatal("the queue was never filled")
	}
}

func TestPoolIsBounded(t *testing.T) {
	var p pool
	all := make([]*datagram, poolLimit+10)
	for i := range all {
		all[i] = p.get([]byte{1}, link.Addr{})
	}
	for _, d := range all {
		p.put(d)
	}
	if p.n != poolLimit {
		t.Errorf("%d datagrams pooled, want %d", p.n, poolLimit)
	}
	for range poolLimit {
		p.get([]byte{1}, link.Addr{})
	}
	if p.n != 0 || p.free != nil {
		t.Errorf("%d datagrams left", p.n)
	}
}
