package netcfg

import (
	"fmt"
	"slices"
)

// An Allocation says which of the host's numbers are ours. It lasts as long as what we
// have changed: it is kept in the journal.
type Allocation struct {
	Base   int            // the priority of our first rule
	Tables map[string]int // by the line's name, directName or tunnelName
	Marks  map[string]int // by the line's name: 1 to maxLines
}

const (
	// directName and tunnelName are no names of sections, which have no blanks.
	directName = "all lines"
	tunnelName = "the tunnel"

	// priorities is the number of rule priorities that we use, see the package's doc.
	priorities = 11

	firstBase  = 20000 // before the main table and what tools put in front of it
	lastBase   = 32000
	firstTable = 7100
	lastTable  = 1 << 20
	maxLines   = 31
)

// Allocate returns the numbers for a configuration: those of old as far as they still
// apply, and for the rest numbers that nobody uses on the host. old may be nil.
func Allocate(c *Config, h *Host, old *Allocation) (*Allocation, error) {
	if len(c.Lines) > maxLines {
		return nil, fmt.Errorf("%d lines: at most %d can be told apart", len(c.Lines), maxLines)
	}
	a := &Allocation{Tables: make(map[string]int), Marks: make(map[string]int)}
	names := []string{directName, tunnelName}
	for _, l := range c.Lines {
		names = append(names, l.Name)
	}
	if old != nil {
		a.Base = old.Base
		for _, n := range names {
			if t := old.Tables[n]; t != 0 {
				a.Tables[n] = t
			}
			if m := old.Marks[n]; m != 0 {
				a.Marks[n] = m
			}
		}
	}
	if a.Base == 0 {
		a.Base = freeBase(h)
	}
	if a.Base == 0 {
		return nil, fmt.Errorf("the host's rules leave no room for %d more priorities from %d to %d: remove some, see `ip rule`", priorities, firstBase, lastBase)
	}
	used := usedTables(h)
	for _, t := range a.Tables {
		used[t] = true
	}
	next := firstTable
	for _, n := range names {
		if a.Tables[n] != 0 {
			continue
		}
		for used[next] {
			next++
		}
		if next > lastTable {
			return nil, fmt.Errorf("no free routing table from %d to %d", firstTable, lastTable)
		}
		a.Tables[n], used[next] = next, true
	}
	taken := make(map[int]bool)
	for _, m := range a.Marks {
		taken[m] = true
	}
	m := 1
	for _, l := range c.Lines {
		if a.Marks[l.Name] != 0 {
			continue
		}
		for taken[m] {
			m++
		}
		a.Marks[l.Name], taken[m] = m, true
	}
	return a, nil
}

// freeBase returns a priority from which on enough are free for us, or 0.
func freeBase(h *Host) int {
	for base := firstBase; base <= lastBase; base += 20 {
		if !slices.ContainsFunc(h.Rules, func(r Rule) bool { return r.Priority >= base && r.Priority < base+priorities }) {
			return base
		}
	}
	return 0
}

// usedTables returns the tables that anything refers to.
func usedTables(h *Host) map[int]bool {
	used := make(map[int]bool)
	for _, r := range h.Routes {
		used[r.Table] = true
	}
	for _, r := range h.Rules {
		used[r.Table] = true
	}
	return used
}
