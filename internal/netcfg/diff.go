package netcfg

import (
	"slices"
)

// Installed is what we have put on a host and not yet taken away. It is kept in the
// journal.
type Installed struct {
	Rules  []Rule
	Routes []Route

	// Sysctls have the values that we set, Before those that were there, by name.
	Sysctls []Sysctl
	Before  map[string]string

	NFT   string // the name of our table, or empty
	Files []string
}

// Empty reports whether there is nothing.
func (i *Installed) Empty() bool {
	return len(i.Rules) == 0 && len(i.Routes) == 0 && len(i.Sysctls) == 0 && i.NFT == "" && len(i.Files) == 0
}

// Changes lead from what is on a host to a plan.
type Changes struct {
	DelRules   []Rule
	DelRoutes  []Route
	AddRoutes  []Route // replacing what is in their place, which is ours
	AddRules   []Rule
	SetSysctls []Sysctl
	SetNFT     *NFT   // in place of the table of that name
	DelNFT     string // the name of a table
	Write      []File
	Remove     []string
}

// Empty reports whether nothing has to change.
func (c *Changes) Empty() bool {
	return len(c.DelRules)+len(c.DelRoutes)+len(c.AddRoutes)+len(c.AddRules)+len(c.SetSysctls)+len(c.Write)+len(c.Remove) == 0 &&
		c.SetNFT == nil && c.DelNFT == ""
}

// Diff returns the changes that lead from the host, on which we have installed have, to
// the plan, and what is ours once they are made. Nothing of its arguments is modified.
//
// A route or rule that the plan wants and somebody else has made is not ours, and stays
// theirs. A setting that somebody has changed since we set it is set again while it is
// planned, and left alone once it is not.
func Diff(p *Plan, have *Installed, h *Host) (*Changes, *Installed) {
	c, next := &Changes{}, &Installed{Before: make(map[string]string)}
	diffRoutes(c, next, p, have, h)
	diffRules(c, next, p, have, h)
	diffSysctls(c, next, p, have, h)
	if p.NFT != nil {
		next.NFT = p.NFT.Name
		if h.NFT[p.NFT.Name] != p.NFT.Fingerprint() {
			c.SetNFT = p.NFT
		}
	}
	if _, there := h.NFT[have.NFT]; there && have.NFT != "" && have.NFT != next.NFT {
		c.DelNFT = have.NFT
	}
	for _, f := range p.Files {
		next.Files = append(next.Files, f.Path)
		if h.Files[f.Path] != f.Content {
			c.Write = append(c.Write, f)
		}
	}
	for _, f := range have.Files {
		if !slices.Contains(next.Files, f) {
			c.Remove = append(c.Remove, f)
		}
	}
	return c, next
}

func diffRoutes(c *Changes, next *Installed, p *Plan, have *Installed, h *Host) {
	planned := make(map[string]bool)
	ours := make(map[string]bool)
	for _, r := range have.Routes {
		ours[r.slot()] = true
	}
	there := make(map[string][]Route)
	for _, r := range h.Routes {
		there[r.slot()] = append(there[r.slot()], r)
	}
	for _, r := range p.Routes {
		planned[r.slot()] = true
		seen := there[r.slot()]
		if i := slices.IndexFunc(seen, func(s Route) bool { return !s.Ours && s.Table == MainTable }); i >= 0 {
			// Somebody else's route has the place: that one counts.
			continue
		}
		next.Routes = append(next.Routes, r)
		if !slices.ContainsFunc(seen, func(s Route) bool { return s.same(r) }) {
			c.AddRoutes = append(c.AddRoutes, r)
		}
	}
	for _, r := range have.Routes {
		if planned[r.slot()] {
			continue
		}
		if slices.ContainsFunc(there[r.slot()], func(s Route) bool { return s.Ours }) {
			c.DelRoutes = append(c.DelRoutes, r)
		}
	}
}

func diffRules(c *Changes, next *Installed, p *Plan, have *Installed, h *Host) {
	there := make(map[string]bool)
	for _, r := range h.Rules {
		if r.Ours {
			there[r.key()] = true
		}
	}
	planned := make(map[string]bool)
	for _, r := range p.Rules {
		if planned[r.key()] {
			continue
		}
		planned[r.key()] = true
		next.Rules = append(next.Rules, r)
		if !there[r.key()] {
			c.AddRules = append(c.AddRules, r)
		}
	}
	for _, r := range have.Rules {
		if !planned[r.key()] && there[r.key()] {
			c.DelRules = append(c.DelRules, r)
		}
	}
}

func diffSysctls(c *Changes, next *Installed, p *Plan, have *Installed, h *Host) {
	for _, s := range p.Sysctls {
		before, ours := have.Before[s.Name]
		now, known := h.Sysctls[s.Name]
		if !ours {
			if !known || now == s.Value {
				continue
			}
			before = now
		}
		next.Sysctls = append(next.Sysctls, s)
		next.Before[s.Name] = before
		if known && now != s.Value {
			c.SetSysctls = append(c.SetSysctls, s)
		}
	}
	for _, s := range have.Sysctls {
		if _, planned := next.Before[s.Name]; planned {
			continue
		}
		if h.Sysctls[s.Name] == s.Value && s.Value != have.Before[s.Name] {
			c.SetSysctls = append(c.SetSysctls, Sysctl{s.Name, have.Before[s.Name]})
		}
	}
}

// Union returns what may be ours while changes are made, for the journal: a crash may
// come at any point.
func Union(have, next *Installed) *Installed {
	u := &Installed{
		Rules:   slices.Clone(have.Rules),
		Routes:  slices.Clone(have.Routes),
		Sysctls: slices.Clone(have.Sysctls),
		Before:  make(map[string]string),
		NFT:     next.NFT,
		Files:   slices.Clone(have.Files),
	}
	if u.NFT == "" {
		u.NFT = have.NFT
	}
	for _, r := range next.Rules {
		if !slices.ContainsFunc(u.Rules, func(o Rule) bool { return o.key() == r.key() }) {
			u.Rules = append(u.Rules, r)
		}
	}
	for _, r := range next.Routes {
		if !slices.ContainsFunc(u.Routes, func(o Route) bool { return o.slot() == r.slot() }) {
			u.Routes = append(u.Routes, r)
		}
	}
	for _, s := range next.Sysctls {
		if !slices.ContainsFunc(u.Sysctls, func(o Sysctl) bool { return o.Name == s.Name }) {
			u.Sysctls = append(u.Sysctls, s)
		}
	}
	for _, m := range []map[string]string{next.Before, have.Before} {
		for k, v := range m {
			u.Before[k] = v
		}
	}
	for _, f := range next.Files {
		if !slices.Contains(u.Files, f) {
			u.Files = append(u.Files, f)
		}
	}
	return u
}
