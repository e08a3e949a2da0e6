// Package feedback is what both ends of a link do about acknowledgement: a Recorder
// notes what arrives and says so in reports, a Ledger remembers what was sent until a
// report tells its fate. They are leaves without I/O, clock or log; one goroutine uses
// each.
//
// The packet number that protects a datagram is also its sequence number, one space
// per link, direction and epoch, so that every gap is a datagram lost, or overtaken, on
// that link. A report carries the newest numbers as runs of received and missing ones
// (compare the ACK frame of RFC 9000, section 19.3), the bytes received and when, and
// one-way delays. Reports repeat what they said before, so that none is needed.
package feedback
