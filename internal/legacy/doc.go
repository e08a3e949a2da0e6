// Package legacy is the wire protocol of MLVPN, version 1: what the C daemon speaks.
//
// It exists so that a tunnel can be upgraded one end at a time. The protocol has no
// replay protection, one key for both directions, a header that is not authenticated
// but for two numbers, and no keys of limited life. What one end alone can do about it
// is done here: numbers that never repeat ([NewOutgoing]), no packet believed that is
// our own, old, or of a flow that took another's place while that was alive ([Incoming]).
// What remains: packets recorded from an earlier run of this end can be played back to
// it, the C end believes anything old, and with cleartext data everybody on the way
// reads it and can forge it from the peer's address.
//
// # Datagram
//
// A header of 28 bytes and a body. All numbers are big-endian, except for the second
// field, a bit-field as the compiler laid it out on x86:
//
//	offset  size
//	0       2     length of the body
//	2       2     little-endian: version (4 bits), type (6), reorder (1), unused (5)
//	4       2     timestamp, ms modulo 65536; 65535 is sent as 0
//	6       2     the peer's timestamp plus the time since it came, or 65535: none
//	8       4     flow: drawn at random by the sender, one for each link
//	12      8     sequence number in the flow, of packets of all types
//	20      8     sequence number of data over all links; 0 in packets of other types
//
// The body is a NaCl secretbox (XSalsa20 and Poly1305) under the unkeyed BLAKE2b-256 of
// the password, with the nonce sequence (8 bytes, little-endian), flow (4 bytes,
// little-endian), 12 zero bytes. Data is in clear if both ends are configured so.
//
// The types of this package are used by one goroutine at a time, do no I/O and read no
// clock.
package legacy
