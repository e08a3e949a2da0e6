// Package tcpmodel has a TCP sender and a TCP receiver that behave as Linux's do where
// it matters to a tunnel: what they make of loss, delay and reordering. They move no
// data; a segment is a struct, and can be rendered into a real packet of the right size
// with valid headers.
//
// A connection carries bytes one way, from a [Sender] to a [Receiver]. Both are sans-I/O:
// they have no goroutine and no clock. Every method that takes now takes the time since
// an epoch of the caller's choice, the same for both ends, and now may not decrease from
// call to call. After Input and when Next says so, Poll does what is due. The same calls
// give the same results everywhere.
//
// What is modelled:
//
//   - the handshake, with MSS, window scale, SACK and timestamps (RFC 9293, RFC 7323);
//   - selective acknowledgement and duplicate SACK (RFC 2018, RFC 2883), immediate,
//     delayed and compressed acknowledgements, receive buffer auto-tuning;
//   - RACK-TLP with its adaptive reordering window (RFC 8985), retransmission timeouts
//     (RFC 6298, with Linux's 200 ms under the variation), F-RTO (RFC 5682), undo by
//     timestamps and by DSACK (RFC 3522, RFC 3708), proportional rate reduction
//     (RFC 6937);
//   - CUBIC (RFC 9438) with Linux's HyStart, or with HyStart++ (RFC 9406), and BBR
//     version 1 (Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue
//     14(5), 2016; draft-cardwell-iccrg-bbr-congestion-control-00) on delivery rate
//     samples (draft-cheng-iccrg-delivery-rate-estimation-00).
//
// What is not: connection teardown, urgent data, ECN, middleboxes' options, SACK
// reneging, a receiver that reads slowly, and segmentation offload beyond the size of the
// bursts that it makes.
//
// Values of this package are not safe for concurrent use.
package tcpmodel
