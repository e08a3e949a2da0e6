package metric

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Unix(1000, 0)

const ms = time.Millisecond

// TestRTTFormulas follows RFC 6298, section 2.2 and 2.3, by hand.
func TestRTTFormulas(t *testing.T) {
	var r RTT
	if r.Known() || r.Smoothed() != 0 || r.Var() != 0 || r.Min() != 0 || r.Latest() != 0 {
		t.Fatalf("zero value knows something: %+v", r)
	}
	if got := r.RTO(200*ms, time.Minute); got != time.Second {
		t.Fatalf("RTO before the first sample is %v", got)
	}
	for i, tt := range []struct{ sample, srtt, rttvar time.Duration }{
		{80 * ms, 80 * ms, 40 * ms},                    // SRTT = R, RTTVAR = R/2
		{160 * ms, 90 * ms, 50 * ms},                   // 7/8*80+20; 3/4*40+1/4*80
		{10 * ms, 80 * ms, 57500 * time.Microsecond},   // 7/8*90+1.25; 3/4*50+1/4*80
		{-1, 80 * ms, 57500 * time.Microsecond},        // ignored
		{80 * ms, 80 * ms, 43125 * time.Microsecond},   // 3/4*57.5
		{0, 70 * ms, 52343750 * time.Nanosecond},       // 7/8*80; 3/4*43.125+1/4*80
		{70 * ms, 70 * ms, 39257812 * time.Nanosecond}, // 3/4*52.34375
	} {
		r.Update(epoch, tt.sample)
		if d := (r.Smoothed() - tt.srtt).Abs() + (r.Var() - tt.rttvar).Abs(); d > 10 {
			t.Fatalf("sample %d: SRTT %v, RTTVAR %v, want %v, %v", i, r.Smoothed(), r.Var(), tt.srtt, tt.rttvar)
		}
	}
	if got, want := r.RTO(0, time.Minute), r.Smoothed()+4*r.Var(); got != want {
		t.Fatalf("RTO is %v, want %v", got, want)
	}
	if r.RTO(time.Second, time.Minute) != time.Second || r.RTO(0, 100*ms) != 100*ms {
		t.Fatal("RTO not within its bounds")
	}
	if r.Latest() != 70*ms {
		t.Fatalf("latest is %v", r.Latest())
	}
}

func TestRTTConverges(t *testing.T) {
	var r RTT
	r.Update(epoch, time.Second)
	for i := range 200 {
		r.Update(epoch.Add(time.Duration(i)*ms), 50*ms)
	}
	if (r.Smoothed()-50*ms).Abs() > 10 || r.Var() > 100 {
		t.Fatalf("SRTT %v, RTTVAR %v after 200 samples of 50 ms", r.Smoothed(), r.Var())
	}
}

// TestRTTMin compares with all samples kept: the minimum lies between those of the
// last 9 and of the last 10 seconds.
func TestRTTMin(t *testing.T) {
	type sample struct {
		at  time.Time
		rtt time.Duration
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, gap := range []time.Duration{10 * ms, 700 * ms, 4 * time.Second, 30 * time.Second} {
		var r RTT
		var all []sample
		now := epoch
		for range 2000 {
			now = now.Add(time.Duration(rng.Int64N(int64(gap))))
			s := sample{now, time.Duration(1 + rng.Int64N(int64(100*ms)))}
			all = append(all, s)
			r.Update(s.at, s.rtt)
			m9, m10 := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
			for i := len(all) - 1; i >= 0 && now.Sub(all[i].at) <= 10*time.Second; i-- {
				m10 = min(m10, all[i].rtt)
				if now.Sub(all[i].at) <= 9*time.Second {
					m9 = min(m9, all[i].rtt)
				}
			}
			if got := r.Min(); got < m10 || got > m9 {
				t.Fatalf("gap %v: min %v, want between %v and %v", gap, got, m10, m9)
			}
		}
	}
}

func TestRTTMinForgets(t *testing.T) {
	var r RTT
	r.Update(epoch, 10*ms)
	for s := 1; s <= 10; s++ {
		r.Update(epoch.Add(time.Duration(s)*time.Second), 50*ms)
		if want := map[bool]time.Duration{true: 10 * ms, false: 50 * ms}[s < 10]; r.Min() != want {
			t.Fatalf("min is %v after %d s, want %v", r.Min(), s, want)
		}
	}
	r.Update(epoch.Add(5*time.Second), 20*ms) // the clock goes back
	if r.Min() != 20*ms {
		t.Fatalf("min is %v", r.Min())
	}
}

func TestAllocs(t *testing.T) {
	var r RTT
	var l Loss
	var b Rate
	now, i := epoch, uint32(0)
	if n := testing.AllocsPerRun(1000, func() {
		now, i = now.Add(30*ms), i+10
		r.Update(now, 20*ms)
		r.Min()
		l.Update(now, i, i)
		l.Ratio()
		b.Add(now, 1000)
		b.PerSecond(now)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkRTT(b *testing.B) {
	var r RTT
	now := epoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(ms)
		r.Update(now, 20*ms)
	}
}
