package quota

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestMonthStart(t *testing.T) {
	for _, tc := range []struct {
		now   string
		reset int
		want  string
	}{
		{"2026-11-21", 1, "2026-11-01"},
		{"2026-11-01", 1, "2026-11-01"},
		{"2026-11-14", 15, "2026-10-15"},
		{"2026-11-15", 15, "2026-11-15"},
		{"2026-01-02", 15, "2025-12-15"},
		{"2026-02-27", 31, "2026-01-31"},
		{"2026-02-28", 31, "2026-02-28"},
		{"2026-03-30", 31, "2026-02-28"},
		{"2026-03-31", 31, "2026-03-31"},
		{"2028-02-29", 30, "2028-02-29"},
		{"2026-11-21", 0, "2026-11-01"},
	} {
		now, err := time.ParseInLocation(time.DateOnly, tc.now, time.Local)
		if err != nil {
			t.Fatal(err)
		}
		if got := monthStart(now, tc.reset).Format(time.DateOnly); got != tc.want {
			t.Errorf("%s, reset on %d: %s, want %s", tc.now, tc.reset, got, tc.want)
		}
	}
}

// TestUsage compares random traffic with a list of all of it.
func TestUsage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		p := Plan{Day: 1 + rng.Uint64N(5000), Month: 1 + rng.Uint64N(50000), ResetDay: 1 + rng.IntN(31)}
		type carried struct {
			at    time.Time
			bytes uint64
		}
		var all []carried
		var u Usage
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for range 300 {
			now = now.Add(time.Duration(rng.Int64N(int64(20 * time.Hour))))
			c := carried{now, rng.Uint64N(1000)}
			all = append(all, c)
			u.Add(now, p, c.bytes)
			var day, month uint64
			for _, c := range all {
				if !c.at.Before(dayStart(now)) {
					day += c.bytes
				}
				if !c.at.Before(monthStart(now, p.ResetDay)) {
					month += c.bytes
				}
			}
			if u.DayBytes != day || u.MonthBytes != month {
				t.Fatalf("%v: %d a day and %d a month, want %d and %d", now, u.DayBytes, u.MonthBytes, day, month)
			}
			if got, want := p.Spent(&u), day >= p.Day || month >= p.Month; got != want {
				t.Fatalf("spent: %v", got)
			}
		}
	}
}

func TestClockSetBack(t *testing.T) {
	var u Usage
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	u.Add(now, Plan{}, 100)
	u.Add(time.Unix(0, 0).UTC(), Plan{}, 10) // a router without a clock, before it asks for the time
	u.Add(now, Plan{}, 1)
	if u.DayBytes != 111 || u.MonthBytes != 111 {
		t.Errorf("%+v, want 111 bytes", u)
	}
}

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "quota.json")
	if list, err := Load(path); err != nil || len(list) != 0 {
		t.Errorf("no file: %v, %v", list, err)
	}
	want := Usage{DayBytes: 5, MonthBytes: 7, DayStart: time.Date(2026, 11, 21, 0, 0, 0, 0, time.Local)}
	for range 2 {
		if err := Save(path, map[string]*Usage{"lte": &want}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := Load(path)
	if err != nil || list["lte"] == nil || list["lte"].MonthBytes != 7 || !list["lte"].DayStart.Equal(want.DayStart) {
		t.Errorf("%v, %v", list, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("there are %d files", len(entries))
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil {
		t.Error("a damaged file gives no error")
	}
	if err := Save(filepath.Join(path, "x"), nil); err == nil {
		t.Error("writing into no directory gives no error")
	}
}
