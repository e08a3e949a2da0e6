package linktest

import (
	"bytes"
	"math/rand/v2"
)

// uniqueSize is the least size of datagrams whose random contents do not repeat.
const uniqueSize = 12

// scribble is what a case overwrites datagrams with once Send has returned.
const scribble = 0xa5

// A ledger records what was sent in one direction, and judges what arrives.
type ledger struct {
	tr      Traits
	rng     *rand.Rand
	sent    map[string]*entry
	refused [][]byte // not handed on: must not arrive
	count   int      // of datagrams recorded
	last    int      // index of the last unique datagram that arrived
	due     int      // datagrams that may still arrive
}

type entry struct{ index, sent, got int }

func newLedger(tr Traits, seed uint64) *ledger {
	return &ledger{tr: tr, rng: rand.New(rand.NewPCG(seed, 1)), sent: make(map[string]*entry), last: -1}
}

// fill stores random contents in b and returns it.
func (l *ledger) fill(b []byte) []byte {
	for i := range b {
		b[i] = byte(l.rng.Uint32())
	}
	return b
}

// record notes that p is about to be sent.
func (l *ledger) record(p []byte) {
	e := l.sent[string(p)]
	if e == nil {
		e = new(entry)
		l.sent[string(p)] = e
	}
	e.index = l.count
	e.sent++
	l.count++
	l.due++
}

// arrived reports whether a datagram with these contents has arrived.
func (l *ledger) arrived(contents string) bool {
	e := l.sent[contents]
	return e != nil && e.got > 0
}

// judge checks a datagram that has arrived.
func (l *ledger) judge(p []byte) error {
	e := l.sent[string(p)]
	if e == nil {
		return l.explain(p)
	}
	e.got++
	if e.got <= e.sent {
		l.due--
	} else if l.tr.NoDup {
		return violated(sNoDup, "a datagram of %d bytes, sent %d times, arrived %d times", len(p), e.sent, e.got)
	}
	if l.tr.Ordered && len(p) >= uniqueSize && e.sent == 1 && e.got == 1 {
		if e.index < l.last {
			return violated(sOrdered, "datagram %d arrived after datagram %d", e.index, l.last)
		}
		l.last = e.index
	}
	return nil
}

// explain says what has become of a datagram that was never sent as it is.
func (l *ledger) explain(p []byte) error {
	for _, r := range l.refused {
		if bytes.Equal(p, r) {
			return violated(sCount, "a datagram of %d bytes arrived that Send had refused", len(p))
		}
		if len(p) >= uniqueSize && bytes.HasPrefix(r, p) {
			return violated(sCount, "%d bytes arrived of a datagram of %d bytes that Send had refused", len(p), len(r))
		}
	}
	if len(p) > 0 && bytes.Count(p, []byte{scribble}) == len(p) {
		return violated(sKeep, "a datagram of %d bytes arrived with what was written to its memory after Send had returned", len(p))
	}
	for s := range l.sent {
		if len(s) < uniqueSize || len(p) < uniqueSize {
			continue
		}
		switch {
		case len(p) < len(s) && s[:len(p)] == string(p):
			return violated(sIntact, "a datagram of %d bytes arrived truncated to %d", len(s), len(p))
		case len(p) < len(s) && s[len(s)-len(p):] == string(p):
			return violated(sIntact, "of a datagram of %d bytes, the last %d arrived on their own", len(s), len(p))
		case len(p) > len(s) && string(p[:len(s)]) == s:
			return violated(sIntact, "a datagram of %d bytes arrived with %d bytes more at its end", len(s), len(p)-len(s))
		case len(p) == len(s) && differ(p, s) <= len(p)/4:
			return violated(sIntact, "a datagram of %d bytes arrived with %d bytes changed", len(p), differ(p, s))
		}
	}
	return violated(sIntact, "a datagram of %d bytes arrived that was never sent", len(p))
}

// differ returns the number of positions at which a and b, equally long, differ.
func differ(a []byte, b string) int {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}
