// Package quota keeps account of what lines with a data plan have carried, by the day
// and by the month, over restarts. It reads no clock: methods take now, whose location is
// that of the days.
package quota

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A Plan is what a line may carry. A zero limit is none.
type Plan struct {
	Day, Month uint64 // bytes
	ResetDay   int    // 1 to 31: when a month begins; in a shorter month its last day
}

// A Usage is what a line has carried in the day and the month that began at DayStart and
// MonthStart. The zero Usage is that of a new line.
type Usage struct {
	DayStart, MonthStart time.Time
	DayBytes, MonthBytes uint64
}

// Add takes note of bytes carried until now. When a new day or month has begun, the count
// starts anew, with these bytes. A clock that is set back changes nothing.
func (u *Usage) Add(now time.Time, p Plan, bytes uint64) {
	if start := dayStart(now); start.After(u.DayStart) {
		u.DayStart, u.DayBytes = start, 0
	}
	if start := monthStart(now, p.ResetDay); start.After(u.MonthStart) {
		u.MonthStart, u.MonthBytes = start, 0
	}
	u.DayBytes += bytes
	u.MonthBytes += bytes
}

// Spent reports whether a limit of the plan has been reached.
func (p Plan) Spent(u *Usage) bool {
	return p.Day > 0 && u.DayBytes >= p.Day || p.Month > 0 && u.MonthBytes >= p.Month
}

func dayStart(now time.Time) time.Time {
	y, m, d := now.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, now.Location())
}

// monthStart returns when the month that contains now began.
func monthStart(now time.Time, resetDay int) time.Time {
	y, m, _ := now.Date()
	start := resetIn(y, m, resetDay, now.Location())
	if now.Before(start) {
		start = resetIn(y, m-1, resetDay, now.Location())
	}
	return start
}

// resetIn returns the reset day of a month of the calendar.
func resetIn(y int, m time.Month, day int, loc *time.Location) time.Time {
	last := time.Date(y, m+1, 0, 0, 0, 0, 0, loc).Day()
	return time.Date(y, m, min(max(day, 1), last), 0, 0, 0, 0, loc)
}

// Load reads the usages by the name of the line. A file that is not there is empty.
func Load(path string) (map[string]*Usage, error) {
	list := make(map[string]*Usage)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read quotas: %w", err)
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read quotas: %s is damaged: remove it to begin anew: %w", path, err)
	}
	for name, u := range list {
		if u == nil {
			delete(list, name)
		}
	}
	return list, nil
}

// Save writes the usages so that after a crash the file is the old one or the new one.
func Save(path string, list map[string]*Usage) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write quotas: %w", err)
		}
	}()
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".quota-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
