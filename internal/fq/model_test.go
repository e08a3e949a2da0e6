package fq

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var epoch = time.Unix(1_000_000_000, 0)

const ms = time.Millisecond

// model is a Queue in the words of the RFCs, without a thought for speed.
type model struct {
	packets, bytes   int
	target, interval time.Duration
	marks            func(int) bool
	now              time.Duration
	flows            []*modelFlow // in the order of their creation
	newFlows, old    [NumClasses][]*modelFlow
	credit           [NumClasses]int
	current          *modelFlow
	dropped          [NumReasons][]int
	marked           []int
}

type modelFlow struct {
	hash    uint32
	class   int
	queue   []modelPacket
	deficit int
	skipped bool

	firstAbove, dropNext time.Duration // firstAbove is negative if not above
	count, lastCount     int
	dropping             bool
}

type modelPacket struct {
	v, size int
	at      time.Duration
}

func newModel(packets, bytes int, target, interval time.Duration, marks func(int) bool) *model {
	m := &model{packets: packets, bytes: bytes, target: target, interval: interval, marks: marks}
	m.credit[1] = 4 * 1514
	return m
}

func (f *modelFlow) bytes() (n int) {
	for _, p := range f.queue {
		n += p.size
	}
	return n
}

// queued returns the packets and bytes in all, or those of the classes below one.
func (m *model) queued(below int) (packets, bytes int) {
	for _, f := range m.flows {
		if f.class < below {
			packets += len(f.queue)
			bytes += f.bytes()
		}
	}
	return packets, bytes
}

// push is told what the Queue dropped, which decides when two flows are the largest.
func (m *model) push(now time.Duration, hash uint32, class, size, v int, overflow []int) {
	m.now, m.current = now, nil
	i := slices.IndexFunc(m.flows, func(f *modelFlow) bool { return f.hash == hash && f.class == class })
	if i < 0 {
		f := &modelFlow{hash: hash, class: class, deficit: 1514, firstAbove: -1}
		i = len(m.flows)
		m.flows = append(m.flows, f)
		m.newFlows[class] = append(m.newFlows[class], f)
	}
	m.flows[i].queue = append(m.flows[i].queue, modelPacket{v, size, now})
	for packets, bytes := m.queued(NumClasses); packets > m.packets || bytes > m.bytes; packets, bytes = m.queued(NumClasses) {
		rest := overflow[min(len(m.dropped[Overflow]), len(overflow)):]
		weight := func(f *modelFlow) int {
			w := 2 * f.bytes()
			if w > 0 && len(rest) > 0 && f.queue[0].v == rest[0] {
				w++
			}
			return w
		}
		f := slices.MaxFunc(m.flows, func(a, b *modelFlow) int { return weight(a) - weight(b) })
		before := f.bytes()
		for n := 0; n < 64 && (n == 0 || f.bytes() > before/2); n++ {
			m.dropped[Overflow] = append(m.dropped[Overflow], f.queue[0].v)
			f.queue = f.queue[1:]
		}
	}
	m.forget()
}

// forget forgets all flows when nothing is queued.
func (m *model) forget() {
	if n, _ := m.queued(NumClasses); n == 0 {
		m.flows = nil
		m.newFlows, m.old = [NumClasses][]*modelFlow{}, [NumClasses][]*modelFlow{}
	}
}

func (m *model) begin(now time.Duration) {
	m.now, m.current = now, nil
	for _, f := range m.flows {
		f.skipped = false
	}
}

func (m *model) head(now time.Duration) (int, bool) {
	m.now = now
	m.current = nil
	if m.credit[1] > 0 {
		m.current = m.headOf(1)
	}
	if m.current == nil {
		m.current = m.headOf(0)
	}
	if m.current == nil {
		m.current = m.headOf(1)
	}
	if m.current == nil {
		return 0, false
	}
	return m.current.queue[0].v, true
}

func (m *model) headOf(class int) *modelFlow {
	notSkipped := func(f *modelFlow) bool { return !f.skipped }
	for {
		list := &m.newFlows[class]
		i := slices.IndexFunc(*list, notSkipped)
		if i < 0 {
			list = &m.old[class]
			i = slices.IndexFunc(*list, notSkipped)
		}
		if i < 0 {
			return nil
		}
		f := (*list)[i]
		if f.deficit <= 0 {
			f.deficit += 1514
			*list = slices.Delete(*list, i, i+1)
			m.old[class] = append(m.old[class], f)
			continue
		}
		m.codel(f)
		if len(f.queue) > 0 {
			return f
		}
		*list = slices.Delete(*list, i, i+1)
		if list == &m.newFlows[class] {
			m.old[class] = append(m.old[class], f)
		} else {
			m.flows = slices.DeleteFunc(m.flows, func(g *modelFlow) bool { return f == g })
		}
	}
}

// shouldDrop is what RFC 8289 decides in dodequeue, of the packet at the head.
func (m *model) shouldDrop(f *modelFlow) bool {
	if len(f.queue) == 0 || m.now-f.queue[0].at < m.target || f.bytes()-f.queue[0].size <= 1514 {
		f.firstAbove = -1
		return false
	}
	if f.firstAbove < 0 {
		f.firstAbove = m.now + m.interval
		return false
	}
	return m.now >= f.firstAbove
}

// codel is deque of RFC 8289, with marks as an alternative to drops.
func (m *model) codel(f *modelFlow) {
	law := func(t time.Duration) time.Duration {
		return t + time.Duration(float64(m.interval)/math.Sqrt(float64(f.count)))
	}
	ok := m.shouldDrop(f)
	if f.dropping {
		if !ok {
			f.dropping = false
		}
		for f.dropping && m.now >= f.dropNext {
			f.count++
			if m.mark(f) {
				f.dropNext = law(f.dropNext)
				return
			}
			m.drop(f)
			if !m.shouldDrop(f) {
				f.dropping = false
			} else {
				f.dropNext = law(f.dropNext)
			}
		}
	} else if ok {
		if !m.mark(f) {
			m.drop(f)
			m.shouldDrop(f)
		}
		f.dropping = true
		delta := f.count - f.lastCount
		f.count = 1
		if delta > 1 && m.now-f.dropNext < 16*m.interval {
			f.count = delta
		}
		f.dropNext = law(m.now)
		f.lastCount = f.count
	}
}

func (m *model) mark(f *modelFlow) bool {
	v := f.queue[0].v
	if m.marks == nil || !m.marks(v) {
		return false
	}
	m.marked = append(m.marked, v)
	return true
}

func (m *model) drop(f *modelFlow) {
	m.dropped[CoDel] = append(m.dropped[CoDel], f.queue[0].v)
	f.queue = f.queue[1:]
}

func (m *model) take() int {
	f := m.current
	p := f.queue[0]
	f.queue = f.queue[1:]
	f.deficit -= p.size
	switch lower, _ := m.queued(f.class); {
	case f.class == 0 || lower == 0:
		m.credit[1] = 4 * 1514
	default:
		m.credit[1] -= p.size
	}
	m.current = nil
	m.forget()
	return p.v
}

// duel is a Queue and a model that are treated alike.
type duel struct {
	t     *testing.T
	q     *Queue[int]
	m     *model
	now   time.Duration
	n     int
	drops [NumReasons][]int
	marks []int
}

func newDuel(t *testing.T, packets, bytes int, target, interval time.Duration, marks func(int) bool) *duel {
	d := &duel{t: t, m: newModel(packets, bytes, target, interval, marks)}
	cfg := Config[int]{Packets: packets, Bytes: bytes, Target: target, Interval: interval}
	cfg.Drop = func(v int, why Reason) { d.drops[why] = append(d.drops[why], v) }
	if marks != nil {
		cfg.Mark = func(v *int) bool {
			if marks(*v) {
				d.marks = append(d.marks, *v)
				return true
			}
			return false
		}
	}
	d.q = New(cfg)
	return d
}

func (d *duel) at() time.Time { return epoch.Add(d.now) }

func (d *duel) push(hash uint32, class, size int) {
	d.t.Helper()
	d.q.Push(d.at(), hash, class, size, d.n)
	d.m.push(d.now, hash, class, size, d.n, d.drops[Overflow])
	d.n++
	d.compare()
}

func (d *duel) begin() {
	d.q.Begin(d.at())
	d.m.begin(d.now)
}

// head compares what both have to offer and reports whether there is something.
func (d *duel) head() bool {
	d.t.Helper()
	v, ok := d.q.Head(d.at())
	want, wantOK := d.m.head(d.now)
	if ok != wantOK || ok && *v != want {
		d.t.Fatalf("at %v: head %v %v, want %v %v", d.now, v, ok, want, wantOK)
	}
	d.compare()
	return ok
}

func (d *duel) take() {
	d.t.Helper()
	if got, want := d.q.Take(), d.m.take(); got != want {
		d.t.Fatalf("at %v: took %v, want %v", d.now, got, want)
	}
	d.compare()
}

func (d *duel) skip() {
	d.q.Skip()
	d.m.current.skipped = true
	d.m.current = nil
}

func (d *duel) compare() {
	d.t.Helper()
	packets, bytes := d.m.queued(NumClasses)
	if d.q.Len() != packets || d.q.Bytes() != bytes {
		d.t.Fatalf("at %v: %d packets of %d bytes, want %d of %d", d.now, d.q.Len(), d.q.Bytes(), packets, bytes)
	}
	for why := range d.drops {
		if !slices.Equal(d.drops[why], d.m.dropped[why]) {
			d.t.Fatalf("at %v: %v: dropped %v, want %v", d.now, Reason(why), d.drops[why], d.m.dropped[why])
		}
	}
	if !slices.Equal(d.marks, d.m.marked) {
		d.t.Fatalf("at %v: marked %v, want %v", d.now, d.marks, d.m.marked)
	}
}

// play reads what to do from data.
func (d *duel) play(data []byte) {
	for ; len(data) >= 4; data = data[4:] {
		op, n := data[0], int(binary.LittleEndian.Uint16(data[1:]))
		d.now += time.Duration(data[3]) * time.Duration(data[3]) * time.Microsecond
		switch {
		case op < 140:
			d.push(uint32(n>>11), int(op&1), 1+n%1514)
		case op < 142:
			d.push(uint32(n%500), int(op&1), 1+n)
		case op < 200:
			if d.head() {
				d.take()
			}
		case op < 230:
			if d.head() {
				d.skip()
			}
		case op < 240:
			d.head()
		default:
			d.begin()
		}
	}
	d.begin()
	for d.head() {
		d.now += ms
		d.take()
	}
	if d.q.Len() != 0 || d.q.flows.used != 0 {
		d.t.Fatalf("%d packets and %d flows are left", d.q.Len(), d.q.flows.used)
	}
	var sum Stats
	for c := range NumClasses {
		s := d.q.Stats(c)
		sum.Pushed += s.Pushed
		sum.Taken += s.Taken
		sum.Marked += s.Marked
		for why, n := range s.Dropped {
			sum.Dropped[why] += n
		}
	}
	if sum.Pushed != uint64(d.n) || sum.Taken+sum.Dropped[CoDel]+sum.Dropped[Overflow] != sum.Pushed ||
		int(sum.Dropped[CoDel]) != len(d.drops[CoDel]) || int(sum.Marked) != len(d.marks) {
		d.t.Fatalf("stats %+v of %d packets", sum, d.n)
	}
}

func odd(v int) bool { return v%3 == 1 }

func TestModel(t *testing.T) {
	var drops [NumReasons]int
	marks := 0
	for seed := range uint64(80) {
		rng := rand.New(rand.NewPCG(seed, 0))
		data := make([]byte, 4*1500)
		slow := byte(1 + rng.IntN(255))
		for i := range data {
			data[i] = byte(rng.Uint32())
			if i%4 == 3 {
				data[i] %= slow
			}
		}
		var mark func(int) bool
		if seed%3 == 0 {
			mark = odd
		}
		d := newDuel(t, 1+rng.IntN(400), 1+rng.IntN(200_000), 5*ms, 20*ms, mark)
		d.play(data)
		for why := range drops {
			drops[why] += len(d.drops[why])
		}
		marks += len(d.marks)
	}
	if drops[CoDel] < 500 || drops[Overflow] < 500 || marks < 100 {
		t.Errorf("drops %v, marks %d: not all that may happen did so", drops, marks)
	}
}

// TestModelAgain has phases of overload, so that CoDel begins again and again where it
// left off.
func TestModelAgain(t *testing.T) {
	d := newDuel(t, 10_000, 1e9, 5*ms, 20*ms, nil)
	for phase := range 12 {
		for range 100 + 40*(phase%4) {
			d.push(1, 0, 1000)
			d.push(1, 0, 1000)
			if d.head() {
				d.take()
			}
			d.now += ms
		}
		for d.head() && d.q.Len() > 2 {
			d.take()
		}
		d.now += 10 * ms
	}
	if n := len(d.drops[CoDel]); n < 200 {
		t.Errorf("only %d drops", n)
	}
}

func FuzzModel(f *testing.F) {
	f.Add(uint16(20), uint16(20000), false, []byte("0123456789abcdefghijklmnopqrstuvwxyz\xff\xf0\xe0\xd0"))
	f.Add(uint16(500), uint16(60000), true, make([]byte, 400))
	f.Fuzz(func(t *testing.T, packets, bytes uint16, marks bool, data []byte) {
		var mark func(int) bool
		if marks {
			mark = odd
		}
		newDuel(t, max(int(packets), 1), max(int(bytes), 1), 5*ms, 20*ms, mark).play(data[:min(len(data), 8000)])
	})
}
