package wire

import (
	"math/rand/v2"
	"testing"
)

// randomReport returns a report as a receiver may make it, with numbers of all sizes.
func randomReport(r *rand.Rand) (rep LinkReport) {
	rep = LinkReport{
		Link:     uint8(r.Uint32()),
		Highest:  r.Uint32(),
		Age:      uint16(r.Uint32()),
		Arrived:  r.Uint32(),
		Bytes:    r.Uint32(),
		HasDelay: r.IntN(2) == 0,
		NumRuns:  1 + 2*r.IntN(MaxRuns/2+1),
	}
	if rep.HasDelay {
		rep.Delay, rep.Low = uint16(r.Uint32()), uint16(r.Uint32())
	}
	for i := range rep.Runs[:rep.NumRuns] {
		rep.Runs[i] = max(1, r.Uint32()>>r.IntN(32))
	}
	return rep
}

// Reports, written one behind the other, are read as they were written.
func TestFeedbackRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		var want []LinkReport
		var body []byte
		for range 1 + r.IntN(4) {
			rep := randomReport(r)
			want = append(want, rep)
			before := len(body)
			body = AppendLinkReport(body, &rep)
			if n := len(body) - before; n > MaxLinkReport {
				t.Fatalf("a report of %d bytes, more than MaxLinkReport", n)
			}
		}
		if err := CheckFeedback(body); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			got := randomReport(r) // what was there before is overwritten
			var err error
			if body, err = NextLinkReport(body, &got); err != nil || got != w {
				t.Fatalf("have %+v, %v\nwant %+v", got, err, w)
			}
		}
		if len(body) != 0 {
			t.Fatalf("%d bytes are left over", len(body))
		}
	}
}

// MaxLinkReport is not more than is needed.
func TestMaxLinkReport(t *testing.T) {
	rep := LinkReport{HasDelay: true, NumRuns: MaxRuns}
	for i := range rep.Runs {
		rep.Runs[i] = 1<<32 - 1
	}
	if n := len(AppendLinkReport(nil, &rep)); n != MaxLinkReport {
		t.Errorf("the longest report has %d bytes, MaxLinkReport is %d", n, MaxLinkReport)
	}
}

// A body cut off within a report is refused; between two it is a shorter body.
func TestFeedbackCut(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		first, second := randomReport(r), randomReport(r)
		body := AppendLinkReport(nil, &first)
		whole := len(body)
		body = AppendLinkReport(body, &second)
		for n := range body {
			if err := CheckFeedback(body[:n]); (err == nil) != (n == whole) {
				t.Fatalf("%d of %d and %d bytes: %v", n, whole, len(body)-whole, err)
			}
		}
	}
}

func TestHoldRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 500 {
		want := Hold{r.IntN(2) == 0, uint16(r.Uint32()), uint16(r.Uint32())}
		f, rest, err := Next(AppendHold(nil, want))
		if err != nil || f.Type != TypeHold || len(rest) != 0 {
			t.Fatal(f, rest, err)
		}
		if got, err := ParseHold(f.Body); got != want || err != nil {
			t.Fatal(got, want, err)
		}
	}
}

func TestFeedbackAllocs(t *testing.T) {
	rep := randomReport(rand.New(rand.NewPCG(11, 12)))
	b := make([]byte, 0, 2*MaxLinkReport)
	var got LinkReport
	allocs := testing.AllocsPerRun(100, func() {
		b = AppendLinkReport(b[:0], &rep)
		b = AppendLinkReport(b, &rep)
		if err := CheckFeedback(b); err != nil {
			t.Fatal(err)
		}
		if _, err := NextLinkReport(b, &got); err != nil || got != rep {
			t.Fatal(got, err)
		}
		b = AppendHold(b[:0], Hold{true, 1, 2})
		if _, err := ParseHold(b[FrameOverhead:]); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkLinkReport(b *testing.B) {
	rep := LinkReport{HasDelay: true, NumRuns: 5, Runs: [MaxRuns]uint32{100, 1, 2000, 3, 400}}
	body := AppendLinkReport(nil, &rep)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			body = AppendLinkReport(body[:0], &rep)
		}
	})
	b.Run("next", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := NextLinkReport(body, &rep); err != nil {
				b.Fatal(err)
			}
		}
	})
}
