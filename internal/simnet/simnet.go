// Package simnet simulates two hosts joined by internet lines, with a tunnel under test
// between them: everything in virtual time, in one goroutine, from a seed.
//
//	                     ┌ line 0 ┐
//	host ── client End ──┼ line 1 ┼── server End ── host
//	                     └ line 2 ┘
//
// The hosts run TCP as package tcpmodel models it, streams of UDP, and ping. The lines
// are those of package linksim: a rate, a queue, delay, jitter and loss in each
// direction, that a profile may change while it runs. Packets and datagrams are real
// bytes, so the tunnel's own frames and parsers run.
//
// A run is a function of its Config: it reads no clock and uses no goroutine or global.
package simnet

import (
	"time"

	"github.com/multilink-vpn/multilink/link/linksim"
)

// An End is one end of a tunnel under test: a sans-I/O unit. Times never decrease from
// call to call. Calls do not overlap, and the callbacks of Poll do not call the End.
type End interface {
	// Ingress takes an inner packet from the host at this end. It copies the packet if
	// it keeps it. Poll follows at the same time.
	Ingress(now time.Time, pkt []byte)

	// Arrive takes a datagram from a line. It copies the datagram if it keeps it. Poll
	// follows at the same time.
	Arrive(now time.Time, line int, datagram []byte)

	// Poll does everything that is due, and returns when to poll again if nothing
	// arrives before; the zero Time is never. send puts a datagram on a line, deliver
	// gives an inner packet to the host; both copy what they keep.
	Poll(now time.Time, send func(line int, datagram []byte), deliver func(pkt []byte)) (next time.Time)
}

// Sides of a tunnel. Down is towards the client, up towards the server.
const (
	Client = iota
	Server

	sides
)

// DefaultMTU is the MTU of a Tunnel that names none: the largest IP packet that a
// datagram of linksim.DefaultMTU carries beside 32 bytes of header.
const DefaultMTU = linksim.DefaultMTU - 32

// A Tunnel is what is under test.
type Tunnel struct {
	// Name is for tables and errors.
	Name string

	// New makes the two ends.
	New func(Env) (client, server End)

	// MTU is the largest inner packet in bytes. 0 is DefaultMTU.
	MTU int

	// Overhead is what a datagram costs on a line beside its length, in bytes. 0 is
	// linksim.OverheadUDP4.
	Overhead int
}

// An Env is what a Tunnel's ends may know when they are made.
type Env struct {
	// Now is the time at which the run begins by the client's clock, ServerNow by the
	// server's.
	Now, ServerNow time.Time
	// Seed is the run's.
	Seed uint64
	// Lines is the number of lines. They are numbered from 0 at both ends.
	Lines int
}

// A Line is one line of a Profile.
type Line struct {
	// Down and Up are its two directions. Overhead is the Tunnel's if it is 0.
	Down, Up linksim.Profile

	// Behind makes the line share the rate, queue and impairments of an earlier line:
	// two modems on one tower. It is that line's number plus 1; 0 is none. Down and Up
	// are not used then.
	Behind int
}

// A Change is something that happens to a line during a run.
type Change struct {
	At   time.Duration
	Line int
	// Apply edits the directions of the line.
	Apply func(down, up *linksim.Profile)
}

// A Profile is a set of lines and what happens to them.
type Profile struct {
	Name    string
	Lines   []Line
	Changes []Change // in order of time
}

// Direction of a flow.
type Direction uint8

const (
	// Down is from the server to the client.
	Down Direction = iota
	// Up is from the client to the server.
	Up
)

// String returns "down" or "up".
func (d Direction) String() string {
	if d == Up {
		return "up"
	}
	return "down"
}

// sender is the side at which flows of this direction begin.
func (d Direction) sender() int {
	if d == Up {
		return Client
	}
	return Server
}

// epoch is when all runs begin, in the time that ends are given.
var epoch = time.Unix(1_700_000_000, 0).UTC()
