package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/privdrop"
	"github.com/multilink-vpn/multilink/internal/quota"
	"github.com/multilink-vpn/multilink/internal/status"
)

const (
	// quotaTick is how often it is looked what links have carried: how long one may go on
	// beyond its quota.
	quotaTick = time.Second
	// quotaSave is how often the account is written, and so what a crash can lose of it.
	quotaSave = 30 * time.Second

	// headers is what IP and UDP add to a datagram, in bytes, on the line that is billed.
	headers = 20 + 8

	defaultStateDir = "/var/lib/mlvpn"
)

// quotas keep links to their quotas: one that has used it up becomes a fallback.
type quotas struct {
	tunnel measured
	links  links
	file   string
	log    *slog.Logger

	mu    sync.Mutex // guards the following
	conf  *conf.Config
	usage map[string]*quota.Usage
	seen  map[string]uint64 // what the tunnel has counted
	spent map[string]bool
	dirty bool // usage is newer than the file
}

func planOf(l *conf.Link) quota.Plan {
	return quota.Plan{Day: l.QuotaDay, Month: l.QuotaMonth, ResetDay: l.QuotaResetDay}
}

// limited reports whether the link has a quota.
func limited(l *conf.Link) bool { return l.QuotaDay > 0 || l.QuotaMonth > 0 }

// openQuotas reads the account, and makes the directory for it, which belongs to the
// account that the daemon will run as. Without a link that has a quota nothing is
// touched.
func openQuotas(c *conf.Config, account string, log *slog.Logger) (*quotas, error) {
	dir := c.StateDir
	if dir == "" {
		dir = defaultStateDir
	}
	q := &quotas{
		log: log, conf: c, file: filepath.Join(dir, "quota-"+c.Interface+".json"),
		usage: make(map[string]*quota.Usage), seen: make(map[string]uint64), spent: make(map[string]bool),
	}
	if !slices.ContainsFunc(c.Links, func(l conf.Link) bool { return limited(&l) }) {
		return q, nil
	}
	if err := makeStateDir(dir, q.file, account); err != nil {
		return nil, fmt.Errorf("quotas: %w: choose another state_dir", err)
	}
	var err error
	q.usage, err = quota.Load(q.file)
	return q, err
}

// makeStateDir makes dir, and has it and the file belong to the account.
func makeStateDir(dir, file, account string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if account == "" || os.Geteuid() != 0 {
		return nil
	}
	u, err := privdrop.Lookup(account)
	if err != nil {
		return err
	}
	if err := os.Lchown(file, u.UID, u.GID); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.Chown(dir, u.UID, u.GID)
}

// run keeps the account until ctx is done. Then close it.
func (q *quotas) run(ctx context.Context) {
	tick, save := time.NewTicker(quotaTick), time.NewTicker(quotaSave)
	defer tick.Stop()
	defer save.Stop()
	for {
		select {
		case <-tick.C:
			q.count(time.Now())
		case <-save.C:
			q.save()
		case <-ctx.Done():
			return
		}
	}
}

// close writes what the links have carried until the tunnel ended.
func (q *quotas) close() {
	q.count(time.Now())
	q.save()
}

// count takes note of what the links have carried, and of what that means for them.
func (q *quotas) count(now time.Time) {
	totals := make(map[string]uint64)
	for _, p := range q.tunnel.Traffic() {
		totals[p.Name] += p.SentBytes + p.ReceivedBytes + headers*(p.SentPackets+p.ReceivedPackets)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.conf.Links {
		l := &q.conf.Links[i]
		is := false
		if limited(l) {
			is = q.addLocked(now, l, totals[l.Name])
		}
		if is == q.spent[l.Name] {
			continue
		}
		q.spent[l.Name] = is
		if is {
			q.log.Warn("a link has used up its quota and is a fallback from now on", "link", l.Name)
		} else {
			q.log.Info("a link may be used again: its quota has begun anew", "link", l.Name)
		}
		q.links.spent(l.Name, is)
	}
}

// addLocked brings a link's account up to date and reports whether its quota is used up.
func (q *quotas) addLocked(now time.Time, l *conf.Link, total uint64) (spent bool) {
	u := q.usage[l.Name]
	if u == nil {
		u = new(quota.Usage)
		q.usage[l.Name] = u
	}
	was := q.seen[l.Name]
	q.seen[l.Name] = total
	if total < was {
		was = total // the link was taken away and added again
	}
	if total > was {
		q.dirty = true
	}
	u.Add(now, planOf(l), total-was)
	return planOf(l).Spent(u)
}

// save writes the account if it has changed.
func (q *quotas) save() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.dirty {
		return
	}
	if err := quota.Save(q.file, q.usage); err != nil {
		q.log.Error("what links have carried is not remembered", "err", err)
		return
	}
	q.dirty = false
}

// of returns a link's account, nil if it has no quota.
func (q *quotas) of(name string) *status.Quota {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := findLink(q.conf, name)
	if l == nil || !limited(l) {
		return nil
	}
	s := &status.Quota{Day: l.QuotaDay, Month: l.QuotaMonth, Spent: q.spent[name]}
	if u := q.usage[name]; u != nil {
		s.DayUsed, s.MonthUsed = u.DayBytes, u.MonthBytes
	}
	return s
}

// prepare implements part. A quota that could not be remembered is refused.
func (q *quotas) prepare(old, new *settings) (func() string, func(), error) {
	has := func(c *conf.Config) bool {
		return slices.ContainsFunc(c.Links, func(l conf.Link) bool { return limited(&l) })
	}
	if has(new.conf) && !has(old.conf) {
		q.mu.Lock()
		err := quota.Save(q.file, q.usage)
		q.mu.Unlock()
		if err != nil {
			return nil, nil, fmt.Errorf("%s: quotas: %w: restart the daemon, which makes the directory", new.conf.File, err)
		}
	}
	return func() string {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.conf = new.conf
		return ""
	}, nil, nil
}
