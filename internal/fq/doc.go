// Package fq is the queue in front of a scheduler: FlowQueue-CoDel (RFC 8290), which gives
// each flow a queue of its own, serves the queues by deficit round robin and keeps each of
// them short with CoDel (RFC 8289). It does no I/O, reads no clock and starts no goroutine.
//
// # Rounds
//
// A packet queue for one line hands out the packet that is to go next. With several lines
// that packet may have to wait for one of them while another would take the next flow's.
// So the caller looks before it takes:
//
//	q.Begin(now)
//	for {
//		v, ok := q.Head(now)
//		if !ok {
//			break
//		}
//		if path := choose(v); path != nil {
//			path.send(q.Take())
//		} else {
//			q.Skip()
//		}
//	}
//
// Head gives the head of the flow whose turn it is, Take removes it and charges the flow,
// Skip passes the flow over until the next Begin. A flow that was skipped keeps its place
// and its deficit, so that it loses nothing by waiting.
//
// # Order of service
//
// Within a class, a flow that was not queued goes before those that were until it has had
// its first quantum: sparse flows never wait behind bulky ones. All others take turns of a
// quantum in bytes. Every packet belongs to one of two classes, and the higher one goes
// first, but while a lower one waits, no more than 4 quanta of it in a row. A flow may have
// packets in both classes; they are two queues. Only packets of the same flow and class
// keep their order, so that a caller who wants the order of a flow kept asks with Queued
// whether it has packets in the other class.
//
// # Dropping
//
// CoDel looks at the head of a flow each time that Head does. When every head has been
// queued for longer than Target for an Interval, it drops one, or lets Config.Mark mark
// it (RFC 3168), and then more and more of them, at times that come closer with the square
// root of their number, until the sojourn time falls below Target. A flow of which no more
// than a packet's length would be left is spared. A flow whose head is looked at and
// skipped is treated as others are: its packets grow old just as much.
//
// When the queue is full, the flow with the most bytes pays for it: up to 64 packets, or
// half of its bytes, are dropped from its head. What has just arrived is dropped only if it
// is of that flow and among them.
//
// # Cost
//
// A queue without packets costs nothing beyond the Queue itself. Its memory grows with the
// packets, without one allocation per packet, and it is given back when for a second it was
// far more than needed, or with Shrink. All operations are O(1) on average, but Push into a
// full queue, which looks at every flow.
package fq
