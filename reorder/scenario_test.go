package reorder

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// scenario is a sender that stripes packets over links, in virtual time.
type scenario struct {
	links    []scenarioLink
	every    time.Duration // between two packets
	packets  int
	flows    int // packets go to flows in turn
	offset   time.Duration
	window   int
	inactive func(at time.Duration) int // link to take out at a time, -1 for none

	hold   bool // deliver with this delay
	target time.Duration
	repair time.Duration // a lost packet comes so long after what shows the loss; 0 is never
}

type scenarioLink struct {
	delay  func(at time.Duration) time.Duration
	jitter time.Duration // uniform, FIFO all the same
	loss   float64
	dead   func(at time.Duration) bool // nothing arrives
}

func constant(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

// result is what became of the packets. Times are since the first was sent.
type result struct {
	Stats
	lost    int
	latency []time.Duration // added by the buffer, per delivered packet
	late    []time.Duration // when late packets arrived
	held    map[int]time.Duration
	total   []time.Duration // from sending to delivery, per packet in order
}

func (r *result) quantile(q float64) time.Duration {
	slices.Sort(r.latency)
	return r.latency[int(q*float64(len(r.latency)-1))]
}

type packetSent struct {
	Packet
	sent, arrives time.Duration
}

// slowest returns the highest delay of any link.
func (s scenario) slowest(at time.Duration) (d time.Duration) {
	for _, l := range s.links {
		d = max(d, l.delay(at))
	}
	return d
}

func (s scenario) run(t *testing.T) *result {
	t.Helper()
	rng := rand.New(rand.NewPCG(8, 8))
	r := &result{held: make(map[int]time.Duration)}
	last := make([]time.Duration, len(s.links))
	order := make([]int, s.flows)
	var all []packetSent
	for i := range s.packets {
		at := time.Duration(i) * s.every
		flow := i % s.flows
		link := rng.IntN(len(s.links))
		l := &s.links[link]
		p := packetSent{Packet{Flow: flow, Order: uint16(order[flow]), Stamp: uint32(i) % (1 << 24), Link: link, Hold: s.hold}, at, 0}
		order[flow]++
		if l.dead != nil && l.dead(at) {
			if s.inactive != nil && s.inactive(at) == link {
				// The sender knows: it goes by the next link.
				link = (link + 1) % len(s.links)
				l = &s.links[link]
				p.Link = link
			} else {
				r.lost++
				continue
			}
		}
		if rng.Float64() < l.loss {
			r.lost++
			if s.repair > 0 {
				again := p
				again.Repaired, again.Link = true, 0
				again.arrives = at + s.slowest(at) + s.repair
				again.Delay = s.links[0].delay(at) + s.offset
				all = append(all, again)
			}
			continue
		}
		jitter := time.Duration(rng.Int64N(int64(l.jitter) + 1))
		p.arrives = max(at+l.delay(at)+jitter, last[link]+1)
		last[link] = p.arrives
		p.Delay = p.arrives - p.sent + s.offset
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b packetSent) int { return cmp.Compare(a.arrives, b.arrives) })

	b := New[packetSent](Config{Window: s.window})
	b.SetTarget(s.target+s.offset, s.hold)
	b.SetRepair(s.repair)
	for i := range s.links {
		b.SetLink(i, true)
	}
	next := make([]uint16, s.flows)
	inOrder := func(p packetSent) {
		if int16(p.Order-next[p.Flow]) < 0 {
			t.Fatalf("flow %d: order %d delivered after %d", p.Flow, p.Order, next[p.Flow]-1)
		}
		next[p.Flow] = p.Order + 1
	}
	pop := func(now time.Duration) {
		for {
			p, ok := b.Pop(epoch.Add(now))
			if !ok {
				return
			}
			inOrder(p)
			r.latency = append(r.latency, now-p.arrives)
			r.total = append(r.total, now-p.sent)
			r.held[p.Flow] = max(r.held[p.Flow], now-p.arrives)
		}
	}
	down := -1
	for _, p := range all {
		for {
			at, ok := b.NextDeadline()
			if !ok || at.Sub(epoch) >= p.arrives {
				break
			}
			pop(at.Sub(epoch))
		}
		if s.inactive != nil {
			if d := s.inactive(p.arrives); d != down {
				for i := range s.links {
					b.SetLink(i, i != d)
				}
				down = d
				pop(p.arrives)
			}
		}
		switch b.Push(epoch.Add(p.arrives), p.Packet, p) {
		case Next:
			inOrder(p)
			r.latency = append(r.latency, 0)
			r.total = append(r.total, p.arrives-p.sent)
		case Late:
			r.late = append(r.late, p.arrives)
		case Duplicate:
			t.Fatalf("duplicate: %+v", p)
		}
		pop(p.arrives)
	}
	for at, ok := b.NextDeadline(); ok; at, ok = b.NextDeadline() {
		pop(at.Sub(epoch))
	}
	r.Stats = b.Stats()
	t.Logf("# %d packets, %d lost; %d late; added p50 %v p99 %v max %v; %+v", s.packets, r.lost, r.Late,
		r.quantile(0.5), r.quantile(0.99), r.MaxHold, r.Stats)
	return r
}

func TestStriped(t *testing.T) {
	for _, offset := range []time.Duration{0, -100 * 365 * 24 * time.Hour, 100 * 365 * 24 * time.Hour} {
		r := scenario{
			links:   []scenarioLink{{delay: constant(20 * ms), jitter: ms}, {delay: constant(70 * ms), jitter: 2 * ms}},
			every:   100 * time.Microsecond,
			packets: 100_000,
			flows:   1,
			offset:  offset,
		}.run(t)
		if r.Late > 0 || r.lost > 0 || r.LostCertain+r.LostDeadline+r.LostWindow > 0 {
			t.Errorf("late or lost packets on clean links")
		}
		if r.MaxHold > 55*ms {
			t.Errorf("held for %v at a spread of 50 ms", r.MaxHold)
		}
	}
}

func TestStripedLossy(t *testing.T) {
	r := scenario{
		links:   []scenarioLink{{delay: constant(20 * ms), loss: 0.02, jitter: ms}, {delay: constant(70 * ms), loss: 0.02, jitter: 2 * ms}},
		every:   100 * time.Microsecond,
		packets: 100_000,
		flows:   1,
	}.run(t)
	if r.Late > 0 {
		t.Errorf("late packets")
	}
	if r.MaxHold > 57*ms {
		t.Errorf("held for %v at a spread of 50 ms", r.MaxHold)
	}
	if r.LostDeadline > r.LostCertain/100 {
		t.Errorf("%d holes waited for their deadline, %d were certain", r.LostDeadline, r.LostCertain)
	}
	if int(r.LostCertain+r.LostDeadline) != r.lost {
		t.Errorf("gave up %d, lost %d", r.LostCertain+r.LostDeadline, r.lost)
	}
}

// TestOneLinkDies lets one of two links die silently. Both ends learn it after
// 100 ms, and that it is back before it carries data again.
func TestOneLinkDies(t *testing.T) {
	dead := func(at time.Duration) bool { return at > time.Second && at < 3*time.Second }
	r := scenario{
		links:   []scenarioLink{{delay: constant(20 * ms)}, {delay: constant(70 * ms), dead: dead}},
		every:   200 * time.Microsecond,
		packets: 20_000,
		flows:   4,
		inactive: func(at time.Duration) int {
			if dead(at) && dead(at-100*ms) {
				return 1
			}
			return -1
		},
	}.run(t)
	if r.Late > 0 {
		t.Errorf("late packets at %v", r.late)
	}
	if r.MaxHold > 60*ms {
		t.Errorf("held for %v, a link that says nothing must not block longer than the deadline", r.MaxHold)
	}
}

// TestDelaySteps moves a link's delay as satellites do.
func TestDelaySteps(t *testing.T) {
	r := scenario{
		links: []scenarioLink{{delay: constant(20 * ms)}, {jitter: 5 * ms, delay: func(at time.Duration) time.Duration {
			return time.Duration(30+40*(at/(3*time.Second)%3)) * ms
		}}},
		every:   200 * time.Microsecond,
		packets: 100_000,
		flows:   1,
	}.run(t)
	if r.Late > 2000 {
		t.Errorf("%d late packets; a step must be learned in a few packets", r.Late)
	}
	for _, at := range r.late {
		if since := at % (3 * time.Second); since > 300*ms {
			t.Errorf("late packet %v after a step", since)
		}
	}
	if r.quantile(0.5) > 95*ms {
		t.Errorf("packets waited %v in the median", r.quantile(0.5))
	}
}

// TestHoleDelaysItsFlowOnly loses packets of what becomes flow 0 alone.
func TestHoleDelaysItsFlowOnly(t *testing.T) {
	b := New[int](Config{})
	b.SetLink(0, true)
	b.SetLink(1, true)
	b.Seen(epoch, 1, 0, 100*ms)
	var worst time.Duration
	at := make(map[int]time.Time)
	now := epoch
	for i := range 10_000 {
		now = now.Add(100 * time.Microsecond)
		flow := i % 2
		if i%200 == 0 {
			continue // lost, of flow 0
		}
		for {
			v, ok := b.Pop(now)
			if !ok {
				break
			}
			if v%2 == 1 {
				t.Fatalf("packet %d of flow 1 was held", v)
			}
			worst = max(worst, now.Sub(at[v]))
		}
		at[i] = now
		b.Push(now, Packet{Flow: flow, Order: uint16(i / 2), Stamp: uint32(i), Delay: 20 * ms}, i)
	}
	if worst < 80*ms {
		t.Errorf("flow 0 was held for %v at most: no hole", worst)
	}
}

// TestOneLink holds nothing, whatever is lost.
func TestOneLink(t *testing.T) {
	r := scenario{
		links:   []scenarioLink{{delay: constant(20 * ms), loss: 0.1}},
		every:   time.Millisecond,
		packets: 10_000,
		flows:   3,
	}.run(t)
	if r.Held > 0 || r.Late > 0 {
		t.Errorf("%d held and %d late on one link", r.Held, r.Late)
	}
}

func TestManyLinks(t *testing.T) {
	s := scenario{every: 50 * time.Microsecond, packets: 100_000, flows: 16}
	for i := range 64 {
		s.links = append(s.links, scenarioLink{delay: constant(time.Duration(10+i) * ms), loss: 0.001})
	}
	r := s.run(t)
	if r.Late > 0 || r.MaxHold > 75*ms {
		t.Errorf("%d late, held for %v over 64 links", r.Late, r.MaxHold)
	}
}
