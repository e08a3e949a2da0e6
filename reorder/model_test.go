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
	now   time.Duration

	target   time.Duration // negative is off
	delayed  []modelPacket
	repair   time.Duration
	moments  []modelMoment
	settled  int64
	early    int
	repaired int
	tooLate  int
}

// modelMoment says that what has a lower stamp is known to be lost since a time.
type modelMoment struct {
	stamp int64
	at    time.Duration
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
	at, sent     time.Duration
	timed        bool
}

func newModel(cfg Config) *model {
	return &model{cfg: cfg, links: map[int]*modelLink{}, flows: map[int]*modelFlow{}, target: -1, settled: -1}
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

// certain returns the stamp below which what is missing has been lost for long enough.
func (m *model) certain() int64 {
	if m.repair == 0 || m.passed() == math.MaxInt64 {
		return m.passed()
	}
	for len(m.moments) > 0 && m.moments[0].at+m.repair <= m.now {
		m.settled = m.moments[0].stamp
		m.moments = m.moments[1:]
	}
	return m.settled
}

// note keeps the moments about as exactly as momentParts says.
func (m *model) note() {
	p := m.passed()
	if m.repair == 0 || p == math.MaxInt64 {
		return
	}
	m.certain()
	n := len(m.moments)
	switch {
	case p <= m.settled || n > 0 && p <= m.moments[n-1].stamp:
	case n >= 2 && m.now-m.moments[n-2].at < m.repair/momentParts:
		m.moments[n-1] = modelMoment{p, m.now}
	default:
		m.moments = append(m.moments, modelMoment{p, m.now})
	}
}

func (m *model) setRepair(wait time.Duration) {
	if m.repair = min(wait, m.cfg.maxHold()); m.repair == 0 {
		m.moments, m.settled = nil, -1
	}
}

func (m *model) arrived(now time.Duration, a arrival) {
	m.now = now
	if !a.repaired {
		m.link(a.link).arrived(now, a.stamp, a.delay)
		m.note()
	}
}

// due returns when a packet is due in a flow that has waited since some time.
func (m *model) due(p modelPacket, since time.Duration) time.Duration {
	if !p.timed || m.target < 0 {
		return p.sent - math.MaxInt64/2
	}
	return min(p.sent+m.target, since+m.cfg.maxHold())
}

func (m *model) isEarly(p modelPacket, since time.Duration) bool {
	return m.due(p, since)-m.now >= 500*time.Microsecond
}

// waits reports whether what is first in the flow is too early.
func (m *model) waits(f *modelFlow) bool { return m.isEarly(f.held[0], f.oldest().at) }

func (m *model) delay(now time.Duration, a arrival) Verdict {
	m.arrived(now, a)
	p := modelPacket{stamp: a.stamp, at: now, sent: now - a.delay, timed: true}
	if !m.isEarly(p, now) {
		return Next
	}
	m.held++
	m.early++
	m.delayed = append(m.delayed, p)
	return Held
}

func (m *model) push(now time.Duration, a arrival) Verdict {
	v := m.place(now, a)
	switch {
	case !a.repaired:
	case v == Late:
		m.tooLate++
	case v != Duplicate:
		m.repaired++
	}
	return v
}

func (m *model) place(now time.Duration, a arrival) Verdict {
	m.arrived(now, a)
	f, order := m.flow(a.flow), a.order
	p := modelPacket{order: order, stamp: a.stamp, at: now, sent: now - a.delay, timed: a.hold}
	since := now
	if len(f.held) > 0 {
		since = f.oldest().at
	}
	if a.repaired {
		p.timed = false
		if a.hold && len(f.held) > 0 && order < f.held[0].order {
			p.timed, p.sent = f.held[0].timed, f.held[0].sent
		}
	}
	early := m.isEarly(p, since)
	switch {
	case f.delivered[order] && f.next-order <= 1024:
		return Duplicate
	case slices.ContainsFunc(f.held, func(p modelPacket) bool { return p.order == order }):
		return Duplicate
	case order < f.next:
		f.delivered[order] = true
		return Late
	case early:
	case order == f.next, len(f.held) == 0 && (m.cfg.MaxHold < 0 || a.stamp <= m.certain()):
		f.delivered[order] = true
		f.next = order + 1
		return Next
	}

	wait := m.cfg.slack()
	if !a.repaired {
		wait += max(m.slowest(a.delay)-a.delay, 0)
	}
	m.seq++
	p.seq, p.deadline = m.seq, now+min(wait, m.cfg.maxHold())
	if early {
		m.early++
	}
	f.held = append(f.held, p)
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

func (m *model) slowest(d time.Duration) time.Duration {
	slowest := int64(math.MinInt64 / 2)
	for _, l := range m.links {
		if !l.active {
			continue
		}
		if len(l.samples) > 0 {
			slowest = max(slowest, l.high(m.now))
			continue
		}
		if l.since < 0 {
			l.since = m.now
		}
		if m.now-l.since < time.Second {
			slowest = max(slowest, int64(d+m.cfg.maxHold()))
		}
	}
	return time.Duration(slowest)
}

func (f *modelFlow) oldest() modelPacket {
	return slices.MinFunc(f.held, func(a, b modelPacket) int { return cmp.Compare(a.seq, b.seq) })
}

// unordered is the key of packets of no flow in what drain returns.
const unordered = -1

// drain returns the orders that Pop gives, by flow; of unordered packets the stamps.
func (m *model) drain(now time.Duration) map[int][]int64 {
	m.now = now
	m.note()
	out := map[int][]int64{}
	for {
		for i, f := range m.flows {
			for len(f.held) > 0 && m.release(i, out) {
			}
		}
		for i := m.firstDelayed(); i >= 0 && !m.isEarly(m.delayed[i], m.delayed[i].at); i = m.firstDelayed() {
			m.takeDelayed(i, out)
		}
		if m.held < m.cfg.window() {
			return out
		}
		m.force(out)
	}
}

// take takes the flow's first packet, which is the next.
func (m *model) take(flow int, out map[int][]int64) {
	f := m.flows[flow]
	out[flow] = append(out[flow], f.next)
	f.delivered[f.next] = true
	f.held = f.held[1:]
	f.next++
	m.held--
}

func (m *model) firstDelayed() int {
	first := -1
	for i, p := range m.delayed {
		if first < 0 || m.due(p, p.at) < m.due(m.delayed[first], m.delayed[first].at) {
			first = i
		}
	}
	return first
}

func (m *model) takeDelayed(i int, out map[int][]int64) {
	out[unordered] = append(out[unordered], m.delayed[i].stamp)
	m.delayed = slices.Delete(m.delayed, i, i+1)
	m.held--
}

// force makes room: with what only waits for its time, else with a hole.
func (m *model) force(out map[int][]int64) {
	first, at := -2, time.Duration(math.MaxInt64)
	if i := m.firstDelayed(); i >= 0 {
		first, at = unordered, m.due(m.delayed[i], m.delayed[i].at)
	}
	for i, f := range m.flows {
		if len(f.held) > 0 && m.waits(f) && m.due(f.held[0], f.oldest().at) < at {
			first, at = i, m.due(f.held[0], f.oldest().at)
		}
	}
	if first == unordered {
		m.takeDelayed(m.firstDelayed(), out)
		return
	}
	if first < 0 {
		for i, f := range m.flows {
			if len(f.held) > 0 && m.giveUp(f) < at {
				first, at = i, m.giveUp(f)
			}
		}
	}
	f := m.flows[first]
	if f.held[0].order == f.next {
		m.take(first, out)
	} else {
		f.next = f.held[0].order
	}
}

func (m *model) giveUp(f *modelFlow) time.Duration {
	patience := m.repair
	if m.repair > 0 {
		patience = max(m.repair, silence)
	}
	return min(f.oldest().deadline+patience, f.oldest().at+m.cfg.maxHold())
}

// release takes the flow's first packet or gives up what is missing before it, if it is
// time, and reports whether it did.
func (m *model) release(flow int, out map[int][]int64) bool {
	f := m.flows[flow]
	p := f.held[0]
	switch {
	case p.order == f.next && (f.forced > f.next || !m.waits(f)):
		m.take(flow, out)
	case f.forced > f.next:
		f.next = min(f.forced, p.order)
	case m.waits(f):
		return false
	case p.stamp <= m.certain(), m.giveUp(f) <= m.now:
		f.next = p.order
	default:
		return false
	}
	return true
}

func (m *model) deadline() (at time.Duration, ok bool) {
	at = math.MaxInt64
	for _, p := range m.delayed {
		at = min(at, m.due(p, p.at))
	}
	for _, f := range m.flows {
		switch {
		case len(f.held) == 0:
		case m.waits(f):
			at = min(at, m.due(f.held[0], f.oldest().at))
		default:
			at = min(at, m.giveUp(f))
			for _, c := range m.moments {
				if c.stamp >= f.held[0].stamp {
					at = min(at, c.at+m.repair)
				}
			}
		}
	}
	return at, at < math.MaxInt64
}

// arrival is one packet of an honest sender.
type arrival struct {
	at           time.Duration
	flow         int
	order, stamp int64
	ordered      bool
	link         int
	delay        time.Duration
	hold         bool // if not ordered: to be delayed
	repaired     bool
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
		a := arrival{flow: rng.IntN(flows), stamp: stamp, ordered: rng.IntN(10) > 0, hold: rng.IntN(8) > 0}
		if a.flow%2 == 1 {
			a.hold = false
		}
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
				if a.ordered && rng.IntN(3) > 0 {
					again := a
					again.link, again.repaired = rng.IntN(links), true
					again.delay = time.Duration(rng.IntN(int(time.Second)))
					again.at = now + base[rng.IntN(links)] + base[again.link] + time.Duration(rng.IntN(int(30*time.Millisecond)))
					out = append(out, again)
				}
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
func checkModel(t *testing.T, seed uint64, packets, flows, links, window int, loss float64, hold time.Duration) Stats {
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
			if a.ordered {
				got[a.flow] = append(got[a.flow], a.order)
			} else {
				got[unordered] = append(got[unordered], a.stamp)
			}
		}
		for f := unordered; f < flows; f++ {
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
		return Stats{}
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
		if rng.IntN(500) == 0 {
			m.target = time.Duration(rng.IntN(int(300*time.Millisecond))) - 80*time.Millisecond
			b.SetTarget(offset+m.target, m.target >= 0)
			drain(now)
		}
		if rng.IntN(500) == 0 {
			wait := max(time.Duration(rng.IntN(int(100*time.Millisecond)))-30*time.Millisecond, 0)
			m.setRepair(wait)
			b.SetRepair(wait)
			drain(now)
		}
		stamp := uint32(a.stamp) & (1<<24 - 1)
		p := Packet{
			Flow: a.flow, Order: uint16(a.order), Stamp: stamp, Link: a.link, Delay: offset + a.delay,
			Hold: a.hold, Repaired: a.repaired,
		}
		var got, want Verdict
		switch {
		case a.ordered:
			got, want = b.Push(start.Add(now), p, a), m.push(now, a)
		case a.hold:
			got, want = b.Delay(start.Add(now), p, a), m.delay(now, a)
		default:
			b.Seen(start.Add(now), a.link, stamp, offset+a.delay)
			m.arrived(now, a)
		}
		if got != want {
			t.Fatalf("seed %d: flow %d order %d stamp %d at %v: %v, want %v", seed, a.flow, a.order, a.stamp, now, got, want)
		}
		drain(now)
	}
	s := b.Stats()
	if got, want := [3]int{int(s.Early), int(s.Repaired), int(s.RepairedLate)}, [3]int{m.early, m.repaired, m.tooLate}; got != want {
		t.Fatalf("seed %d: early, repaired and repaired late %v, want %v", seed, got, want)
	}
	return s
}

func TestModel(t *testing.T) {
	var all Stats
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		links := 1 + rng.IntN(4)
		window := []int{0, 0, 16, 64, 500}[rng.IntN(5)]
		loss := []float64{0, 0.001, 0.02, 0.3}[rng.IntN(4)]
		hold := []time.Duration{0, 0, 0, 20 * time.Millisecond, -1}[rng.IntN(5)]
		s := checkModel(t, seed, 4000, 1+rng.IntN(4), links, window, loss, hold)
		all.Early += s.Early
		all.Repaired += s.Repaired
		all.RepairedLate += s.RepairedLate
		all.LostCertain += s.LostCertain
		all.LostDeadline += s.LostDeadline
		all.LostWindow += s.LostWindow
	}
	for _, n := range []uint64{all.Early, all.Repaired, all.RepairedLate, all.LostCertain, all.LostDeadline, all.LostWindow} {
		if n < 500 {
			t.Errorf("not all that may happen did so: %+v", all)
		}
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
