package fq

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// line is a queue in front of a line that takes a packet of 1250 bytes in a millisecond.
type line struct {
	q   *Queue[string]
	now time.Duration
}

func newLine(cfg Config[string]) *line { return &line{q: New(cfg)} }

func (l *line) push(flow uint32, class, size int, vs ...string) {
	for _, v := range vs {
		l.q.Push(epoch.Add(l.now), flow, class, size, v)
	}
}

// send takes n packets, skipping those that skip names, and returns them.
func (l *line) send(n int, skip string) string {
	var out []string
	l.q.Begin(epoch.Add(l.now))
	for len(out) < n {
		v, ok := l.q.Head(epoch.Add(l.now))
		switch {
		case !ok:
			return strings.Join(append(out, "-"), " ")
		case skip != "" && strings.HasPrefix(*v, skip):
			l.q.Skip()
		default:
			out = append(out, l.q.Take())
		}
	}
	return strings.Join(out, " ")
}

func want(t *testing.T, story, got, want string) {
	t.Helper()
	t.Logf("# %s: %s", story, got)
	if got != want {
		t.Fatalf("%s: sent %q, want %q", story, got, want)
	}
}

func TestTurns(t *testing.T) {
	l := newLine(Config[string]{})
	l.push(1, 0, 1514, "a1", "a2", "a3")
	l.push(2, 0, 757, "b1", "b2", "b3", "b4")
	want(t, "a quantum each", l.send(5, ""), "a1 b1 b2 a2 b3")
	l.push(3, 0, 100, "c1")
	want(t, "a new flow goes first", l.send(3, ""), "c1 b4 a3")
	want(t, "nothing left", l.send(1, ""), "-")
	l.push(1, 0, 3*1514, "a4", "a5")
	l.push(2, 0, 1514, "b5", "b6", "b7", "b8")
	want(t, "large packets are paid for", l.send(6, ""), "a4 b5 b6 b7 a5 b8")
}

func TestSkip(t *testing.T) {
	l := newLine(Config[string]{})
	l.push(1, 0, 1514, "a1", "a2", "a3")
	l.push(2, 0, 1514, "b1", "b2")
	l.push(3, 0, 1514, "c1")
	want(t, "a cannot go", l.send(4, "a"), "b1 c1 b2 -")
	l.push(2, 0, 1514, "b3", "b4")
	want(t, "it has kept its place", l.send(1, ""), "a1")
	want(t, "and only that", l.send(1, ""), "b3")
	want(t, "in turn", l.send(3, ""), "a2 b4 a3")
}

func TestHeadIsStable(t *testing.T) {
	l := newLine(Config[string]{})
	l.push(1, 0, 1514, "a1", "a2")
	l.push(2, 0, 1514, "b1")
	for range 3 {
		if v, ok := l.q.Head(epoch); !ok || *v != "a1" {
			t.Fatalf("head is %v", v)
		}
	}
	if v, _ := l.q.Head(epoch); v != nil {
		*v += "!"
	}
	want(t, "changed in place", l.send(1, ""), "a1!")
	if n := l.q.Queued(1, 0); n != 1 {
		t.Errorf("%d of a are queued", n)
	}
	if n := l.q.Queued(1, 1) + l.q.Queued(7, 0); n != 0 {
		t.Errorf("%d of nobody are queued", n)
	}
}

func TestPriority(t *testing.T) {
	l := newLine(Config[string]{})
	l.push(1, 0, 1000, slices.Repeat([]string{"b"}, 100)...)
	want(t, "bulk", l.send(2, ""), "b b")
	l.push(1, 1, 100, "i")
	want(t, "interactive first, of the same flow, too", l.send(2, ""), "i b")
	l.push(1, 1, 1000, slices.Repeat([]string{"i"}, 100)...)
	got := l.send(100, "")
	if n := strings.Count(got, "i"); n < 80 || n > 90 {
		t.Errorf("%d of 100 packets are interactive, want about 6 of 7", n)
	}
	if n := len(strings.Split(got, "b")[0]); n > 2*8 {
		t.Errorf("bulk waited for %d interactive packets", n/2)
	}
	rest := l.send(1000, "b")
	if strings.Contains(rest, "b") || strings.Count(rest, "i") != 100-strings.Count(got, "i") {
		t.Errorf("bulk that cannot go held interactive packets back: %q", rest)
	}
}

func TestOverflow(t *testing.T) {
	var dropped []string
	cfg := Config[string]{Packets: 100, Bytes: 100_000, Drop: func(v string, why Reason) {
		if why != Overflow {
			t.Errorf("%s: %v", v, why)
		}
		dropped = append(dropped, v)
	}}
	l := newLine(cfg)
	l.push(1, 0, 1000, "a1", "a2", "a3", "a4", "a5", "a6")
	l.push(2, 0, 100, slices.Repeat([]string{"b"}, 94)...)
	if dropped != nil {
		t.Fatalf("dropped %v while there was room", dropped)
	}
	l.push(2, 0, 100, "b")
	want(t, "half of the largest flow, from its head", strings.Join(dropped, " "), strings.TrimSpace(strings.Repeat("b ", 48)))
	dropped = nil
	l.push(3, 0, 95_000, "c1")
	want(t, "bytes count, too", strings.Join(dropped, " "), "c1")
	dropped = nil
	l = newLine(cfg)
	l.push(1, 0, 100_001, "too large")
	want(t, "alone", strings.Join(dropped, " "), "too large")
	if l.q.Len() != 0 || l.q.Bytes() != 0 {
		t.Errorf("holds %d", l.q.Len())
	}
	dropped = nil
	l = newLine(Config[string]{Packets: 1000, Drop: cfg.Drop})
	l.push(1, 0, 100, slices.Repeat([]string{"b"}, 1001)...)
	if len(dropped) != 64 {
		t.Errorf("dropped %d at once", len(dropped))
	}
}

// TestCoDelLaw feeds more than goes out and compares the times of drops with the law.
func TestCoDelLaw(t *testing.T) {
	for _, marking := range []bool{false, true} {
		var at []time.Duration
		l := newLine(Config[string]{Packets: 1e6})
		l.q.cfg.Drop = func(string, Reason) { at = append(at, l.now) }
		if marking {
			l.q.cfg.Mark = func(*string) bool { at = append(at, l.now); return true }
		}
		first := time.Duration(-1)
		for range 2000 {
			l.push(1, 0, 1000, "a", "a")
			if v := l.q.packets.at(l.q.flows.at(1).head); first < 0 && l.now-time.Duration(v.at) >= 5*ms {
				first = l.now
			}
			l.send(1, "")
			l.now += ms
		}
		next := float64(first + 100*ms)
		for i, got := range at {
			if late := float64(got) - next; late < 0 || late > float64(ms) {
				t.Fatalf("marking %v: drop %d at %v, want it in the millisecond from %v", marking, i, got, time.Duration(next))
			}
			next += float64(100*ms) / math.Sqrt(float64(i+1))
		}
		if len(at) < 90 {
			t.Errorf("marking %v: only %d drops", marking, len(at))
		}
		s := l.q.Stats(0)
		if marked := s.Marked > 0; marked != marking || marked == (s.Dropped[CoDel] > 0) {
			t.Errorf("marking %v: stats %+v", marking, s)
		}
	}
}

// TestCoDelSpares has queues that are old, but not long.
func TestCoDelSpares(t *testing.T) {
	l := newLine(Config[string]{Drop: func(v string, why Reason) { t.Errorf("%s: %v", v, why) }})
	for i := range 3000 {
		if i%40 == 0 {
			l.push(1, 0, 1500, "a")
		}
		if i%20 == 10 {
			l.push(2, 0, 1500, "b") // goes when the second is there
		}
		if i%40 == 30 {
			l.send(2, "a")
		}
		if i%40 == 39 {
			l.send(1, "b")
		}
		l.now += ms
	}
	if s := l.q.Stats(0); s.MaxSojourn < 30*ms || s.Taken < 200 {
		t.Errorf("stats %+v", s)
	}
}

// reno is a TCP of 50 ms round trip with unlimited data, of which one packet takes 1 ms.
type reno struct {
	q                *Queue[int]
	window, inFlight float64
	acks             []time.Duration
	backoff          time.Duration // no second reaction in a round trip
	sent             int
}

func (r *reno) step(now time.Duration) {
	for len(r.acks) > 0 && r.acks[0] <= now {
		r.acks = r.acks[1:]
		r.inFlight--
		r.window += 1 / r.window
	}
	for ; r.inFlight < r.window; r.inFlight++ {
		r.q.Push(epoch.Add(now), 1, 0, 1250, 0)
	}
	if _, ok := r.q.Head(epoch.Add(now)); ok {
		r.q.Take()
		r.sent++
		r.acks = append(r.acks, now+50*ms)
	}
}

// TestCoDelKeepsQueueShort has a TCP that would fill any queue.
func TestCoDelKeepsQueueShort(t *testing.T) {
	for _, target := range []time.Duration{5 * ms, time.Hour} {
		r := &reno{window: 10}
		var now time.Duration
		r.q = New(Config[int]{Target: target, Packets: 500, Drop: func(int, Reason) {
			r.inFlight--
			if now >= r.backoff {
				r.window /= 2
				r.backoff = now + 50*ms
			}
		}})
		var sojourn time.Duration
		for ; now < 60*time.Second; now += ms {
			if now == 20*time.Second {
				r.sent = 0
			}
			r.step(now)
			if now >= 20*time.Second {
				sojourn += r.q.Stats(0).Sojourn / 40_000
			}
		}
		t.Logf("# target %v: used %d of 40000, queue %v", target, r.sent, sojourn)
		if r.sent < 32_000 { // which is what Reno gets with a queue of a tenth of a round trip
			t.Errorf("target %v: sent %d packets in 40 s of 1000/s", target, r.sent)
		}
		if short := sojourn < 15*ms; short != (target == 5*ms) {
			t.Errorf("target %v: the queue was %v long", target, sojourn)
		}
	}
}

// TestFairness overloads the line with 8 flows of different packets and rates.
func TestFairness(t *testing.T) {
	q := New(Config[int]{})
	rng := rand.New(rand.NewPCG(1, 1))
	size := []int{100, 300, 576, 1000, 1250, 1400, 1500, 9000}
	credit := make([]float64, len(size))
	got := make([]float64, len(size))
	budget := 0
	for i := range 60_000 {
		now := epoch.Add(time.Duration(i) * ms)
		for f, n := range size {
			// From a quarter of the line upwards, in bunches.
			credit[f] += 1250 * (0.25 + 0.25*float64(f))
			for rng.IntN(20) == 0 && credit[f] > 0 {
				for ; credit[f] > 0; credit[f] -= float64(n) {
					q.Push(now, uint32(f), 0, n, f)
				}
			}
		}
		q.Begin(now)
		for budget += 1250; budget > 0; {
			f, ok := q.Head(now)
			if !ok {
				break
			}
			if rng.IntN(4) == 0 {
				q.Skip() // no path wants it now
				continue
			}
			n := size[*f]
			budget -= n
			got[*f] += float64(n)
			q.Take()
		}
		budget = min(budget, 0)
	}
	var sum, squares float64
	for _, x := range got {
		sum += x
		squares += x * x
	}
	jain := sum * sum / (float64(len(got)) * squares)
	t.Logf("# bytes %v, Jain's index %.4f", got, jain)
	if jain < 0.95 {
		t.Errorf("Jain's index is %.4f", jain)
	}
	if sum < 0.9*60_000*1250 {
		t.Errorf("sent %v bytes of %d", sum, 60_000*1250)
	}
}

// TestSparseFlow sends a packet now and then through what 8 bulky flows fill.
func TestSparseFlow(t *testing.T) {
	l := newLine(Config[string]{})
	for ; l.now < 20*time.Second; l.now += ms {
		for f := range uint32(8) {
			l.push(f, 0, 1250, "bulk")
		}
		sparse := l.now > time.Second && l.now%(20*ms) == 0
		if sparse {
			l.push(100, 0, 200, "sparse")
		}
		if got := l.send(1, ""); sparse != (got == "sparse") {
			t.Fatalf("at %v: %s went, although there is a sparse flow: %v", l.now, got, sparse)
		}
	}
	if s := l.q.Stats(0); s.MaxSojourn < 20*ms {
		t.Errorf("the bulk flows did not fill the line: %+v", s)
	}
}

func TestMemory(t *testing.T) {
	const limit = 2048
	q := New(Config[[128]byte]{})
	if n := unsafe.Sizeof(*q); n > limit {
		t.Errorf("an idle queue has %d bytes", n)
	}
	memory := func() int {
		return cap(q.packets.packets)*int(unsafe.Sizeof(packet[[128]byte]{})) +
			cap(q.flows.flows)*int(unsafe.Sizeof(flow{})) + cap(q.flows.slots)*4
	}
	now := epoch
	push := func(n int) {
		for i := range n {
			q.Push(now, uint32(i), 0, 100, [128]byte{1})
		}
		for _, ok := q.Head(now); ok; _, ok = q.Head(now) {
			q.Take()
		}
	}
	push(1000)
	for _, p := range q.packets.packets {
		if p.v != [128]byte{} {
			t.Fatal("a packet that was taken is still referred to")
		}
	}
	if memory() < 1000*128 {
		t.Fatalf("1000 packets in %d bytes", memory())
	}
	q.Shrink()
	if memory() != 0 {
		t.Errorf("%d bytes after Shrink", memory())
	}
	push(1000)
	for range 30 {
		now = now.Add(100 * ms)
		push(2)
	}
	if memory() > 30*256 {
		t.Errorf("%d bytes when two packets are queued at most", memory())
	}
	q.Push(now, 1, 0, 100, [128]byte{})
	q.Shrink()
	if q.Len() != 1 || memory() == 0 {
		t.Error("Shrink took a packet")
	}
}

func TestClear(t *testing.T) {
	n := 0
	l := newLine(Config[string]{Drop: func(v string, why Reason) {
		if why == Cleared {
			n++
		}
	}})
	l.push(1, 0, 1000, "a", "a", "a")
	l.push(2, 1, 1000, "b", "b")
	l.q.Head(epoch)
	l.q.Skip()
	l.q.Clear()
	if n != 5 || l.q.Len() != 0 || l.q.Bytes() != 0 || l.q.flows.used != 0 {
		t.Errorf("dropped %d, left %d", n, l.q.Len())
	}
	l.push(2, 0, 1000, "c")
	want(t, "as new", l.send(2, ""), "c -")
}

func TestMisuse(t *testing.T) {
	for name, f := range map[string]func(*Queue[int]){
		"Take": func(q *Queue[int]) { q.Take() },
		"Skip": func(q *Queue[int]) { q.Skip() },
	} {
		q := New(Config[int]{})
		q.Push(epoch, 1, 0, 100, 1)
		q.Head(epoch)
		q.Push(epoch, 1, 0, 100, 2)
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(r.(string), name) {
					t.Errorf("%s after Push: recovered %v", name, r)
				}
			}()
			f(q)
		}()
	}
}

// TestFlowTable compares the table with a map.
func TestFlowTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	var table flowTable
	all := map[flowKey]flowID{}
	for i := range 200_000 {
		key := flowKey{uint32(rng.IntN(300)) << 20, uint8(rng.IntN(2))}
		if i/1000%2 == 1 {
			key.hash = rng.Uint32()
		}
		id := table.find(key)
		if id != all[key] {
			t.Fatalf("found %d, want %d", id, all[key])
		}
		switch {
		case id == 0:
			all[key] = table.add(key)
		case rng.IntN(2) == 0:
			table.remove(id)
			delete(all, key)
		}
		if len(all) > 300 {
			for key, id := range all {
				table.remove(id)
				delete(all, key)
				if len(all) < 200 {
					break
				}
			}
		}
		if table.used != len(all) || len(table.slots) > 2048 {
			t.Fatalf("%d flows in %d slots, want %d", table.used, len(table.slots), len(all))
		}
	}
}
