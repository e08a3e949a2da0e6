// Package scheduler decides by which path each packet of a tunnel leaves.
//
// A [Scheduler] sees numbers only: the packet's size, class and flow, and a
// snapshot of every path. It does no I/O, reads no clock and starts no goroutine.
// [Weighted] shares bytes in proportion to configured rates.
//
// Package schedtest checks the properties that every Scheduler must have.
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
// The paths that could take a packet are those of one rank that are usable and fit
// its size: the best tier that has one which is not degraded, else the best tier of
// degraded ones. Of these, one whose pacer holds it back (Path.Ready) is passed
// over. If all are, the packet waits for the first.
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
