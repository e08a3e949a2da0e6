package mlvpn

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/flow"
	"github.com/multilink-vpn/multilink/internal/path"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/tun"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Everything put into a mailbox is taken once, in the order of each sender, and nobody
// sleeps while there is something.
func TestMailbox(t *testing.T) {
	box := newMailbox[int]()
	const senders, each = 8, 2000
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for i := 0; i < each; i += 4 {
				box.put(s*each + i)
				box.putAll([]int{s*each + i + 1, s*each + i + 2, s*each + i + 3})
				box.putAll(nil)
			}
		})
	}
	next := make([]int, senders)
	var batch []int
	for got := 0; got < senders*each; {
		<-box.wake
		batch = box.take(batch)
		for _, m := range batch {
			if s := m / each; m%each != next[s] {
				t.Fatalf("sender %d: got message %d, want %d", s, m%each, next[s])
			}
			next[m/each]++
			got++
		}
	}
	all.Wait()
	if rest := box.take(batch); len(rest) != 0 {
		t.Errorf("%d messages too many", len(rest))
	}
}

// take clears the messages of the turn before, so that they keep nothing alive.
func TestMailboxForgets(t *testing.T) {
	box := newMailbox[*int]()
	box.put(new(int))
	first := box.take(nil)
	box.put(new(int))
	second := box.take(first)
	if first[:1][0] != nil || len(second) != 1 || second[0] == nil {
		t.Errorf("after the next take the first messages are %v, and it returned %v", first[:1], second)
	}
}

type alarm struct {
	timerSlot
	n int
}

// A timers heap does what a sorted list does.
func TestTimers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	start := time.Unix(1000, 0)
	var heap timers[*alarm]
	model := make(map[*alarm]time.Time)
	alarms := make([]*alarm, 50)
	for i := range alarms {
		alarms[i] = &alarm{n: i}
	}
	now := start
	earliest := func() (at time.Time, ok bool) {
		for _, x := range model {
			if !ok || x.Before(at) {
				at, ok = x, true
			}
		}
		return at, ok
	}
	for step := range 20000 {
		x := alarms[rng.IntN(len(alarms))]
		switch rng.IntN(6) {
		case 0:
			heap.remove(x)
			delete(model, x)
		case 1:
			heap.set(x, time.Time{})
			delete(model, x)
		case 2:
			now = now.Add(time.Duration(rng.IntN(20)) * time.Millisecond)
			for {
				want, any := earliest()
				got, ok := heap.due(now)
				if !ok {
					if any && !now.Before(want) {
						t.Fatalf("step %d: nothing is due, want one of %v ago", step, now.Sub(want))
					}
					break
				}
				if at, in := model[got]; !in || !at.Equal(want) || now.Before(at) {
					t.Fatalf("step %d: due was %d of %v, want the one of %v", step, got.n, at, want)
				}
				delete(model, got)
			}
		default:
			at := now.Add(time.Duration(rng.IntN(100)-10) * time.Millisecond)
			heap.set(x, at)
			model[x] = at
		}
		want, any := earliest()
		if at, ok := heap.next(); ok != any || ok && !at.Equal(want) {
			t.Fatalf("step %d: next is %v (%v), want %v (%v)", step, at, ok, want, any)
		}
		if len(heap.heap) != len(model) {
			t.Fatalf("step %d: %d items, want %d", step, len(heap.heap), len(model))
		}
		for i, x := range heap.heap {
			if x.pos != i+1 {
				t.Fatalf("step %d: item at %d has position %d", step, i, x.pos-1)
			}
		}
	}
}

// testPacket is a packet for a queue: flow says the bucket, n its place.
func testPacket(f uint16, n uint64, class scheduler.Class, ordered bool) packet {
	src := netip.AddrPortFrom(clientHost, f)
	pkt := tuntest.UDP4(src, netip.AddrPortFrom(serverHost, 9), binary.BigEndian.AppendUint64(nil, n))
	info, _ := flow.Parse(pkt, false)
	return packet{buf: append(make([]byte, tun.Headroom), pkt...), info: info, class: class, ordered: ordered}
}

// A queue never lets an ordered packet overtake one of its own flow, and lets interactive
// ones overtake others.
func TestQueueOrder(t *testing.T) {
	var s sender
	s.e = &engine{}
	ses := session("x")
	ses.tx.queue = s.newQueue(ses)
	now := time.Now()
	for n, p := range []struct {
		flow    uint16
		class   scheduler.Class
		ordered bool
	}{
		{1, scheduler.Bulk, true}, {1, scheduler.Interactive, true}, {1, scheduler.Interactive, false},
		{2, scheduler.Interactive, true}, {2, scheduler.Bulk, true},
	} {
		ses.tx.push(now, testPacket(p.flow, uint64(n), p.class, p.ordered))
	}
	var got []uint64
	ses.tx.queue.Begin(now)
	for {
		p, ok := ses.tx.queue.Head(now)
		if !ok {
			break
		}
		got = append(got, binary.BigEndian.Uint64(p.payload()[28:]))
		ses.tx.queue.Take()
	}
	if want := []uint64{2, 3, 0, 1, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func session(name string) *Session { return &Session{peer: name} }

func names(ss []*Session) (out []string) {
	for _, s := range ss {
		out = append(out, s.peer)
	}
	return out
}

func TestRoutes(t *testing.T) {
	host := netip.MustParseAddr
	prefix := func(ss ...string) (out []netip.Prefix) {
		for _, s := range ss {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	var r routes
	a, b, c := session("a"), session("b"), session("c")
	want := func(to string, want ...string) {
		t.Helper()
		if got := names(r.lookup(host(to), nil)); !slices.Equal(got, want) {
			t.Errorf("%s goes to %q, want %q", to, got, want)
		}
	}
	want("10.0.0.1")
	r.add(a, nil)
	want("10.0.0.1", "a") // the only session there is
	r.add(b, prefix("10.0.0.0/8", "fd00::/16"))
	want("10.0.0.1", "b")
	want("192.0.2.1") // could be for either
	r.add(c, prefix("10.1.0.0/16", "10.1.2.3/32", "fd00:1::/32"))
	want("10.0.0.1", "b")
	want("10.1.0.1", "c")
	want("10.1.2.3", "c")
	want("fd00::1", "b")
	want("fd00:1::1", "c")
	r.add(b, prefix("10.1.2.0/24"))
	want("10.1.2.4", "b")
	want("10.1.2.3", "c")
	r.learn(host("192.0.2.7"), b)
	want("192.0.2.7", "b")
	r.learn(host("192.0.2.7"), c) // has moved
	want("192.0.2.7", "c")
	r.rest(c) // its lines are down, but nobody else has its addresses
	want("10.1.2.3", "c")
	r.remove(c)
	want("10.1.2.3", "b")
	want("192.0.2.7")
	r.rest(a)
	want("192.0.2.7", "b") // the only one that works
	r.remove(b)
	want("10.0.0.1")
	if len(r.hosts) != 0 || r.prefixes.Len() != 0 || len(r.owned) != 0 || len(r.live) != 0 {
		t.Errorf("something is left: %+v", r)
	}
}

// Longest prefix match agrees with a naive search.
func TestRoutesModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	addr := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(rng.IntN(2)), byte(rng.IntN(4)), byte(rng.IntN(256))})
	}
	for range 50 {
		var r routes
		owner := make(map[netip.Prefix]*Session)
		for i := range 10 {
			s := session(fmt.Sprint(i))
			var ps []netip.Prefix
			for range rng.IntN(5) {
				p := netip.PrefixFrom(addr(), 8+rng.IntN(25)).Masked()
				ps = append(ps, p)
				owner[p] = s
			}
			r.add(s, ps)
		}
		for range 200 {
			to := addr()
			var best netip.Prefix
			for p := range owner {
				if p.Contains(to) && (!best.IsValid() || p.Bits() > best.Bits()) {
					best = p
				}
			}
			got := r.lookup(to, nil)
			if s := owner[best]; s == nil && len(got) != 0 || s != nil && (len(got) != 1 || got[0] != s) {
				t.Fatalf("%v goes to %q, want the owner of %v", to, names(got), best)
			}
		}
	}
}

// A prefix of two sessions goes back to the older when the newer has ended.
func TestRoutesSharedPrefix(t *testing.T) {
	var r routes
	a, b := session("a"), session("b")
	p := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	r.add(a, p)
	r.add(b, p)
	other := session("other")
	r.add(other, nil)
	to := netip.MustParseAddr("10.0.0.1")
	if got := names(r.lookup(to, nil)); !slices.Equal(got, []string{"b"}) {
		t.Errorf("goes to %q, want the newest owner", got)
	}
	r.remove(b)
	if got := names(r.lookup(to, nil)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("goes to %q, want the owner that is left", got)
	}
}

func TestOutbox(t *testing.T) {
	b := newBench(t, 1, 100, 1)
	s, p := &b.client.e.sender, b.paths[0]
	now := time.Now()
	for range 10 {
		s.control(now, p, &control{has: hasPing})
	}
	o := &p.tx.out
	if len(o.waiting()) != 10 {
		t.Fatalf("%d datagrams wait", len(o.waiting()))
	}
	slab := &o.slab[0]
	o.sent = 4
	if len(o.waiting()) != 6 {
		t.Errorf("%d datagrams wait after 4 of 10", len(o.waiting()))
	}
	if got := b.wires[0].len(); got != 0 {
		t.Errorf("%d datagrams were sent before flush", got)
	}
	s.flush(now)
	if o.slab != nil || len(o.waiting()) != 0 || !o.since.IsZero() {
		t.Errorf("after flush: %+v", o)
	}
	if got := b.wires[0].len(); got != 6 {
		t.Errorf("%d datagrams were sent, want 6", got)
	}
	s.control(now, p, &control{has: hasPing})
	if &o.slab[0] != slab {
		t.Error("the slab was not used again")
	}
	s.emptyOutbox(p)
	s.emptyOutbox(p)
	if n := len(s.slabs.free); n != 1 {
		t.Errorf("%d slabs are free, want one", n)
	}
}

func TestPool(t *testing.T) {
	p := pool{size: 100}
	a := p.get()
	if len(a) != 100 {
		t.Fatalf("%d bytes", len(a))
	}
	p.put(a[:7])
	if b := p.get(); len(b) != 100 || &b[0] != &a[0] {
		t.Error("the buffer did not come back whole")
	}
	p.put(a[50:]) // begins elsewhere: too small to be used again
	if len(p.free) != 0 {
		t.Error("the pool took part of a buffer")
	}
}

func TestInitLog(t *testing.T) {
	var l initLog
	hash := func(i int) (h initHash) {
		binary.BigEndian.PutUint32(h[:], uint32(i))
		return h
	}
	const n = 3*initLogSize + 17
	for i := range n {
		l.add(hash(i), &initRecord{copies: i})
		if len(l.records) > initLogSize || len(l.order) > initLogSize {
			t.Fatalf("%d records, %d in order", len(l.records), len(l.order))
		}
	}
	for i := range n {
		r := l.records[hash(i)]
		if known := i >= n-initLogSize; known != (r != nil) || known && r.copies != i {
			t.Fatalf("record %d of %d: %+v", i, n, r)
		}
	}
}

// Delays are right, up to a constant, over any number of wraps of the 16-bit clocks and
// whatever the offset and the drift between these.
func TestDelayClock(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 20 {
		var c delayClock
		offset := rng.Int64N(1 << 40)
		drift := (rng.Float64() - 0.5) / 1000 // 500 ppm
		var first time.Duration
		links := []time.Duration{time.Duration(rng.IntN(1500)) * time.Millisecond, 0}
		for i := range 20_000 {
			now := int64(i) * 97 // in units of 100 µs: about 10 ms each, 200 s in all
			k := rng.IntN(2)
			sent := now - int64(links[k]/stampUnit)
			sender := sent + offset + int64(float64(sent)*drift)
			got := c.delay(uint16(now), uint16(sender))
			want := time.Duration(now-sender) * stampUnit
			if i == 0 {
				first = got - want
			}
			if got-want != first {
				t.Fatalf("packet %d: delay %v, want %v", i, got-first, want)
			}
		}
	}
}

// What a sealer writes, an opener reads: every message, alone and together.
func TestCodec(t *testing.T) {
	csec, ssec := exchangeSecrets(t, crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey())
	seal, err := csec.Sealer(crypto.ChaCha20Poly1305, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	open, err := ssec.Opener(crypto.ChaCha20Poly1305, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, o := &ml1Sealer{index: 77, seal: seal}, &ml1Opener{opener: open}
	var in inbound
	var old []byte
	for set := controlSet(0); set < 16; set++ {
		c := control{
			has:     set,
			ping:    wire.Ping{Echo: uint64(set) << 56},
			pong:    wire.Pong{Echo: 2, Received: 3, Highest: 4},
			info:    wire.PathInfo{Tier: 1, Weight: 1 << 40, Name: "a path of a length that is the longest"[:32]},
			closing: wire.Close{Reason: wire.ReasonShutdown, RetryMillis: 5},
		}
		d, err := s.sealControl([]byte("before"), &c)
		if err != nil {
			t.Fatal(err)
		}
		d, ok := bytes.CutPrefix(d, []byte("before"))
		if !ok || len(d) > maxControl || binary.BigEndian.Uint32(d) != 77 || binary.BigEndian.Uint32(d[4:]) != uint32(set) {
			t.Fatalf("datagram %x", d)
		}
		if old == nil {
			old = slices.Clone(d)
		}
		if err := o.open(d, &in); err != nil {
			t.Fatal(err)
		}
		want := control{has: set}
		got := in.control
		if set&hasPing != 0 {
			want.ping = c.ping
		} else {
			got.ping = wire.Ping{}
		}
		if set&hasPong != 0 {
			want.pong = c.pong
		} else {
			got.pong = wire.Pong{}
		}
		if set&hasInfo != 0 {
			want.info = c.info
		} else {
			got.info = wire.PathInfo{}
		}
		if set&hasClose != 0 {
			want.closing = c.closing
		} else {
			got.closing = wire.Close{}
		}
		got.rekey, got.challenge, got.response = wire.Rekey{}, wire.Proof{}, wire.Proof{}
		if set&hasHold != 0 {
			want.hold = c.hold
		} else {
			got.hold = wire.Hold{}
		}
		if set&hasFeedback != 0 && !bytes.Equal(got.feedback, c.feedback) {
			t.Errorf("feedback %x, want %x", got.feedback, c.feedback)
		}
		got.feedback = nil
		if !reflect.DeepEqual(got, want) || len(in.packets) != 0 || !in.newest {
			t.Errorf("set %b: got %+v, want %+v", set, in, want)
		}
	}
	if err := o.open(old, &in); err != crypto.ErrReplay {
		t.Errorf("a replay: %v", err)
	}
	for _, size := range []int{0, 1, 20, 1400} {
		payload := bytes.Repeat([]byte{byte(size)}, size)
		d := wire.Data{Flags: wire.FlagOrdered.WithECN(3), Stamp: wire.MaxStamp, Order: 65535, Time: 999}
		out, err := s.sealData(nil, d, append(make([]byte, tun.Headroom), payload...), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(out) != size+Overhead {
			t.Errorf("a packet of %d bytes makes a datagram of %d", size, len(out))
		}
		if err := o.open(out, &in); err != nil {
			t.Fatal(err)
		}
		if len(in.packets) != 1 || in.has != 0 {
			t.Fatalf("%+v", in)
		}
		p := in.packets[0]
		if p.start != tun.Headroom || !bytes.Equal(out[p.start:p.end], payload) {
			t.Errorf("the packet lies at %d:%d and is %x", p.start, p.end, out[p.start:p.end])
		}
		p.Payload = nil
		if p.Flags != d.Flags || p.Stamp != d.Stamp || p.Order != d.Order || p.Time != d.Time {
			t.Errorf("got %+v, want %+v", p.Data, d)
		}
	}
	if n, highest := o.received(); n != 20 || highest != 19 {
		t.Errorf("%d received, highest %d", n, highest)
	}
}

// Of datagrams that arrive out of order only those that are the newest say so.
func TestNewest(t *testing.T) {
	csec, ssec := exchangeSecrets(t, crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey())
	seal, _ := csec.Sealer(crypto.ChaCha20Poly1305, 0, 0)
	open, _ := ssec.Opener(crypto.ChaCha20Poly1305, 0, 0)
	s, o := &ml1Sealer{index: 1, seal: seal}, &ml1Opener{opener: open}
	var ds [][]byte
	for range 6 {
		d, err := s.sealControl(nil, &control{})
		if err != nil {
			t.Fatal(err)
		}
		ds = append(ds, d)
	}
	var in inbound
	for _, x := range []struct {
		n      int
		newest bool
	}{{1, true}, {0, false}, {4, true}, {3, false}, {2, false}, {5, true}} {
		if err := o.open(ds[x.n], &in); err != nil || in.newest != x.newest {
			t.Errorf("datagram %d: newest %v, %v", x.n, in.newest, err)
		}
	}
}

func TestProbes(t *testing.T) {
	var p probes
	at := time.Unix(1000, 0)
	for i := range uint64(40) {
		p.add(i, i+1, at.Add(time.Duration(i)))
	}
	for i := range uint64(40) {
		got, ok := p.answered(i)
		if known := i >= 40-uint64(len(p.sent)); ok != known || ok && (got.number != i+1 || !got.at.Equal(at.Add(time.Duration(i)))) {
			t.Errorf("probe %d: %v %v", i, got, ok)
		}
		if _, again := p.answered(i); again {
			t.Errorf("probe %d was answered twice", i)
		}
	}
	if _, ok := (&probes{}).answered(0); ok {
		t.Error("a probe was answered that was never sent")
	}
}

// A path is poor above a tolerance and good again well below it only.
func TestJudge(t *testing.T) {
	start := time.Unix(1000, 0)
	p := &pathState{epoch: &epoch{}}
	p.tx.cfg.LatencyTolerance = 100 * time.Millisecond
	var s sender
	now := start
	// settle brings the smoothed round trip close to rtt.
	settle := func(rtt time.Duration) {
		for range 60 {
			now = now.Add(100 * time.Millisecond)
			p.tx.rtt.Update(now, rtt)
		}
		s.judge(p)
	}
	for i, x := range []struct {
		rtt  time.Duration
		poor bool
	}{
		{20 * time.Millisecond, false},
		{95 * time.Millisecond, false}, // below
		{110 * time.Millisecond, true},
		{95 * time.Millisecond, true}, // below, but not well
		{80 * time.Millisecond, true},
		{70 * time.Millisecond, false}, // below three quarters
		{95 * time.Millisecond, false},
		{110 * time.Millisecond, true},
	} {
		settle(x.rtt)
		if p.tx.standing.poor != x.poor {
			t.Errorf("step %d, round trip %v: poor is %v", i, p.tx.rtt.Smoothed(), p.tx.standing.poor)
		}
	}
	if p.tx.standing.why == "" {
		t.Error("no reason")
	}

	p = &pathState{epoch: &epoch{}}
	p.tx.cfg.LossTolerance = 0.10
	highest, received := uint32(0), uint32(0)
	lose := func(share float64, want bool) {
		t.Helper()
		for range 200 {
			now = now.Add(100 * time.Millisecond)
			highest += 100
			received += 100 - uint32(100*share)
			p.tx.loss.Update(now, highest, received)
			s.judge(p)
		}
		if p.tx.standing.poor != want {
			t.Errorf("loss %.3f: poor is %v", p.tx.loss.Ratio(), p.tx.standing.poor)
		}
	}
	lose(0, false)
	lose(0.09, false)
	lose(0.15, true)
	lose(0.09, true)
	lose(0.05, false)
	lose(0.09, false)
}

func TestMasked(t *testing.T) {
	got := masked([]netip.Prefix{
		netip.MustParsePrefix("10.1.2.3/8"), netip.MustParsePrefix("10.0.0.0/8"), {}, netip.MustParsePrefix("fd00::1/64"),
	})
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/64")}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if masked(nil) != nil {
		t.Error("masked(nil) is not nil")
	}
}

func TestPasswordIdentity(t *testing.T) {
	p := func(ss ...string) wire.Params {
		out := wire.Params{Client: 7}
		for _, s := range ss {
			out.Prefixes = append(out.Prefixes, netip.MustParsePrefix(s))
		}
		return out
	}
	ab, ba, a, none := p("10.0.0.1/32", "10.0.0.2/32"), p("10.0.0.2/32", "10.0.0.1/32"), p("10.0.0.1/32"), p()
	other := p()
	other.Client = 8
	if passwordIdentity(&ab) != passwordIdentity(&ba) {
		t.Error("the order of prefixes makes another client")
	}
	ids := []string{passwordIdentity(&ab), passwordIdentity(&a), passwordIdentity(&none), passwordIdentity(&other)}
	slices.SortFunc(ids, cmp.Compare)
	if len(slices.Compact(ids)) != 4 {
		t.Errorf("identities %q, want four", ids)
	}
}

func TestAllocateIndices(t *testing.T) {
	client, err := NewClient(ClientConfig{Config: Config{Device: tuntest.New(tuntest.Config{}), Key: crypto.GeneratePrivateKey()}, Server: crypto.GeneratePrivateKey().Public()})
	if err != nil {
		t.Fatal(err)
	}
	s := &client.e.sender
	seen := make(map[uint32]bool)
	var all []uint32
	for range 100 {
		all = append(all, s.allocate(64)...)
	}
	for _, index := range all {
		if index == 0 || seen[index] {
			t.Fatalf("index %d was given twice", index)
		}
		seen[index] = true
	}
	s.release(all)
	if len(s.indices) != 0 {
		t.Errorf("%d indices are still taken", len(s.indices))
	}
}

// Only maxHosts inner addresses are remembered of a session; the packets of the rest
// pass all the same. A host that moves is remembered where it is.
func TestHostsAreBounded(t *testing.T) {
	b := newBench(t, 1, 100, 1)
	r := &b.server.e.receiver
	x, y := session("x"), session("y")
	from := func(s *Session, i int) {
		t.Helper()
		info := flow.Info{Version: 4, Src: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}
		if !r.admit(&pathState{epoch: &epoch{session: s}}, &info, true, 60) {
			t.Fatalf("packet %d was refused", i)
		}
	}
	for i := range 10 * maxHosts {
		from(x, i)
	}
	if x.rx.hosts != maxHosts || len(r.hosts) != maxHosts || len(r.tell) != maxHosts {
		t.Errorf("%d hosts, %d in all, %d reported", x.rx.hosts, len(r.hosts), len(r.tell))
	}
	from(y, 3)
	from(y, 4)
	from(x, 3)
	if x.rx.hosts != maxHosts-1 || y.rx.hosts != 1 || len(r.hosts) != maxHosts {
		t.Errorf("after moves %d and %d hosts, %d in all", x.rx.hosts, y.rx.hosts, len(r.hosts))
	}
	r.forget(x)
	if len(r.hosts) != 1 {
		t.Errorf("%d hosts are left of one", len(r.hosts))
	}
	r.forget(y)
	if len(r.hosts) != 0 {
		t.Errorf("%d hosts are left of none", len(r.hosts))
	}
}

func TestNames(t *testing.T) {
	for _, x := range []struct {
		got  fmt.Stringer
		want string
	}{
		{SessionUp, "session up"}, {SessionDown, "session down"}, {LinkUp, "link up"}, {LinkDown, "link down"},
		{LinkDegraded, "link degraded"}, {EventKind(99), "invalid"},
		{LinkProbing, "probing"}, {LinkIsUp, "up"}, {LinkIsDegraded, "degraded"}, {LinkIsDown, "down"}, {LinkState(99), "invalid"},
	} {
		if x.got.String() != x.want {
			t.Errorf("got %q, want %q", x.got, x.want)
		}
	}
	for r, want := range map[wire.Reason]string{
		wire.ReasonShutdown: "shutting down", wire.ReasonReplaced: "newer session", wire.ReasonRefused: "not let this end in",
		wire.ReasonProtocol: "protocol error", wire.ReasonUnspecified: "closed the session", 99: "closed the session",
	} {
		if got := closeReason(wire.Close{Reason: r}); !bytes.Contains([]byte(got), []byte(want)) {
			t.Errorf("reason %d: %q, want %q", r, got, want)
		}
	}
	err := error(&LinkError{Link: "dsl", Op: "send", Err: link.ErrFull})
	if err.Error() != "link dsl: send: "+link.ErrFull.Error() {
		t.Error(err)
	}
	if path.Up.String() == "" {
		t.Error("path states have no names")
	}
}

// TestFlowHashFollowsTheEpoch wants packets that wait while an epoch replaces another to
// be put into the buckets of the new one.
func TestFlowHashFollowsTheEpoch(t *testing.T) {
	pkt := udp(true, 1, 1, 500)
	p := packet{buf: append(make([]byte, tun.Headroom), pkt...)}
	flowClassifier{}.classify(&p, func(*packet) {})
	for _, seed := range []uint64{0, 1, 1, 2, 0} {
		if got, want := p.flowHash(seed), p.info.Hash(seed); got != want {
			t.Errorf("seed %d: hash %#x, want %#x", seed, got, want)
		}
	}
}
