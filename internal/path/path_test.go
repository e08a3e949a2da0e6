package path

import (
	"testing"
	"time"
)

const rto = 100 * time.Millisecond

// monitorTest drives a Monitor through virtual time; answer says whether a probe
// sent at t comes back (after 20 ms).
type monitorTest struct {
	t   *testing.T
	m   *Monitor
	now time.Time
}

func newMonitorTest(t *testing.T, timeout time.Duration) *monitorTest {
	now := time.Unix(1000, 0)
	return &monitorTest{t: t, m: New(now, Config{Timeout: timeout}), now: now}
}

// run lets d pass. Every probe is answered at once if answer is set.
func (mt *monitorTest) run(d time.Duration, answer bool) (probes int) {
	mt.t.Helper()
	end := mt.now.Add(d)
	for next := mt.m.Next(rto); !next.After(end); next = mt.m.Next(rto) {
		if next.Before(mt.now) {
			next = mt.now
		}
		mt.now = next
		if mt.m.Advance(mt.now, rto) {
			mt.m.Probed(mt.now)
			probes++
			if probes > 100000 {
				mt.t.Fatal("the monitor asks for probes without end")
			}
			if answer {
				mt.m.Answered(mt.now)
			}
		}
	}
	mt.now = end
	return probes
}

func (mt *monitorTest) want(s State) {
	mt.t.Helper()
	if got := mt.m.State(); got != s {
		mt.t.Fatalf("at %v: state %v, want %v", mt.now.Sub(time.Unix(1000, 0)), got, s)
	}
}

func TestLifecycle(t *testing.T) {
	mt := newMonitorTest(t, 2*time.Second)
	t.Log("# nothing answers: the path is never up, and never down either")
	mt.run(5*time.Second, false)
	mt.want(Probing)
	t.Log("# the first answer brings it up")
	mt.run(250*time.Millisecond, true)
	mt.want(Up)
	t.Log("# silence: suspect after three probes, down after the timeout")
	mt.run(700*time.Millisecond, false)
	mt.want(Up)
	mt.run(400*time.Millisecond, false)
	mt.want(Suspect)
	mt.run(1200*time.Millisecond, false)
	mt.want(Down)
	t.Log("# it is found again within the probing interval")
	mt.run(500*time.Millisecond, true)
	mt.want(Up)
}

func TestProbesPerSecond(t *testing.T) {
	for _, tc := range []struct{ timeout, interval time.Duration }{
		{0, 375 * time.Millisecond},
		{time.Millisecond, 100 * time.Millisecond},
		{2 * time.Second, 250 * time.Millisecond},
		{30 * time.Second, time.Second},
	} {
		if got := (Config{Timeout: tc.timeout}).Interval(); got != tc.interval {
			t.Errorf("timeout %v: interval %v, want %v", tc.timeout, got, tc.interval)
		}
		mt := newMonitorTest(t, tc.timeout)
		probes := mt.run(time.Minute, true)
		if want := int(time.Minute/tc.interval) + 1; probes != want {
			t.Errorf("timeout %v: %d probes in a minute, want %d", tc.timeout, probes, want)
		}
	}
}

func TestLostProbesMeanNothing(t *testing.T) {
	mt := newMonitorTest(t, 2*time.Second)
	mt.run(time.Second, true)
	for range 100 {
		mt.run(500*time.Millisecond, false) // two probes lost
		mt.want(Up)
		mt.run(250*time.Millisecond, true)
	}
}

func TestLongRoundTripIsNotSilence(t *testing.T) {
	now := time.Unix(1000, 0)
	m := New(now, Config{Timeout: 10 * time.Second})
	const rtt, rto = 2500 * time.Millisecond, 4 * time.Second
	type answer struct{ sent, at time.Time }
	var flying []answer
	for end := now.Add(time.Minute); now.Before(end); now = now.Add(10 * time.Millisecond) {
		for len(flying) > 0 && !now.Before(flying[0].at) {
			m.Answered(flying[0].sent)
			flying = flying[1:]
		}
		if m.Advance(now, rto) {
			m.Probed(now)
			flying = append(flying, answer{now, now.Add(rtt)})
		}
		if s := m.State(); s == Suspect || s == Down {
			t.Fatalf("a path of %v round trip became %v", rtt, s)
		}
	}
	if m.State() != Up {
		t.Fatalf("state %v, want up", m.State())
	}
}

func TestFailAndStaleAnswer(t *testing.T) {
	mt := newMonitorTest(t, 2*time.Second)
	mt.run(time.Second, true)
	old := mt.now
	mt.now = mt.now.Add(10 * time.Millisecond)
	mt.m.Fail(mt.now)
	mt.want(Down)
	t.Log("# an answer to a probe sent before the failure does not revive it")
	mt.m.Answered(old)
	mt.want(Down)
	if !mt.m.Advance(mt.now, rto) {
		t.Fatal("no probe due right after the failure")
	}
	mt.m.Probed(mt.now)
	mt.m.Answered(mt.now)
	mt.want(Up)
}

func TestRest(t *testing.T) {
	mt := newMonitorTest(t, 2*time.Second)
	mt.run(time.Second, true)
	mt.m.Rest(mt.now, 4)
	mt.m.Rest(mt.now, 4)
	if n := mt.run(time.Minute, true); n < 59 || n > 61 {
		t.Errorf("%d probes in a minute, want one each second", n)
	}
	mt.want(Up)
	t.Log("# it ends: a probe is due, and the path does not suffer for those not sent")
	mt.run(900*time.Millisecond, false)
	mt.m.Rest(mt.now, 1)
	if mt.m.Advance(mt.now, rto) == false {
		t.Error("no probe is due when the rest ends")
	}
	mt.want(Up)
	if n := mt.run(10*time.Second, true); n < 40 || n > 42 {
		t.Errorf("%d probes in ten seconds, want four each second", n)
	}
	t.Log("# silence while it rests is noticed after three of the longer intervals")
	mt.m.Rest(mt.now, 4)
	mt.run(2500*time.Millisecond, false)
	mt.want(Up)
	mt.run(2*time.Second, false)
	mt.want(Down)
}

func TestProbeNow(t *testing.T) {
	mt := newMonitorTest(t, 30*time.Second)
	mt.run(1500*time.Millisecond, true)
	if mt.m.Advance(mt.now, rto) {
		t.Fatal("probe due early")
	}
	mt.m.ProbeNow(mt.now)
	if !mt.m.Advance(mt.now, rto) {
		t.Fatal("no probe due after ProbeNow")
	}
}
