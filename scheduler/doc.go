// Package scheduler decides by which path each packet of a tunnel leaves.
//
// A [Scheduler] sees numbers only: the packet's size, class and flow, and a
// snapshot of every path. It does no I/O, reads no clock and starts no goroutine.
// [Adaptive] goes by what is measured of the paths and needs no configuration;
// [Weighted] shares bytes in proportion to configured rates.
//
// Package schedtest checks the properties that every Scheduler must have.
//
// # Ranks and overflow
//
// The paths that could take a packet are those of one rank that are usable and fit
// its size: the best tier that has one which is not degraded, else the best tier of
// degraded ones. A path of a worse rank with Path.Overflow takes part when these have no
// room: for Weighted, when all are held back by their pacers (Path.Ready); for Adaptive,
// which is paced to what lines carry and so held back most of the time, when besides what
// waits would take the better tiers 10 ms. Copies that are wanted (Packet.Copies) go by
// the paths that could take the packet now, the quickest first.
//
// # Adaptive
//
// Packets are bound late: they wait in the caller's queues until a path that they should
// take is ready, and then the head of the queue goes by it. What is predicted is so only
// the moments until the next packet, and no prediction drifts.
//
// An interactive packet of L bytes goes by the path i on which it arrives first
// (earliest delivery path first, Chebrolu and Rao 2006), also if it has to wait for it:
// the one of the lowest
//
//	max(0, Ready(i) - now) + L / Rate(i) + Delay(i)
//
// A bulk packet takes, of the paths that are ready, the quickest one that it may take.
// With B bytes waiting behind it, it may take path i if
//
//	B >= (Delay(i) - min Delay(j)) * sum Rate(j), over the paths j that are quicker than i
//
// since it is then no later there than the last of these bytes by the quicker paths. The
// more packets wait, the slower are the paths that help; a single flow that keeps no queue
// uses the quickest path alone. If the receiver evens out the delays of the packet's flow
// (Packet.Equal) and there are two or more paths with Path.Equal, it may take any of these
// and no other.
//
// Where more than 0.2 % of packets are lost, an interactive packet of up to 512 bytes goes
// out a second time by the path that is next best, if that takes it within 5 ms and such
// copies are no more than a twentieth of all bytes, 16 KiB at once.
//
// # Weighted
//
// Weighted is start-time fair queueing (Goyal, Vin and Cheng, "Start-Time Fair
// Queueing: A Scheduling Algorithm for Integrated Services Packet Switching
// Networks", SIGCOMM 1996) turned around: there, flows compete for a link; here,
// paths compete for packets. Each path i of weight w(i) has a start tag S(i). A
// packet of L bytes on path i moves it:
//
//	S(i) = S(i) + L / w(i)
//
// Virtual time v is the lowest tag among the paths that could take the packet asked
// about, and never goes back. A bulk packet goes by the path with that tag. Between
// any two paths that can always take packets the shares differ by no more than
//
//	| B(i)/w(i) - B(j)/w(j) | <= L/w(i) + L/w(j)
//
// where B counts bytes and L is the largest run in bytes, over any time: tags are
// integers in units of 2^-34 s relative to v, the remainder of each division is
// carried to the next, and so nothing drifts or overflows from 1 B/s to 100 Gbit/s
// and beyond.
//
// Of the paths that could take a packet, one whose pacer holds it back is passed over. If
// all are, the packet waits for the first.
//
// A path that is passed over falls behind v, but no further than what it carries in
// 10 ms or 16 KiB, whichever is more. Pacing to the very rate that is the weight
// therefore keeps exact shares, and a path that was held back for long does not take
// everything afterwards. A path that is not usable, or not of the rank in use, or not
// given at all, does not fall behind: it starts again at v. A path that is ahead of v
// stays so, up to 2^26 s of virtual time, also while it is gone.
//
// When a weight changes, a lead or lag stays the same number of bytes. A path
// without a weight counts as the mean of the known weights of the usable paths of
// the rank; if there are none, all count as equal.
//
// A run is what the path carries in 250 µs at Path.Rate, or Path.Weight if that is
// unknown, from 1 to 44 packets.
package scheduler
