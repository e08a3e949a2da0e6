package scheduler_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/scheduler/schedtest"
)

const ms = time.Millisecond

func TestAdaptive(t *testing.T) {
	schedtest.TestScheduler(t, func() scheduler.Scheduler { return new(scheduler.Adaptive) })
}

func ExampleAdaptive() {
	var s scheduler.Adaptive
	paths := []scheduler.Path{
		{ID: 1, Usable: true, Rate: 12_500_000, Delay: 4 * ms, Ready: epoch.Add(ms)}, // fibre, busy
		{ID: 2, Usable: true, Rate: 3_750_000, Delay: 25 * ms},                       // LTE
	}
	for _, p := range []scheduler.Packet{
		{Size: 100, Class: scheduler.Interactive},
		{Size: 1400, Backlog: 20_000},
		{Size: 1400, Backlog: 400_000},
	} {
		d := s.Pick(epoch, p, paths, nil)
		if len(d.To) == 0 {
			fmt.Println("wait", d.Until.Sub(epoch))
			continue
		}
		fmt.Println("path", paths[d.To[0]].ID)
	}
	// Output:
	// wait 1ms
	// wait 1ms
	// path 2
}

// line10 returns a usable path of 10 Mbit/s that is ready so much after epoch.
func line10(id int, delay time.Duration, ready time.Duration) scheduler.Path {
	return scheduler.Path{ID: scheduler.PathID(id), Usable: true, Rate: 1_250_000, Delay: delay, Ready: epoch.Add(ready)}
}

// pickAdaptive says in words what a fresh Adaptive decides.
func pickAdaptive(p scheduler.Packet, paths ...scheduler.Path) string {
	d := new(scheduler.Adaptive).Pick(epoch, p, paths, nil)
	if len(d.To) == 0 {
		return fmt.Sprint("until ", d.Until.Sub(epoch))
	}
	return fmt.Sprint(d.To)
}

// An interactive packet goes where it arrives first, and waits if that is held back.
func TestAdaptiveSoonest(t *testing.T) {
	p := scheduler.Packet{Size: 100, Class: scheduler.Interactive}
	fast := line10(1, 30*ms, 0)
	fast.Rate = 125_000_000
	slow := line10(0, 25*ms, 0)
	slow.Rate = 1_000
	rtt := line10(1, 0, 0)
	rtt.RTT = 10 * ms
	for _, tt := range []struct {
		name  string
		paths []scheduler.Path
		want  string
	}{
		{"the quickest", []scheduler.Path{line10(0, 30*ms, 0), line10(1, 20*ms, 0)}, "[1]"},
		{"the quickest is worth waiting for", []scheduler.Path{line10(0, 30*ms, 0), line10(1, 20*ms, 9*ms)}, "until 9ms"},
		{"the quickest is not worth waiting for", []scheduler.Path{line10(0, 30*ms, 0), line10(1, 20*ms, 11*ms)}, "[0]"},
		{"all are held back", []scheduler.Path{line10(0, 30*ms, ms), line10(1, 20*ms, 12*ms)}, "until 1ms"},
		{"a slow line needs time to send", []scheduler.Path{slow, fast}, "[1]"},
		{"half of the round trip stands for the delay", []scheduler.Path{line10(0, 6*ms, 0), rtt}, "[1]"},
		{"equal in all, the lower ID", []scheduler.Path{line10(7, 5*ms, 0), line10(3, 5*ms, 0)}, "[1]"},
	} {
		if got := pickAdaptive(p, tt.paths...); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// A slower path takes part as soon as its packet arrives no later than the last one that
// waits for the quicker paths.
func TestAdaptiveSpill(t *testing.T) {
	quick, slow := line10(0, 10*ms, 4*ms), line10(1, 30*ms, 0)
	middle := line10(2, 20*ms, 5*ms)
	const lead = 20 * 1250 // bytes that a path carries in 20 ms
	for _, tt := range []struct {
		name    string
		backlog int
		paths   []scheduler.Path
		want    string
	}{
		{"nothing waits", 0, []scheduler.Path{quick, slow}, "until 4ms"},
		{"too little waits", lead - 1, []scheduler.Path{quick, slow}, "until 4ms"},
		{"enough waits", lead, []scheduler.Path{quick, slow}, "[1]"},
		{"two quicker paths carry more", 2*lead - 1, []scheduler.Path{quick, slow, middle}, "until 4ms"},
		{"more than these waits", 2 * lead, []scheduler.Path{quick, slow, middle}, "[1]"},
		{"the middle one may take part", lead, []scheduler.Path{quick, slow, line10(2, 20*ms, ms)}, "until 1ms"},
		{"the quickest is ready", 1 << 30, []scheduler.Path{line10(0, 10*ms, 0), slow}, "[0]"},
		{"no path is slower", 0, []scheduler.Path{line10(0, 10*ms, ms), line10(1, 10*ms, 0)}, "[1]"},
	} {
		if got := pickAdaptive(scheduler.Packet{Size: 1400, Backlog: tt.backlog}, tt.paths...); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// If the receiver evens out delays, all paths that it does so for are as good as one
// another, and no others are used.
func TestAdaptiveEqual(t *testing.T) {
	equal := func(q scheduler.Path) scheduler.Path {
		q.Equal = true
		return q
	}
	p := scheduler.Packet{Size: 1400, Equal: true}
	other := line10(2, ms, 0)
	for _, tt := range []struct {
		name  string
		p     scheduler.Packet
		paths []scheduler.Path
		want  string
	}{
		{"a slow path at once", p, []scheduler.Path{equal(line10(0, 10*ms, ms)), equal(line10(1, 60*ms, 0)), other}, "[1]"},
		{"the quickest that is ready", p, []scheduler.Path{equal(line10(0, 60*ms, 0)), equal(line10(1, 10*ms, 0)), other}, "[1]"},
		{"none is ready", p, []scheduler.Path{equal(line10(0, 60*ms, 2*ms)), equal(line10(1, 10*ms, 3*ms)), other}, "until 2ms"},
		{"one is no choice", p, []scheduler.Path{equal(line10(0, 10*ms, 0)), other}, "[1]"},
		{"a packet that is not for it", scheduler.Packet{Size: 1400}, []scheduler.Path{equal(line10(0, 10*ms, 3*ms)), equal(line10(1, 60*ms, 0))}, "until 3ms"},
	} {
		if got := pickAdaptive(tt.p, tt.paths...); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Copies that are wanted go by the next quickest paths that can take them now, one packet
// at a time.
func TestAdaptiveCopies(t *testing.T) {
	paths := []scheduler.Path{line10(0, 30*ms, 0), line10(1, 10*ms, 0), line10(2, 20*ms, 4*ms), line10(3, 40*ms, 0), line10(4, ms, 0)}
	paths[4].Tier = 1
	for _, tt := range []struct {
		class  scheduler.Class
		copies int
		want   []int
	}{
		{scheduler.Bulk, 0, []int{1}},
		{scheduler.Bulk, 1, []int{1, 0}},
		{scheduler.Bulk, 9, []int{1, 0, 3}},
		{scheduler.Interactive, 0, []int{1}},
		{scheduler.Interactive, 1, []int{1, 2}}, // that will be ready soon
		{scheduler.Interactive, 9, []int{1, 2, 0, 3}},
	} {
		p := scheduler.Packet{Size: 1000, Class: tt.class, Copies: tt.copies}
		for i := range paths {
			paths[i].Rate = 125_000_000
		}
		d := new(scheduler.Adaptive).Pick(epoch, p, paths, nil)
		if !slices.Equal(d.To, tt.want) || tt.copies > 0 && d.Run != 1 {
			t.Errorf("class %d, %d copies: paths %v in runs of %d, want %v", tt.class, tt.copies, d.To, d.Run, tt.want)
		}
	}
	// Only paths that may take overflow carry copies of what overflows.
	held := line10(0, 10*ms, 50*ms)
	over, not, too := line10(1, 10*ms, 0), line10(2, 10*ms, 0), line10(3, 10*ms, 0)
	over.Tier, not.Tier, too.Tier = 1, 1, 1
	over.Overflow, too.Overflow = true, true
	for _, s := range []scheduler.Scheduler{new(scheduler.Adaptive), new(scheduler.Weighted)} {
		d := s.Pick(epoch, scheduler.Packet{Size: 1000, Copies: 2, Backlog: 1 << 20}, []scheduler.Path{held, over, not, too}, nil)
		if !slices.Equal(d.To, []int{1, 3}) {
			t.Errorf("%T: copies of what overflows go by %v", s, d.To)
		}
	}
}

// What waits is asked for again when a path that may take it as overflow is ready, if that
// comes first.
func TestOverflowUntil(t *testing.T) {
	held, over := line10(0, 10*ms, 9*ms), line10(1, 10*ms, 2*ms)
	over.Tier, over.Overflow = 1, true
	for _, s := range []scheduler.Scheduler{new(scheduler.Adaptive), new(scheduler.Weighted)} {
		for _, class := range []scheduler.Class{scheduler.Bulk, scheduler.Interactive} {
			p := scheduler.Packet{Size: 1000, Class: class, Backlog: 1 << 20}
			if d := s.Pick(epoch, p, []scheduler.Path{held, over}, nil); len(d.To) > 0 || d.Until.Sub(epoch) != 2*ms {
				t.Errorf("%T, class %d: paths %v until %v", s, class, d.To, d.Until.Sub(epoch))
			}
		}
	}
	p := scheduler.Packet{Size: 1000, Backlog: 100}
	if d := new(scheduler.Adaptive).Pick(epoch, p, []scheduler.Path{held, over}, nil); d.Until.Sub(epoch) != 9*ms {
		t.Errorf("with too little for overflow it waits %v", d.Until.Sub(epoch))
	}
}

// Where packets are lost, small interactive ones go out twice, as long as copies are no
// more than a twentieth of all bytes.
func TestAdaptiveBudget(t *testing.T) {
	lossy := line10(0, 10*ms, 0)
	lossy.Loss = 0.01
	paths := []scheduler.Path{lossy, line10(1, 20*ms, 0)}
	small := scheduler.Packet{Size: 200, Class: scheduler.Interactive}
	var s scheduler.Adaptive
	all, copies := 0, 0
	send := func(p scheduler.Packet) int {
		d := s.Pick(epoch, p, paths, nil)
		for _, i := range slices.Backward(d.To) { // copies go out first
			s.Sent(epoch, paths[i].ID, p.Size)
		}
		all += p.Size
		copies += (len(d.To) - 1) * p.Size
		return len(d.To)
	}
	if n := send(small); n != 1 {
		t.Errorf("a copy without credit: %d", n)
	}
	for range 20000 {
		send(small)
		send(scheduler.Packet{Size: 1400})
	}
	if share := float64(copies) / float64(all); share < 0.045 || share > 0.0501 {
		t.Errorf("%.4f of the bytes are copies, want a twentieth", share)
	}

	// Credit does not grow without bound.
	for range 1_000_000 {
		send(scheduler.Packet{Size: 1400})
	}
	before := copies
	for send(small) == 2 {
	}
	if burst := copies - before; burst < 15<<10 || burst > 18<<10 {
		t.Errorf("%d bytes of copies at once, want about 16 KiB", burst)
	}

	// What is asked for costs no credit, and what gains nothing is not copied.
	for range 10_000 {
		send(scheduler.Packet{Size: 1400})
	}
	for range 1000 {
		p := small
		p.Copies = 1
		send(p)
	}
	if n := send(small); n != 2 {
		t.Errorf("copies that were asked for have used the credit")
	}
	for name, p := range map[string]scheduler.Packet{
		"large": {Size: 600, Class: scheduler.Interactive}, "bulk": {Size: 200},
	} {
		if n := send(p); n != 1 {
			t.Errorf("a %s packet goes out %d times", name, n)
		}
	}
	paths[0].Loss = 0.001
	if n := send(small); n != 1 {
		t.Errorf("without loss a packet goes out %d times", n)
	}
}

func BenchmarkAdaptive(b *testing.B) {
	for _, n := range []int{2, 8} {
		for name, p := range map[string]scheduler.Packet{
			"bulk":        {Size: 1400, Backlog: 1 << 20},
			"equal":       {Size: 1400, Equal: true},
			"interactive": {Size: 100, Class: scheduler.Interactive},
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				paths := make([]scheduler.Path, n)
				for i := range paths {
					paths[i] = line10(i, time.Duration(10+i)*ms, 0)
					paths[i].Equal = true
				}
				var s scheduler.Adaptive
				dst := make([]int, 0, n)
				for b.Loop() {
					d := s.Pick(epoch, p, paths, dst)
					s.Sent(epoch, paths[d.To[0]].ID, p.Size)
				}
			})
		}
	}
}
