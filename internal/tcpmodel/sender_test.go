package tcpmodel

import (
	"math/rand/v2"
	"testing"
	"time"
)

const segment = defaultMSS

// TestSlowStart counts what is sent in each round trip: 10, 20, and 40 less those of which
// the acknowledgement is delayed.
func TestSlowStart(t *testing.T) {
	p := newPipe(t, Config{Bytes: 70 * segment}, 50*ms)
	sentAt := make(map[time.Duration]int)
	p.fate = func(int, uint64) time.Duration {
		sentAt[p.now]++
		return 0
	}
	p.until(10 * time.Second)
	for at, want := range map[time.Duration]int{100 * ms: 10, 200 * ms: 20, 300 * ms: 40} {
		if n := sentAt[at]; n > want || n < want-2 {
			t.Errorf("%d segments sent at %v, want %d", n, at, want)
		}
	}
	p.wantBytes(70 * segment)
}

// TestFastRetransmit loses one segment of a long transfer.
func TestFastRetransmit(t *testing.T) {
	p := newPipe(t, Config{Bytes: 400 * segment}, 20*ms)
	p.perSeg = 200 * time.Microsecond
	p.fate = func(n int, _ uint64) time.Duration {
		if n == 100 {
			return -1
		}
		return 0
	}
	p.until(10 * time.Second)
	st := p.sender.Stats()
	if st.Retransmissions != 1 || st.Timeouts != 0 || st.Recoveries != 1 || st.Undone != 0 {
		t.Errorf("%+v, want one recovery with one retransmission", st)
	}
	p.wantBytes(400 * segment)
}

// TestTailLoss loses the last segments: a probe finds that out before a timeout does.
func TestTailLoss(t *testing.T) {
	p := newPipe(t, Config{Bytes: 10 * segment}, 20*ms)
	p.fate = func(n int, _ uint64) time.Duration {
		if n == 8 || n == 9 {
			return -1
		}
		return 0
	}
	p.until(10 * time.Second)
	st := p.sender.Stats()
	if st.Probes != 1 || st.Timeouts != 0 || st.Retransmissions != 2 {
		t.Errorf("%+v, want one probe, two retransmissions and no timeout", st)
	}
	// The probe goes after two round trips and a little, the other segment after it.
	if at, _ := p.sender.Finished(); at > 270*ms {
		t.Errorf("finished at %v", at)
	}
	p.wantBytes(10 * segment)
}

// TestTimeout swallows everything for a while: timeouts with exponential backoff.
func TestTimeout(t *testing.T) {
	p := newPipe(t, Config{Bytes: 50 * segment}, 20*ms)
	var sent []time.Duration
	p.fate = func(int, uint64) time.Duration {
		if p.now >= 60*ms && p.now < 2*time.Second {
			if p.now > 100*ms {
				sent = append(sent, p.now)
			}
			return -1
		}
		return 0
	}
	p.until(20 * time.Second)
	st := p.sender.Stats()
	if st.Timeouts < 3 || st.Timeouts > 4 {
		t.Errorf("%d timeouts in two seconds, want 3 or 4", st.Timeouts)
	}
	for i := 3; i < len(sent); i++ {
		if a, b := sent[i-1]-sent[i-2], sent[i]-sent[i-1]; b < 2*a-ms || b > 2*a+ms {
			t.Errorf("timeouts at %v: the wait does not double", sent)
		}
	}
	p.wantBytes(50 * segment)
}

// TestReorderingUndone delays a segment once by more than the duplicate threshold
// tolerates: the reduction must be taken back.
func TestReorderingUndone(t *testing.T) {
	p := newPipe(t, Config{Bytes: 600 * segment}, 20*ms)
	p.perSeg = 200 * time.Microsecond
	p.fate = func(n int, _ uint64) time.Duration {
		if n == 100 {
			return 10 * ms
		}
		return 0
	}
	worst := infinite
	p.check = func() {
		if p.now > 200*ms {
			worst = min(worst, p.sender.cwnd)
		}
	}
	p.until(10 * time.Second)
	st := p.sender.Stats()
	if st.Recoveries != 1 || st.Undone != 1 || st.Timeouts != 0 {
		t.Errorf("%+v, want one recovery that is undone", st)
	}
	if !p.sender.rack.seen || p.sender.rack.reordering <= dupThreshold {
		t.Error("the reordering was not remembered")
	}
	p.wantBytes(600 * segment)
}

// TestReorderingWindow delays every fiftieth segment. Up to a quarter of the round trip
// is tolerated once reordering was seen; more is learned by DSACKs.
func TestReorderingWindow(t *testing.T) {
	run := func(late time.Duration) SenderStats {
		p := newPipe(t, Config{Bytes: 5000 * segment}, 20*ms)
		p.perSeg = 200 * time.Microsecond
		p.fate = func(n int, _ uint64) time.Duration {
			if n%50 == 49 {
				return late
			}
			return 0
		}
		p.until(30 * time.Second)
		p.wantBytes(5000 * segment)
		return p.sender.Stats()
	}
	if st := run(8 * ms); st.Retransmissions > 3 {
		t.Errorf("8 ms: %+v, want hardly a retransmission", st)
	}
	st := run(18 * ms)
	if st.Retransmissions == 0 || st.Retransmissions > 60 || st.Timeouts > 0 {
		t.Errorf("18 ms: %+v, want some retransmissions until the window has grown", st)
	}
}

// TestAnyNetwork makes transfers over networks that lose, delay, duplicate and reorder
// at random. All must complete, and the books must balance after every event.
func TestAnyNetwork(t *testing.T) {
	for seed := range uint64(120) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		c := Config{Control: Algorithm(seed % 3), Bytes: 300 * segment, Seed: seed}
		p := newPipe(t, c, time.Duration(1+rnd.IntN(60))*ms)
		p.perSeg = time.Duration(rnd.IntN(1000)) * time.Microsecond
		if rnd.IntN(2) == 0 {
			p.queue = time.Duration(1+rnd.IntN(100)) * ms
		}
		loss, spread := rnd.Float64()*0.25, 1+rnd.IntN(100)
		fate := func() time.Duration {
			if rnd.Float64() < loss {
				return -1
			}
			return time.Duration(rnd.IntN(spread)) * ms * time.Duration(rnd.IntN(2))
		}
		p.fate = func(int, uint64) time.Duration { return fate() }
		p.ackFate = func(int) time.Duration { return fate() }
		p.check = func() {
			if err := audit(p.sender); err != "" {
				t.Fatalf("seed %d at %v: %s", seed, p.now, err)
			}
		}
		p.until(100 * time.Hour)
		p.wantBytes(300 * segment)
	}
}

// audit counts the scoreboard anew and returns what does not agree.
func audit(s *Sender) string {
	b := &s.board
	var sackedOut, lostOut, retransOut, listed int
	for n := b.una; n < b.nxt; n++ {
		seg := b.at(n)
		if seg.flags&sacked != 0 {
			sackedOut++
		}
		if seg.flags&lost != 0 {
			lostOut++
		}
		if seg.flags&retrans != 0 {
			retransOut++
		}
		if seg.listed {
			listed++
		}
		switch {
		case seg.flags&sacked != 0 && (seg.flags&(lost|retrans) != 0 || seg.listed):
			return "a segment is selectively acknowledged, and something else"
		case (seg.flags&sacked != 0) != b.sackedSpans.contains(n, n+1):
			return "the spans and the marks of selective acknowledgement differ"
		}
	}
	switch {
	case sackedOut != b.sackedOut || lostOut != b.lostOut || retransOut != b.retransOut:
		return "the counts are wrong"
	case b.inFlight() < 0:
		return "less than nothing is in flight"
	case s.cwnd < 1:
		return "the window is closed"
	}
	last := time.Duration(-1)
	for n := b.head; n != none; n = b.at(n).next {
		if seg := b.at(n); seg.sentAt < last {
			return "the list is not in order of sending"
		} else {
			last = seg.sentAt
		}
		listed--
	}
	if listed != 0 {
		return "the list and the marks of it differ"
	}
	return ""
}

// TestNoAllocation sends at a steady rate.
func TestNoAllocation(t *testing.T) {
	for _, a := range []Algorithm{Cubic, BBR} {
		p := newPipe(t, Config{Control: a}, 10*ms)
		p.perSeg = 500 * time.Microsecond
		p.queue = 20 * ms
		p.until(2 * time.Second) // the ring and the pipe's own list have grown
		var ack Segment
		emit := func(*Segment) {}
		got := testing.AllocsPerRun(100, func() {
			p.now += ms
			b := &p.sender.board
			ack = Segment{Flags: FlagACK, Ack: uint32(1 + (b.una+1)*segment), Window: 1 << 24, TSVal: stamp(p.now), TSEcr: stamp(p.now - 20*ms)}
			p.sender.Input(p.now, &ack)
			p.sender.Poll(p.now, emit)
		})
		if got != 0 {
			t.Errorf("%v: %v allocations per acknowledgement, want none", a, got)
		}
	}
}
