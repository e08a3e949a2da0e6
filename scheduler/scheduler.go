package scheduler

import "time"

// A Scheduler chooses paths. It is used by one goroutine at a time.
//
// Packets wait in the caller's queues, never in the scheduler: the caller asks for
// the packet at the head with Pick, sends it, and reports with Sent what was really
// sent. Pick alone changes nothing that a later Pick could notice.
type Scheduler interface {
	// Pick chooses the path or paths for packet p. It must not retain or modify
	// paths. It appends its choice, as indices into paths and best first, to dst,
	// which becomes Decision.To. Pick must not allocate as long as dst has room.
	Pick(now time.Time, p Packet, paths []Path, dst []int) Decision

	// Sent reports that a packet of size bytes was handed to the path with this ID.
	// It is called once for every path that a packet went out on, also for the
	// packets of a run.
	Sent(now time.Time, id PathID, size int)
}

// A Decision is the answer to one Pick.
type Decision struct {
	// To holds indices into the paths that were given; a packet goes out once on
	// each. More than one means copies. None means that the packet has to wait.
	To []int

	// Run is how many packets in a row, the one asked about included, may go the
	// same way without asking again, provided that they are of the same class and
	// not larger. It is at least 1 when To is not empty. Runs are what lets a fast
	// link send many packets with one system call.
	Run int

	// Until is when to ask again, if To is empty because every path that the packet
	// should take is held back by its pacer: when the first of them is ready, if nothing
	// else changes. A packet may so wait for a better path although a worse one of the
	// same tier is ready. The zero Time says that no time will help: no path is usable
	// until one changes state.
	Until time.Time
}

// PathID identifies a path for as long as its session lives. It is never used again
// for another path of that session.
type PathID uint16

// A Path is a validated address pair on a link, as the scheduler sees it.
type Path struct {
	ID PathID

	// Usable says that the path is up. A path that is not usable must not be chosen.
	Usable bool

	// Degraded says that the path's loss or latency is above what its user tolerates:
	// it is to be used only when no usable path of any tier is better.
	Degraded bool

	// Tier orders paths by preference: a path is used only when no better (lower)
	// tier has a usable one. 0 is the first choice.
	Tier uint8

	// Overflow says that the path may take packets that the usable paths of better tiers
	// have no room for now.
	Overflow bool

	// Weight is the configured bandwidth in this direction, in bytes per second; 0
	// is unknown.
	Weight uint64

	// Rate is the estimated or paced capacity in this direction, in bytes per second;
	// 0 is unknown.
	Rate uint64

	// Ready is the earliest time at which the path's pacer lets the next packet go.
	// A time that is not after now, such as the zero Time, means at once.
	Ready time.Time

	// Queued is the number of bytes handed to the link that have not left it yet, as
	// far as is known.
	Queued int

	// Delay is the usual one-way delay, its queue included. Only differences between
	// paths count; 0 is unknown.
	Delay time.Duration

	// Equal says that the path is one of those whose delays the receiver evens out for
	// packets with Packet.Equal.
	Equal bool

	// RTT is the smoothed round-trip time and RTTVar its mean deviation (RFC 6298);
	// 0 is unknown.
	RTT, RTTVar time.Duration

	// Loss is the fraction of packets lost lately in this direction, 0 to 1.
	Loss float64

	// MTU is the largest packet, in bytes of Packet.Size, that the path carries; 0 is
	// no limit.
	MTU int
}

// Class says what a packet needs most.
type Class uint8

const (
	// Bulk is traffic that wants throughput and order.
	Bulk Class = iota
	// Interactive is small or urgent traffic that wants the quickest path.
	Interactive

	// NumClasses is the number of classes.
	NumClasses = iota
)

// A Packet is one packet to schedule.
type Packet struct {
	Size  int    // bytes
	Class Class  // what it needs
	Flow  uint32 // hash of the flow it belongs to; equal for all packets of a flow

	// Only, if not 0, are the paths that may carry the packet: those not in it must
	// not be chosen, and what is said of tiers goes for those in it.
	Only PathSet

	// Copies is how many copies are wanted besides, if so many paths could take one
	// now. A scheduler may make copies that nobody wants, too.
	Copies int

	// Equal says that the receiver delivers the flow's packets as if all had taken the
	// slowest of the paths with Path.Equal: none of these is better than another.
	Equal bool

	// Backlog is how many bytes of the same class wait behind the packet.
	Backlog int
}

// An Unpaced Scheduler wants links to take packets as fast as they can, instead of at
// the rate that has been measured.
type Unpaced interface {
	Scheduler
	Unpaced()
}

// A PathSet is a set of indices into the paths given to Pick, of which the first
// MaxPathSet can be in it.
type PathSet uint64

// MaxPathSet bounds the paths that a PathSet can tell apart.
const MaxPathSet = 64

// With returns s and index i, which must be below MaxPathSet.
func (s PathSet) With(i int) PathSet { return s | 1<<i }

// Has reports whether index i is in s.
func (s PathSet) Has(i int) bool { return i < MaxPathSet && s&(1<<i) != 0 }

// Allows reports whether path i of those given to Pick may carry the packet.
func (p *Packet) Allows(i int) bool { return p.Only == 0 || p.Only.Has(i) }

// candidate reports whether path i can ever take packet p as it is now, its pacer
// aside.
func (p *Packet) candidate(i int, path *Path) bool {
	return path.Usable && (path.MTU == 0 || p.Size <= path.MTU) && p.Allows(i)
}
