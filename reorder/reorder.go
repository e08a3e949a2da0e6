package reorder

import (
	"math/bits"
	"time"
)

const (
	defaultFlows   = 256
	maxFlows       = 1 << 16
	defaultWindow  = 8192
	maxWindow      = 1 << 15 // half of the order's number space
	defaultMaxHold = 250 * time.Millisecond
	defaultSlack   = 10 * time.Millisecond
)

// Config configures a Buffer. The zero value of each field means its default.
type Config struct {
	// Flows is the number of order domains, a power of two up to 65536; another
	// number is rounded up. 0 means 256.
	Flows int

	// Window is how many packets are held at most over all flows. It also limits how
	// far ahead of what it waits for a flow may run. 0 means 8192, and more than
	// 32768 means 32768.
	Window int

	// MaxHold is the longest that a packet is held, for whatever reason. 0 means 250 ms; a negative value
	// means that nothing is held, and every gap counts as lost at once.
	MaxHold time.Duration

	// Slack is what is added to the spread of the links' delays to get the time to
	// wait for a missing packet. 0 means 10 ms, a negative value none.
	Slack time.Duration
}

func (c Config) flows() int {
	if c.Flows <= 0 {
		return defaultFlows
	}
	return ceilPow2(min(c.Flows, maxFlows))
}

func (c Config) window() int {
	if c.Window <= 0 {
		return defaultWindow
	}
	return min(c.Window, maxWindow)
}

func (c Config) maxHold() time.Duration {
	if c.MaxHold == 0 {
		return defaultMaxHold
	}
	return max(c.MaxHold, 0)
}

func (c Config) slack() time.Duration {
	if c.Slack == 0 {
		return defaultSlack
	}
	return max(c.Slack, 0)
}

func ceilPow2(n int) int {
	return 1 << bits.Len(uint(n-1))
}

// A Packet is what the buffer must know about a packet with a place in a flow's
// order. Any value of any field is safe: a peer that sends nonsense gets its own
// packets out of order, and no more memory or time than others.
type Packet struct {
	// Flow is the order domain that the packet belongs to, taken modulo Config.Flows.
	Flow int

	// Order is the packet's place in its flow: 0, 1, 2 and so on, modulo 65536.
	Order uint16

	// Stamp is the packet's place among all packets of the sender, in the order in
	// which it decided about them, modulo 2^24. Copies of a packet share it.
	Stamp uint32

	// Link is the link that the packet arrived on, 0 to 63.
	Link int

	// Delay is the packet's one-way delay, with an offset that is arbitrary but the
	// same for all links: receiver's clock minus sender's clock will do.
	Delay time.Duration

	// Hold asks for equalised delivery: not before the packet would have arrived had
	// its delay been that of Buffer.SetTarget.
	Hold bool

	// Repaired marks a copy that the sender sent again, on whatever link, after the
	// loss of the first. Its stamp proves nothing about the link and its delay, which
	// is not used, nothing about the time the link takes.
	Repaired bool
}

// A Verdict says what became of a pushed packet.
type Verdict uint8

const (
	// Held means that the buffer took the packet; Pop will return it.
	Held Verdict = iota
	// Next means that the packet is the next of its flow: the caller delivers it at
	// once, and then what Pop returns.
	Next
	// Duplicate means that a packet with this order was held or delivered lately: the
	// caller drops it.
	Duplicate
	// Late means that the buffer has given the packet up: the caller delivers it out
	// of order.
	Late
)

func (v Verdict) String() string {
	switch v {
	case Held:
		return "held"
	case Next:
		return "next"
	case Duplicate:
		return "duplicate"
	case Late:
		return "late"
	}
	return "invalid"
}
