package tcpmodel

import "sort"

// A span is the numbers from l up to but not including r.
type span struct{ l, r uint64 }

// spans is a set of numbers: sorted, disjoint, not touching spans.
type spans []span

// add puts [l, r) into the set, and calls fresh, if it is not nil, for each part of it
// that was not there, in ascending order. It returns the span that now holds [l, r).
func (s *spans) add(l, r uint64, fresh func(l, r uint64)) span {
	set := *s
	i := sort.Search(len(set), func(i int) bool { return set[i].r >= l })
	merged, at, j := span{l, r}, l, i
	for ; j < len(set) && set[j].l <= r; j++ {
		if fresh != nil && set[j].l > at {
			fresh(at, set[j].l)
		}
		at = max(at, set[j].r)
		merged.l, merged.r = min(merged.l, set[j].l), max(merged.r, set[j].r)
	}
	if fresh != nil && at < r {
		fresh(at, r)
	}
	if j == i {
		set = append(set, span{})
		copy(set[i+1:], set[i:])
	} else {
		set = append(set[:i+1], set[j:]...)
	}
	set[i] = merged
	*s = set
	return merged
}

// trim takes everything below n out of the set.
func (s *spans) trim(n uint64) {
	set := *s
	i := 0
	for i < len(set) && set[i].r <= n {
		i++
	}
	if i > 0 {
		set = set[:copy(set, set[i:])]
	}
	if len(set) > 0 {
		set[0].l = max(set[0].l, n)
	}
	*s = set
}

// contains reports whether all of [l, r) is in the set.
func (s spans) contains(l, r uint64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].r >= r })
	return i < len(s) && s[i].l <= l
}
