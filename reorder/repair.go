package reorder

import (
	"math"
	"sort"
	"time"
)

// The moments of the last wait are known to within 1/momentParts of it. Any two of
// them that are not neighbours are as far apart, so that maxMoments is enough for a wait
// that does not change.
const (
	momentParts = 64
	maxMoments  = 2*momentParts + 2
)

// moments remembers when losses became certain: when every active link had passed a
// stamp. With it a hole's time runs from then, no matter how long the hole was behind
// another one.
type moments struct {
	ring    []moment // allocated when the first is noted
	head, n int
	settled uint64 // all losses below it were certain long enough ago
}

// moment says that losses below stamp were certain at a time.
type moment struct {
	stamp uint64
	at    int64 // ns since the epoch
}

func (m *moments) index(i int) *moment { return &m.ring[(m.head+i)%maxMoments] }

// note takes down how far every link has come. A moment so close to the last but one
// that it is not worth an entry replaces the last.
func (m *moments) note(now, wait int64, passed uint64) {
	m.certain(now, wait)
	if passed <= m.settled || m.n > 0 && passed <= m.index(m.n-1).stamp {
		return
	}
	if m.ring == nil {
		m.ring = make([]moment, maxMoments)
	}
	if m.n < maxMoments && (m.n < 2 || now-m.index(m.n-2).at >= wait/momentParts) {
		m.n++
	}
	*m.index(m.n - 1) = moment{passed, now}
}

// certain returns the stamp below which losses have been certain for wait.
func (m *moments) certain(now, wait int64) uint64 {
	for m.n > 0 && m.index(0).at+wait <= now {
		m.settled = m.index(0).stamp
		m.head = (m.head + 1) % maxMoments
		m.n--
	}
	return m.settled
}

// at returns when losses below stamp became certain, if they are and it is not settled.
func (m *moments) at(stamp uint64) (at int64, ok bool) {
	i := sort.Search(m.n, func(i int) bool { return m.index(i).stamp >= stamp })
	if i == m.n {
		return 0, false
	}
	return m.index(i).at, true
}

func (c *core) setRepair(wait time.Duration) {
	w := min(max(int64(wait), 0), c.maxHold)
	if w == c.repair {
		return
	}
	c.repair = w
	if w == 0 {
		c.moments = moments{}
	}
	c.resettle()
}

// giveUpAt returns the deadline of the hole at the flow's head.
func (c *core) giveUpAt(f *flow) uint64 {
	s := &c.pool.slots[f.oldest]
	return uint64(min(s.deadline+c.patience(), s.at+c.maxHold))
}

// patience is how much longer than its deadline a hole is kept open. A deadline passes
// without certainty when a link is silent. It may be dead, and its sender needs a while to
// see that, before it repairs.
func (c *core) patience() int64 {
	if c.repair == 0 {
		return 0
	}
	return max(c.repair, int64(silence))
}

// silence is how long a sender takes to send the packets of a dead link by another.
const silence = 150 * time.Millisecond

// certain returns the stamp below which what is missing is given up: what no active
// link can bring any more, and no repair has brought in time.
func (c *core) certain() uint64 {
	passed := c.links.passed()
	if c.repair == 0 || passed == math.MaxUint64 {
		return passed
	}
	return c.moments.certain(c.now, c.repair)
}

// progress takes down how far the links have come. It is for repair only.
func (c *core) progress() {
	if passed := c.links.passed(); passed != math.MaxUint64 {
		c.moments.note(c.now, c.repair, passed)
	}
}

// timeRepaired makes a repaired packet due together with the first packet behind it,
// because its own time was that of an earlier copy. Between others it is due at once:
// those before it waited for long enough.
func (c *core) timeRepaired(f *flow, s *slot) {
	if s.timed = s.timed && f.inRing() > 0 && s.order < f.first; s.timed {
		behind := &c.pool.slots[f.ringAt(f.first)]
		s.timed, s.sent = behind.timed, behind.sent
	}
}
