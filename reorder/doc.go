// Package reorder puts packets that came by several links back into order.
//
// A [Buffer] holds packets that came too early until those before them have come, or
// until it is clear or likely that they will not. It does no I/O, reads no clock and
// starts no goroutine.
//
// # Numbers
//
// The sender numbers the packets of each flow: order 0, 1, 2 and so on. It also
// gives every packet a stamp, which counts its decisions over all flows, ordered or
// not. Copies of a packet share both. Each link is FIFO. The order (16 bits) says
// where a packet belongs. The stamp (24 bits) says what it proves about others: a
// link that has delivered stamp s brings nothing older any more.
//
// Stamps are extended to 64 bits by serial number arithmetic (RFC 1982), with the
// window moved: up to 2^22 behind the newest is old, anything else is ahead. Within
// a flow, order and stamp grow together, so a packet whose stamp is newer than the
// flow's newest has an order that is ahead by (order - newest) mod 65536, else one
// that is behind by (newest - order) mod 65536. Losses of any length below 65536
// packets of a flow are told from late packets in this way; the order alone could
// not do that above 32768.
//
// # Holes
//
// Packets of a flow that wait are behind a hole at the flow's head. Other flows do
// not wait for it. The hole is given up at the earliest of:
//
//   - Certain loss. Let s be the stamp of the first packet in order behind the hole;
//     what is missing has a lower one. It is lost when every active link has
//     delivered a stamp of s or newer. With one active link, that is at once.
//
//   - Deadline. Let p be the packet behind the hole that arrived first. The time is
//
//     arrival(p) + max(0, max over active links of high(link) - delay(p)) + Slack
//
//     but no later than arrival(p) + MaxHold: when the slowest link would have
//     brought what was sent just before p. Multipath DCCP (RFC 9897) compensates for
//     path delays with such timers. delay(p) is that of the packet itself, which is
//     exact even when the link's delay is changing. A link that is silent cannot
//     prove a loss, so then the deadline decides.
//
//   - Window. As many packets are held as Config.Window allows; then the hole with
//     the earliest deadline is given up. Or a flow runs further ahead of its hole
//     than its ring reaches; then as many orders are given up as that takes.
//
// Only the hole at the head is given up; what is behind the next hole waits for that
// one's own time. A packet that comes after it was given up is late: the caller
// delivers it out of order. Orders delivered lately, the last 1024 before the next
// of a flow, are remembered to drop duplicates.
//
// # Repair
//
// With [Buffer.SetRepair] the sender is given time to send again what was lost. A hole
// whose loss is certain is kept open for that time from the moment at which it became
// certain, which may be long before the hole came to the head of its flow, and a deadline
// is that much later, and at least 150 ms: a link that says nothing may be dead, and the
// sender needs a while to see that. These moments are remembered to within 1/64 of the time. A copy with
// [Packet.Repaired] fills the hole; as it comes under its old stamp, and on any link, it
// counts neither for the stamps nor for the delays of links.
//
// # Equalised delivery
//
// A flow over links of unequal delay is delivered in bunches: what the quick link brought
// waits for what came by the slow one. A congestion control that models the path, such as
// BBR, makes little use of such links. With [Buffer.SetTarget], a packet with
// [Packet.Hold] does not leave before
//
//	arrival + (target - delay)
//
// which is when it would have come by a link whose delay is the target. What is behind
// it in its flow waits, too. A hole in front of a packet that has to wait costs nothing,
// so it is not given up before that packet is due. To wait for less than half a
// millisecond is not worth a timer: what is due within that time goes at once. A repaired
// packet is due with the first packet behind it. When the window is full, the packet that
// is due first goes early, before any hole is given up. Packets without order, such as a
// SYN, can be held in the same way with [Buffer.Delay].
//
// Nothing is held for longer than MaxHold, be it for its time, a hole, a repair or
// packets before it.
//
// # Delays
//
// Delays are differences of two clocks and only differences between them count, so
// the clocks' offset cancels. Each link's delay is sampled every 4 ms at most. From
// the last 128 samples that are not older than 2 s, high(link) is the 90th
// percentile, or the average of about the last 8 packets (a filter of gain 1/8) if
// that is higher, so that a step up is followed within a few packets. Of a link with
// fewer than 32 samples, or silent for 2 s, the highest one counts: deadlines are for
// what certain loss does not tell, and to wait a few milliseconds too long costs a flow
// less than a packet out of order. An active link that never delivered anything is taken to be MaxHold slower than p for one second.
// Sessions avoid that by validating a link, which goes through [Buffer.Seen], before
// they make it active.
//
// # Cost
//
// A packet in order costs a table look-up. A held one costs a slot of a common pool,
// an entry in its flow's ring, and, when the hole at the head of its flow changes,
// O(log n) in two heaps of the n flows that have a hole. Nothing is allocated in the
// steady state. The pool has at most Window slots. Rings exist only for flows that
// hold packets and are taken from a common budget of 8 times Window entries of two
// bytes, beside 16 entries for each flow. What one packet can cost is bounded by the
// length of a ring, whatever the peer sends.
//
// # Limitations
//
// A link that reorders packets itself makes certain losses wrong: such packets are
// late. So are packets that are sent again under their old stamp, unless SetRepair makes
// time for them. Duplicates are known by their order alone: two copies of a packet that
// are given to Delay are both delivered.
package reorder
