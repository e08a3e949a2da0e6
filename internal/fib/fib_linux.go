package fib

import (
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// markBase is the part of the marks that says that they are ours. The rest is the
	// table.
	markBase = 0x4d << 24
	maxTable = 1<<16 - 1

	// protocol says in each rule who has added it (rtnetlink(7)). Numbers from 100 on are
	// free for daemons to choose.
	protocol = 109

	// The priorities of the rules, one for each owner: before those of the tables main and
	// default.
	firstPriority, priorities = 5100, 800
)

// Way returns how a socket gets its packets to table.
func (t *Tables) Way(table int) Way {
	if table == 0 {
		return Way{}
	}
	return Way{Mark: markBase | uint32(table)}
}

func (t *Tables) priority() int {
	h := fnv.New32a()
	h.Write([]byte(t.Owner))
	return firstPriority + int(h.Sum32()%priorities)
}

func (t *Tables) lead(table int) error {
	if table < 0 || table > maxTable {
		return fmt.Errorf("routing table %d is out of range: use 1 to %d", table, maxTable)
	}
	added := 0
	var failed error
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		r := netlink.NewRule()
		mask := ^uint32(0)
		r.Family, r.Priority, r.Protocol = family, t.priority(), protocol
		r.Mark, r.Mask, r.Table = t.Way(table).Mark, &mask, table
		err := netlink.RuleAdd(r)
		switch {
		case err == nil, errors.Is(err, unix.EEXIST):
			added++
		case errors.Is(err, unix.EPERM):
			return fmt.Errorf("lead packets to routing table %d: %w: run as root or with CAP_NET_ADMIN", table, err)
		default:
			failed = err // a system without IPv6, perhaps
		}
	}
	if added == 0 {
		return fmt.Errorf("lead packets to routing table %d: %w", table, failed)
	}
	return nil
}

// clean removes the owner's rules.
func (t *Tables) clean() error {
	var errs []error
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		rules, err := netlink.RuleList(family)
		if err != nil {
			errs = append(errs, fmt.Errorf("list the routing rules: %w", err))
			continue
		}
		for i := range rules {
			r := &rules[i]
			if r.Protocol != protocol || r.Priority != t.priority() {
				continue
			}
			r.Family = family
			if err := netlink.RuleDel(r); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("remove the rule for routing table %d: %w", r.Table, err))
			}
		}
	}
	return errors.Join(errs...)
}
