package demo

import (
	"strings"
	"testing"
	"time"
)

func good() Result {
	return Result{
		Lines: []LineResult{
			{Name: "a", Capacity: 10, Carried: 9, Share: 1},
			{Name: "b", Capacity: 20, Carried: 18, Share: 1},
		},
		Best:   "b",
		Single: 18,
		Bonded: 27,
		Sum:    30,
		Cut:    CutResult{Line: "b", Noticed: time.Second, Returned: time.Second, Share: 1},
		Sent:   1000, Received: 1000, Intact: true,
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Result)
		want   []string // in the error; nil is no error
	}{
		{"good", func(*Result) {}, nil},
		{"damaged", func(r *Result) { r.Intact = false }, []string{"content", "1000 bytes"}},
		{"just enough gain", func(r *Result) { r.Single = 18 }, nil},
		{"too little gain", func(r *Result) { r.Single = 18.1 }, []string{"bonding", "27.0", "18.1", "1.49"}},
		{"nothing alone", func(r *Result) { r.Single = 0 }, []string{"bonding"}},
		{"idle line", func(r *Result) { r.Lines[0].Share = 0.49 }, []string{"share of a", "49 %"}},
		{"never back", func(r *Result) { r.Cut.Returned = -1 }, []string{"return of b", "nothing"}},
		{"hardly back", func(r *Result) { r.Cut.Share = 0.2 }, []string{"return of b", "20 %"}},
		{"all wrong", func(r *Result) { *r = Result{Lines: r.Lines, Cut: CutResult{Returned: -1}} },
			[]string{"content", "bonding", "return"}},
	} {
		r := good()
		test.change(&r)
		err := r.Check()
		if test.want == nil && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want one with %q", test.name, err, want)
			}
		}
	}
}

func TestShares(t *testing.T) {
	specs := []lineSpec{{name: "a", down: 10}, {name: "b", down: 30}}
	r := rates{lines: []float64{5, 5}}
	if got := r.shares(specs); !near(got[0], 2) || !near(got[1], 2.0/3) {
		t.Errorf("got %v, want [2 0.67]", got)
	}
	r = rates{lines: []float64{0, 0}}
	if got := r.shares(specs); got[0] != 0 || got[1] != 0 {
		t.Errorf("got %v of nothing, want zeros", got)
	}
}
