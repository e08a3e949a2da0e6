// Package manage keeps a host's network as package netcfg plans it, in a process that
// has the privileges for it, see Serve, and on behalf of a daemon that has not, see
// Remote.
package manage

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/multilink-vpn/multilink/internal/netcfg"
	"github.com/multilink-vpn/multilink/internal/netcfg/kernel"
)

// A System is a host.
type System interface {
	// Observe looks at it, and at the files of these names.
	Observe(files ...string) (*netcfg.Host, error)
	// Apply makes changes. It goes on after an error.
	Apply(*netcfg.Changes) error
	// Forget ends the UDP flows with a connection mark.
	Forget(mark, mask uint32) error
}

// Kernel is the host that the process runs on.
type Kernel struct{}

func (Kernel) Observe(files ...string) (*netcfg.Host, error) { return kernel.Observe(files...) }
func (Kernel) Apply(c *netcfg.Changes) error                 { return kernel.Apply(c) }
func (Kernel) Forget(mark, mask uint32) error                { return kernel.Forget(mark, mask) }

// JournalDir is where journals are.
const JournalDir = "/run/mlvpn"

// JournalPath returns the path of an instance's journal. Network namespaces that share a
// file system have their own.
func JournalPath(instance string) string {
	return fmt.Sprintf("%s/%s-%d.network.json", JournalDir, instance, kernel.Namespace())
}

// A Keeper makes a host as planned and undoes that. Its methods are called by one
// goroutine.
type Keeper struct {
	sys     System
	path    string
	log     *slog.Logger
	journal *netcfg.Journal
	cfg     *netcfg.Config // nil: nothing is wanted
	state   netcfg.State

	plan     *netcfg.Plan // the latest
	fresh    bool         // cfg or state have changed since
	reported map[string]bool
	failed   string // the latest error, which is not repeated
	written  []byte // the journal as it was last written
}

// NewKeeper reads what an earlier process has left in the journal: that is ours to keep
// or to undo.
func NewKeeper(sys System, path string, log *slog.Logger) (*Keeper, error) {
	j, err := netcfg.ReadJournal(path, kernel.Boot())
	if err != nil {
		return nil, err
	}
	return &Keeper{sys: sys, path: path, log: log, journal: j, reported: make(map[string]bool)}, nil
}

// Try returns why a configuration is impossible on this host, if so.
func (k *Keeper) Try(cfg *netcfg.Config) error {
	h, err := k.sys.Observe()
	if err != nil {
		return err
	}
	_, err = netcfg.Allocate(cfg, h, k.journal.Allocation)
	return err
}

// Set changes what is wanted, from the next Reconcile on.
func (k *Keeper) Set(cfg *netcfg.Config) { k.cfg, k.fresh = cfg, true }

// Update changes the state, from the next Reconcile on.
func (k *Keeper) Update(change func(*netcfg.State)) {
	change(&k.state)
	k.fresh = true
}

// Plan returns what was planned last, or nil.
func (k *Keeper) Plan() *netcfg.Plan { return k.plan }

// passes is how often the host is looked at until it is as planned: what is added may
// need something that another change has just taken away.
const passes = 3

// Reconcile makes the host as planned. It is called when something has changed, here or
// there.
func (k *Keeper) Reconcile() error {
	mine := k.fresh
	k.fresh = false
	var failed error
	for range passes {
		done, err := k.once(mine)
		if failed = err; done || err != nil {
			break
		}
	}
	text := ""
	if failed != nil {
		text = failed.Error()
	}
	if text != k.failed && text != "" {
		for line := range strings.Lines(text) {
			k.log.Error("the host's network is not as planned", "err", strings.TrimSuffix(line, "\n"))
		}
	}
	k.failed = text
	return failed
}

// once looks at the host and changes it, and reports whether there was nothing to do.
func (k *Keeper) once(mine bool) (done bool, err error) {
	h, err := k.sys.Observe(k.files()...)
	if err != nil {
		return false, err
	}
	plan := &netcfg.Plan{}
	if k.cfg != nil {
		have := h.Without(&k.journal.Installed)
		a, err := netcfg.Allocate(k.cfg, have, k.journal.Allocation)
		if err != nil {
			return false, err
		}
		k.journal.Allocation = a
		plan = netcfg.Compute(k.cfg, &k.state, have, a)
		k.report(plan.Problems)
	}
	k.plan = plan
	changes, next := netcfg.Diff(plan, &k.journal.Installed, h)
	if changes.Empty() {
		if k.cfg == nil {
			return true, k.forget()
		}
		k.journal.Installed = *next
		return true, k.save()
	}
	k.tell(changes, mine)
	old := k.journal.Installed
	k.journal.Installed = *netcfg.Union(&old, next)
	if err := k.save(); err != nil {
		// Without a journal a crash could not be undone: nothing is changed.
		k.journal.Installed = old
		return false, err
	}
	if err := k.sys.Apply(changes); err != nil {
		return false, err
	}
	k.journal.Installed = *next
	return false, k.save()
}

// save writes the journal if it says anything new.
func (k *Keeper) save() error {
	b, err := k.journal.Encode()
	if err != nil || bytes.Equal(b, k.written) {
		return err
	}
	if err := netcfg.WriteJournal(k.path, b); err != nil {
		return err
	}
	k.written = b
	return nil
}

// files returns the files to look at.
func (k *Keeper) files() []string {
	files := k.journal.Installed.Files
	if k.cfg != nil && k.cfg.NameTables {
		files = append([]string{netcfg.NamesFile(k.cfg.Instance)}, files...)
	}
	return files
}

// Undo takes away what is ours.
func (k *Keeper) Undo() error {
	k.Set(nil)
	return k.Reconcile()
}

// forget removes a journal that has nothing to say.
func (k *Keeper) forget() error {
	k.journal.Allocation, k.journal.Installed, k.written = nil, netcfg.Installed{}, nil
	if err := os.Remove(k.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// report logs problems, each once until it is gone.
func (k *Keeper) report(problems []netcfg.Problem) {
	now := make(map[string]bool)
	for _, p := range problems {
		id := p.Line + p.Text
		now[id] = true
		if !k.reported[id] {
			k.log.Warn("a line cannot be used", "link", p.Line, "why", p.Text, "fix", p.Fix)
		}
	}
	k.reported = now
}

// tell logs what is changed.
func (k *Keeper) tell(c *netcfg.Changes, mine bool) {
	if mine || len(c.AddRules) == 0 && len(c.AddRoutes) == 0 && c.SetNFT == nil {
		for _, r := range c.AddRoutes {
			k.log.Debug("route", "add", r.String())
		}
		for _, r := range c.AddRules {
			k.log.Debug("rule", "add", r.String())
		}
		return
	}
	k.log.Info("the host has changed: putting its network right again",
		"rules", len(c.AddRules), "routes", len(c.AddRoutes), "nftables", c.SetNFT != nil)
}
