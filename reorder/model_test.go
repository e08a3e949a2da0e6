package reorder

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is a Buffer as one would write it without a thought for speed. It is told
// the numbers that the wire cuts off, so it also checks how the Buffer restores
// them.
type model struct {
	cfg   Config
	links map[int]*modelLink
	flows map[int]*modelFlow
	held  int
	seq   int
}

type modelLink struct {
	active  bool
	stamp   int64 // -1 if none
	samples []modelSample
	average int64
	last    time.Duration
	since   time.Duration // -1 until asked
}

type modelSample struct {
	at time.Duration
	d  int64
}

type modelFlow struct {
	next      int64
	delivered map[int64]bool
	held      []modelPacket // by order
	forced    int64
}

type modelPacket struct {
	order, stamp int64
	seq          int
	deadline     time.Duration
}

func newModel(cfg Config) *model {
	return &model{cfg: cfg, links: map[int]*modelLink{}, flows: map[int]*modelFlow{}}
}

func (m *model) link(i int) *modelLink {
	if m.links[i] == nil {
		m.links[i] = &modelLink{stamp: -1, since: -1}
	}
	return m.links[i]
}

func (m *model) flow(i int) *modelFlow {
	if m.flows[i] == nil {
		m.flows[i] = &modelFlow{delivered: map[int64]bool{}}
	}
	return m.flows[i]
}

func (m *model) passed() int64 {
	p := int64(math.MaxInt64)
	for _, l := range m.links {
		if l.active {
			p = min(p, l.stamp)
		}
	}
	return p
}

func (l *modelLink) arrived(now time.Duration, stamp int64, d time.Duration) {
	l.stamp = max(l.stamp, stamp)
	if len(l.samples) == 0 {
		l.average = int64(d)
	} else {
		l.average += (int64(d) - l.average) / 8
	}
	l.last = now
	if n := len(l.samples); n > 0 && now-l.samples[n-1].at < 4*time.Millisecond {
		return
	}
	if len(l.samples) == 128 {
		l.samples = l.samples[1:]
	}
	l.samples = slices.DeleteFunc(l.samples, func(s modelSample) bool { return now-s.at > 2*time.Second })
	l.samples = append(l.samples, modelSample{now, int64(d)})
}

func (l *modelLink) high(now time.Duration) int64 {
	var all []int64
	for _, s := range l.samples {
		all = append(all, s.d)
	}
	slices.Sort(all)
	if len(all) < 32 || now-l.last > 2*time.Second {
		return all[len(all)-1]
	}
	return max(all[len(all)*9/10], l.average)
}

func (m *model) push(now time.Duration, flow int, order, stamp int64, link int, d time.Duration) Verdict {
	m.link(link).arrived(now, stamp, d)
	f := m.flow(flow)
	switch {
	case f.delivered[order] && f.next-order <= 1024:
		return Duplicate
	case slices.ContainsFunc(f.held, func(p modelPacket) bool { return p.order == order }):
		return Duplicate
	case order < f.next:
		f.delivered[order] = true
		return Late
	case order == f.next, len(f.held) == 0 && (m.cfg.MaxHold < 0 || stamp <= m.passed()):
		f.delivered[order] = true
		f.next = order + 1
		return Next
	}

	slowest := int64(math.MinInt64 / 2)
	for _, l := range m.links {
		if !l.active {
			continue
		}
		if len(l.samples) > 0 {
			slowest = max(slowest, l.high(now))
			continue
		}
		if l.since < 0 {
			l.since = now
		}
		if now-l.since < time.Second {
			slowest = max(slowest, int64(d+m.cfg.maxHold()))
		}
	}
	wait := min(max(time.Duration(slowest)-d, 0)+m.cfg.slack(), m.cfg.maxHold())
	m.seq++
	f.held = append(f.held, modelPacket{order, stamp, m.seq, now + wait})
	slices.SortFunc(f.held, func(a, b modelPacket) int { return cmp.Compare(a.order, b.order) })
	m.held++
	span := int64(max(ceilPow2(m.cfg.window()), minRing))
	if order-f.next >= span {
		if len(f.held) == 1 {
			f.next = order - span + 1
		} else {
			f.forced = order - span + 1
		}
	}
	return Held
}

func (f *modelFlow) oldest() modelPacket {
	return slices.MinFunc(f.held, func(a, b modelPacket) int { return cmp.Compare(a.seq, b.seq) })
}

// drain returns the orders that Pop gives, by flow.
func (m *model) drain(now time.Duration) map[int][]int64 {
	out := map[int][]int64{}
	for {
		for i, f := range m.flows {
			for len(f.held) > 0 && m.release(f, now) {
				if p := f.held[0]; p.order == f.next {
					out[i] = append(out[i], p.order)
					f.delivered[p.order] = true
					f.held = f.held[1:]
					f.next++
					m.held--
				}
			}
		}
		if m.held < m.cfg.window() {
			return out
		}
		var tightest *modelFlow
		for _, f := range m.flows {
			if len(f.held) > 0 && (tightest == nil || f.oldest().deadline < tightest.oldest().deadline) {
				tightest = f
			}
		}
		tightest.next = tightest.held[0].order
	}
}

// release gives up what is missing at the flow's head, if it is time, and reports
// whether the flow made progress.
func (m *model) release(f *modelFlow, now time.Duration) bool {
	p := f.held[0]
	switch {
	case p.order == f.next:
	case f.forced > f.next:
		f.next = min(f.forced, p.order)
	case p.stamp <= m.passed(), f.oldest().deadline <= now:
		f.next = p.order
	default:
		return false
	}
	return true
}

func (m *model) deadline() (at time.Duration, ok bool) {
	for _, f := range m.flows {
		if len(f.held) > 0 {
			if d := f.oldest().deadline; !ok || d < at {
				at, ok = d, true
			}
		}
	}
	return at, ok
}

// arrival is one packet of an honest sender.
type arrival struct {
	at           time.Duration
	flow         int
	order, stamp int64
	ordered      bool
	link         int
	delay        time.Duration
}

// traffic makes what an honest sender's packets look like after some links. Every
// time is different, so that no tie decides.
func traffic(rng *rand.Rand, packets, flows, links int, loss float64) []arrival {
	var out []arrival
	base := make([]time.Duration, links)
	last := make([]time.Duration, links)
	for l := range base {
		base[l] = time.Duration(rng.IntN(120)) * time.Millisecond
	}
	order := make([]int64, flows)
	reached := make([]arrival, flows) // the newest that was not lost
	byStamp := func(a, b arrival) int { return cmp.Compare(a.stamp, b.stamp) }
	stamp := int64(0)
	var now time.Duration
	for range packets {
		now += time.Duration(rng.ExpFloat64() * float64(200*time.Microsecond))
		switch rng.IntN(2000) {
		case 0: // an outage long enough to confuse 16-bit orders
			now += time.Second
			f := rng.IntN(flows)
			if n := rng.Int64N(60000); order[f]-reached[f].order < 1000 {
				order[f] += n
				stamp += n
			}
		case 1: // other flows for long enough to confuse 24-bit stamps
			now += time.Second
			if newest := slices.MaxFunc(reached, byStamp); stamp-newest.stamp < 1000 {
				stamp += rng.Int64N(10 << 20)
			}
		case 2: // a step of delay
			base[rng.IntN(links)] = time.Duration(rng.IntN(120)) * time.Millisecond
		}
		a := arrival{flow: rng.IntN(flows), stamp: stamp, ordered: rng.IntN(10) > 0}
		stamp++
		if a.ordered {
			a.order = order[a.flow]
			order[a.flow]++
		}
		copies := 1
		if rng.IntN(50) == 0 {
			copies = 2
		}
		for range copies {
			if rng.Float64() < loss && a.order-reached[a.flow].order < 1000 && a.stamp-slices.MaxFunc(reached, byStamp).stamp < 1000 {
				continue
			}
			if a.ordered {
				reached[a.flow] = arrival{order: a.order, stamp: a.stamp}
			}
			a.link = rng.IntN(links)
			jitter := time.Duration(rng.ExpFloat64() * float64(2*time.Millisecond))
			a.at = max(now+base[a.link]+jitter, last[a.link]+1)
			last[a.link] = a.at
			a.delay = a.at - now
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	for i := 1; i < len(out); i++ {
		out[i].at = max(out[i].at, out[i-1].at+1)
	}
	return out
}

// checkModel plays traffic to a Buffer and a model and compares what they do.
func checkModel(t *testing.T, seed uint64, packets, flows, links, window int, loss float64, hold time.Duration) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	cfg := Config{Flows: 4, Window: window, MaxHold: hold}
	b := New[arrival](cfg)
	m := newModel(cfg)
	start := time.Unix(1e9, 0)
	offset := time.Duration(rng.Int64() - rng.Int64())

	for l := range links {
		b.SetLink(l, true)
		m.link(l).active = true
	}
	drain := func(now time.Duration) {
		want := m.drain(now)
		got := map[int][]int64{}
		for {
			a, ok := b.Pop(start.Add(now))
			if !ok {
				break
			}
			got[a.flow] = append(got[a.flow], a.order)
		}
		for f := range flows {
			if !slices.Equal(got[f], want[f]) {
				t.Fatalf("seed %d: flow %d at %v: popped %v, want %v", seed, f, now, got[f], want[f])
			}
		}
		if b.Len() != m.held {
			t.Fatalf("seed %d: at %v: holds %d, want %d", seed, now, b.Len(), m.held)
		}
		at, ok := b.NextDeadline()
		wantAt, wantOK := m.deadline()
		if ok != wantOK || ok && at.Sub(start) != wantAt {
			t.Fatalf("seed %d: at %v: deadline %v %v, want %v %v", seed, now, at.Sub(start), ok, wantAt, wantOK)
		}
	}

	all := traffic(rng, packets, flows, links, loss)
	if len(all) == 0 {
		return
	}
	zero := all[0].at
	for _, a := range all {
		now := a.at - zero
		for {
			at, ok := b.NextDeadline()
			if !ok || at.Sub(start) >= now {
				break
			}
			drain(at.Sub(start))
		}
		if rng.IntN(500) == 0 {
			l := rng.IntN(links)
			active := rng.IntN(3) > 0
			b.SetLink(l, active)
			m.link(l).active = active
			drain(now)
		}
		stamp := uint32(a.stamp) & (1<<24 - 1)
		if !a.ordered {
			b.Seen(start.Add(now), a.link, stamp, offset+a.delay)
			m.link(a.link).arrived(now, a.stamp, a.delay)
			drain(now)
			continue
		}
		p := Packet{Flow: a.flow, Order: uint16(a.order), Stamp: stamp, Link: a.link, Delay: offset + a.delay}
		got := b.Push(start.Add(now), p, a)
		want := m.push(now, a.flow, a.order, a.stamp, a.link, a.delay)
		if got != want {
			t.Fatalf("seed %d: flow %d order %d stamp %d at %v: %v, want %v", seed, a.flow, a.order, a.stamp, now, got, want)
		}
		drain(now)
	}
}

func TestModel(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		links := 1 + rng.IntN(4)
		window := []int{0, 0, 16, 64, 500}[rng.IntN(5)]
		loss := []float64{0, 0.001, 0.02, 0.3}[rng.IntN(4)]
		hold := []time.Duration{0, 0, 0, 20 * time.Millisecond, -1}[rng.IntN(5)]
		checkModel(t, seed, 4000, 1+rng.IntN(4), links, window, loss, hold)
	}
}

func FuzzModel(f *testing.F) {
	f.Add(uint64(1), byte(2), byte(4), uint16(0), byte(5), int16(0))
	f.Add(uint64(2), byte(3), byte(1), uint16(20), byte(50), int16(30))
	f.Fuzz(func(t *testing.T, seed uint64, links, flows byte, window uint16, loss byte, hold int16) {
		checkModel(t, seed, 1000, 1+int(flows%4), 1+int(links%6), int(window), float64(loss)/256,
			time.Duration(hold)*time.Millisecond)
	})
}
