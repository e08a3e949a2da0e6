// Package probe finds out whether internet lines lead anywhere: it sends probes through
// each to targets beyond the gateway. A gateway that answers says little, and one that
// does not may ignore pings.
package probe

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// A Method is a kind of probe.
type Method string

const (
	ICMP Method = "icmp" // an echo request
	TCP  Method = "tcp"  // a connection; one that is refused proves as much
	UDP  Method = "udp"  // a DNS query; any answer counts
)

// A Target is something that answers probes.
type Target struct {
	Method Method
	Addr   netip.AddrPort // with port 0 for ICMP
}

// ParseTarget reads "192.0.2.1", "icmp:192.0.2.1", "tcp:192.0.2.1:443",
// "udp:[2001:db8::1]:53".
func ParseTarget(s string) (Target, error) {
	method, rest, found := strings.Cut(s, ":")
	if a, err := netip.ParseAddr(s); err == nil {
		return Target{ICMP, netip.AddrPortFrom(a.Unmap(), 0)}, nil
	}
	fail := func() (Target, error) {
		return Target{}, fmt.Errorf("%q is no target of probes: write for example icmp:192.0.2.1, tcp:192.0.2.1:443 or udp:192.0.2.1:53", s)
	}
	if !found {
		return fail()
	}
	switch Method(method) {
	case ICMP:
		a, err := netip.ParseAddr(rest)
		if err != nil {
			return fail()
		}
		return Target{ICMP, netip.AddrPortFrom(a.Unmap(), 0)}, nil
	case TCP, UDP:
		a, err := netip.ParseAddrPort(rest)
		if err != nil || a.Port() == 0 {
			return fail()
		}
		return Target{Method(method), netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}, nil
	}
	return fail()
}

// A Config says how lines are probed.
type Config struct {
	// Targets are probed at once, and a line works while one of its family answers. A
	// family without any is not probed.
	Targets []Target

	// Interval is the time between probes. 0: 500 ms.
	Interval time.Duration

	// Timeout is how long an answer may take. 0: 900 ms.
	Timeout time.Duration

	// Fails is the number of probes in a row without an answer after which a line is
	// dead, 0: 3. Answers is that of answers after which it is not any more, 0: 2.
	Fails, Answers int
}

// WithDefaults fills in what is not set.
func (c Config) WithDefaults() Config {
	if c.Interval == 0 {
		c.Interval = 500 * time.Millisecond
	}
	if c.Timeout == 0 {
		c.Timeout = 900 * time.Millisecond
	}
	if c.Fails == 0 {
		c.Fails = 3
	}
	if c.Answers == 0 {
		c.Answers = 2
	}
	return c
}

// Health decides by the outcomes of probes whether a line works. The zero Health is that
// of one that does.
type Health struct {
	dead bool
	row  int // outcomes in a row that speak for the other state
}

// Dead reports whether the line leads nowhere.
func (h *Health) Dead() bool { return h.dead }

// Result takes the outcome of a probe, and reports whether the line has died or come
// back by it.
func (h *Health) Result(c Config, answered bool) (changed bool) {
	if answered != h.dead {
		h.row = 0
		return false
	}
	h.row++
	need := c.Fails
	if h.dead {
		need = c.Answers
	}
	if h.row < need {
		return false
	}
	h.dead, h.row = !h.dead, 0
	return true
}
