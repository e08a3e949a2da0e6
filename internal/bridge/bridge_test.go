package bridge

import (
	"math/rand/v2"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func station(n int) Addr { return Addr{2, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)} }

func TestAddr(t *testing.T) {
	for a, want := range map[Addr][2]bool{
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}: {true, false},
		{0x33, 0x33, 0, 0, 0, 1}:             {true, false},
		{0x01, 0x80, 0xc2, 0, 0, 0}:          {true, true},
		{0x01, 0x80, 0xc2, 0, 0, 0x0e}:       {true, true},
		{0x01, 0x80, 0xc2, 0, 0, 0x10}:       {true, false},
		{2}:                                  {false, false},
	} {
		if got := [2]bool{a.Group(), a.Reserved()}; got != want {
			t.Errorf("%x: %v, want %v", a, got, want)
		}
	}
}

func TestAge(t *testing.T) {
	table := New[int](Config{})
	table.Learn(start, station(1), 7)
	for after, want := range map[time.Duration]bool{0: true, 299 * time.Second: true, 300 * time.Second: false} {
		if p, ok := table.Lookup(start.Add(after), station(1)); ok != want || ok && p != 7 {
			t.Errorf("after %v: %d, %v", after, p, ok)
		}
	}
	table.Learn(start.Add(200*time.Second), station(1), 7)
	if _, ok := table.Lookup(start.Add(400*time.Second), station(1)); !ok {
		t.Error("a frame does not count")
	}
}

func TestGroupIsNotLearned(t *testing.T) {
	table := New[int](Config{})
	table.Learn(start, Addr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 1)
	if table.Len() != 0 {
		t.Error("the broadcast address was learnt")
	}
}

// A station moves at once between clients, and from the home port once it is silent.
func TestMove(t *testing.T) {
	table := New[int](Config{})
	at := func(after time.Duration) int {
		p, _ := table.Lookup(start.Add(after), station(1))
		return p
	}
	table.Learn(start, station(1), 1)
	table.Learn(start, station(1), 2)
	if at(0) != 2 {
		t.Error("the station has not moved")
	}
	table.Learn(start, station(1), 0)
	table.Learn(start.Add(59*time.Second), station(1), 1)
	if at(59*time.Second) != 0 {
		t.Error("a client has taken a station of the home port over")
	}
	table.Learn(start.Add(60*time.Second), station(1), 1)
	if at(60*time.Second) != 1 {
		t.Error("the station cannot leave the home port")
	}
	if table.count[0] != 0 || table.count[1] != 1 || table.count[2] != 0 {
		t.Errorf("counts %v", table.count)
	}
}

// A port that sends from many addresses fills its own share only, and costs a search once
// a second at most.
func TestLimits(t *testing.T) {
	table := New[int](Config{PerPort: 10, Total: 25})
	for i := range 1000 {
		table.Learn(start, station(i), 1)
	}
	table.Learn(start, station(5000), 2)
	if table.Len() != 11 || table.count[1] != 10 {
		t.Errorf("%d stations, %v", table.Len(), table.count)
	}
	if p, ok := table.Lookup(start, station(5000)); !ok || p != 2 {
		t.Error("another port's station is not remembered")
	}
	table.Learn(start, station(5000), 1)
	if p, _ := table.Lookup(start, station(5000)); p != 2 {
		t.Error("a port that is full has taken a station over")
	}
	for port := 3; port < 10; port++ {
		for i := range 10 {
			table.Learn(start, station(10000*port+i), port)
		}
	}
	if table.Len() != 25 {
		t.Errorf("%d stations in all, want 25", table.Len())
	}
	later := start.Add(400 * time.Second)
	table.Learn(later, station(1), 1)
	table.Learn(later, station(77), 77)
	if table.Len() > 25 {
		t.Errorf("%d stations", table.Len())
	}
	if _, ok := table.Lookup(later, station(77)); !ok {
		t.Error("those who are silent are in the way of others")
	}
}

// TestModel compares with a table that looks at everything it was told.
func TestModel(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 3))
		table := New[int](Config{Age: 10 * time.Second, PerPort: 1000, Total: 1000, Hold: 3 * time.Second})
		type seen struct {
			port int
			at   time.Time
		}
		model := make(map[Addr]seen)
		now := start
		for step := range 500 {
			now = now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
			a, port := station(r.IntN(8)), r.IntN(4)
			switch r.IntN(8) {
			case 0:
				table.Forget(port)
				for x, s := range model {
					if s.port == port {
						delete(model, x)
					}
				}
			default:
				table.Learn(now, a, port)
				if was, ok := model[a]; !ok || was.port == port || was.port != 0 || now.Sub(was.at) >= 3*time.Second {
					model[a] = seen{port, now}
				}
			}
			b := station(r.IntN(8))
			want, wantOK := model[b]
			wantOK = wantOK && now.Sub(want.at) < 10*time.Second
			if got, ok := table.Lookup(now, b); ok != wantOK || ok && got != want.port {
				t.Fatalf("seed %d, step %d: %d %v, want %d %v", seed, step, got, ok, want.port, wantOK)
			}
			n := 0
			for _, c := range table.count {
				n += c
			}
			if n != table.Len() {
				t.Fatalf("seed %d, step %d: %d counted of %d", seed, step, n, table.Len())
			}
		}
	}
}

func TestAllocations(t *testing.T) {
	table := New[int](Config{})
	for i := range 100 {
		table.Learn(start, station(i), i%7)
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i++
		table.Learn(start, station(i%100), i%100%7)
		table.Lookup(start, station(i%200))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
