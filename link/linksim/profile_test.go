package linksim

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestProfileValidate(t *testing.T) {
	good := []Profile{
		{},
		{Rate: math.MaxUint64, Delay: time.Hour, Jitter: time.Hour, Loss: 1, BurstEnter: 1, BurstLeave: 1,
			Duplicate: 1, Reorder: 1, ReorderBy: time.Hour, Queue: math.MaxInt64, Overhead: 65535, MTU: 65535, Down: true},
		{BurstLeave: 0.5},
		{ReorderBy: time.Second},
	}
	for _, p := range good {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	bad := []struct {
		field string
		p     Profile
	}{
		{"Loss", Profile{Loss: -0.1}},
		{"Loss", Profile{Loss: 1.1}},
		{"Loss", Profile{Loss: math.NaN()}},
		{"BurstEnter", Profile{BurstEnter: 2, BurstLeave: 1}},
		{"BurstLeave", Profile{BurstLeave: -1}},
		{"BurstLeave", Profile{BurstEnter: 0.1}},
		{"Duplicate", Profile{Duplicate: math.Inf(1)}},
		{"Reorder", Profile{Reorder: -1}},
		{"ReorderBy", Profile{Reorder: 0.1}},
		{"ReorderBy", Profile{ReorderBy: -1}},
		{"Delay", Profile{Delay: -1}},
		{"Delay", Profile{Delay: time.Hour + 1}},
		{"Jitter", Profile{Jitter: -1}},
		{"Queue", Profile{Queue: -1}},
		{"Overhead", Profile{Overhead: -1}},
		{"Overhead", Profile{Overhead: 65536}},
		{"MTU", Profile{MTU: -1}},
		{"MTU", Profile{MTU: 65536}},
	}
	for _, c := range bad {
		if err := c.p.Validate(); err == nil || !strings.Contains(err.Error(), c.field) {
			t.Errorf("%+v: error %v does not name %s", c.p, err, c.field)
		}
	}
}

func TestNewLinePanicsOnBadProfile(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewLine(Profile{Loss: 2}, 1, 1)
}
