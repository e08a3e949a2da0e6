package tcpmodel

import (
	"testing"
	"time"
)

// A receiverTest feeds a receiver by hand. Segment i begins at byte 1 + i*segment.
type receiverTest struct {
	t    *testing.T
	r    *Receiver
	now  time.Duration
	acks []Segment
}

func newReceiverTest(t *testing.T) *receiverTest {
	rt := &receiverTest{t: t, r: NewReceiver(ReceiverConfig{})}
	rt.r.Input(0, &Segment{Flags: FlagSYN, MSS: 1460, TSVal: 1})
	rt.poll()
	rt.r.quick = 0
	rt.acks = nil
	return rt
}

func (rt *receiverTest) poll() {
	rt.r.Poll(rt.now, func(s *Segment) { rt.acks = append(rt.acks, *s) })
}

// take feeds segment i, sent at a time.
func (rt *receiverTest) take(i uint32, sent time.Duration) {
	rt.r.Input(rt.now, &Segment{Flags: FlagACK, Seq: 1 + i*segment, Len: segment, TSVal: stamp(sent), TSEcr: 1})
	rt.poll()
}

// wantAcks compares the acknowledgements since the last call, in segments.
func (rt *receiverTest) wantAcks(why string, want ...uint32) {
	rt.t.Helper()
	var got []uint32
	for _, a := range rt.acks {
		got = append(got, (a.Ack-1)/segment)
	}
	rt.acks = nil
	if len(got) != len(want) {
		rt.t.Fatalf("%s: acknowledgements of %v, want %v", why, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			rt.t.Fatalf("%s: acknowledgements of %v, want %v", why, got, want)
		}
	}
}

func TestDelayedAck(t *testing.T) {
	rt := newReceiverTest(t)
	rt.take(0, 0)
	rt.wantAcks("the first of two waits")
	rt.take(1, 0)
	rt.wantAcks("the second does not", 2)
	rt.take(2, 0)
	if next := rt.r.Next(); next != rt.now+delayedAck {
		t.Errorf("next is %v, want the delay of an acknowledgement", next)
	}
	rt.now += delayedAck
	rt.poll()
	rt.wantAcks("an odd one waits no longer", 3)
}

func TestSelectiveAck(t *testing.T) {
	rt := newReceiverTest(t)
	rt.take(2, 0)
	rt.take(4, 0)
	rt.take(6, 0)
	last := rt.acks[2]
	rt.wantAcks("each says what is missing", 0, 0, 0)
	block := func(l, r uint32) Block { return Block{1 + l*segment, 1 + r*segment} }
	if want := [3]Block{block(6, 7), block(4, 5), block(2, 3)}; last.Blocks != want || last.NumBlocks != 3 {
		t.Errorf("blocks %v, want the most recent first: %v", last.Blocks, want)
	}
	rt.take(8, 0)
	if rt.wantAcks("the fourth is compressed"); rt.r.compress == never {
		t.Error("it is due at no time")
	}
	rt.now += ms
	rt.poll()
	rt.acks = nil
	rt.take(0, 0)
	rt.take(0, 0)
	if a := rt.acks[len(rt.acks)-1]; a.Blocks[0] != block(0, 1) {
		t.Errorf("blocks %v, want the duplicate first", a.Blocks)
	}
}

// TestOldTimestamp lets a retransmission fill a hole before an original of another hole
// arrives: Linux drops that.
func TestOldTimestamp(t *testing.T) {
	rt := newReceiverTest(t)
	rt.now = 100 * ms
	rt.take(1, 50*ms)
	rt.take(3, 50*ms)
	rt.take(0, 90*ms) // again
	rt.acks = nil
	rt.take(2, 50*ms)
	rt.wantAcks("still missing", 2)
	if st := rt.r.Stats(); st.Old != 1 {
		t.Errorf("%+v, want one segment dropped for its age", st)
	}
	rt.take(2, 95*ms)
	rt.wantAcks("now it is not", 4)
}

func TestWindowGrows(t *testing.T) {
	p := newPipe(t, Config{}, 50*ms)
	p.perSeg = 100 * time.Microsecond // 1000 segments in a round trip
	p.until(3 * time.Second)
	if w := p.receiver.window.size; w < 2*1000*segment {
		t.Errorf("window of %d bytes, want room for two round trips", w)
	}
}

// TestCoalesce gathers segments as receive offload does.
func TestCoalesce(t *testing.T) {
	rt := newReceiverTest(t)
	rt.r.coalesce = 8
	for i := range uint32(8) {
		rt.take(i, 0)
	}
	rt.wantAcks("one for eight", 8)
	rt.take(8, 0)
	rt.wantAcks("no more yet")
	rt.now = rt.r.Next()
	rt.poll()
	rt.wantAcks("one when the line is quiet", 9)
	if rt.now > ms {
		t.Errorf("it waited %v", rt.now)
	}
}
