// Package multilink is the root of the Multilink module. It holds no code, only
// this map and the tests that keep the module in shape.
//
// Multilink bonds several internet lines (ADSL, fibre, 4G, satellite) into one
// encrypted tunnel.
//
//   - [github.com/multilink-vpn/multilink/mlvpn] is the library's entry point: a
//     Client or a Server glues a TUN device to many links. It is the only package
//     that knows two of the others.
//   - [github.com/multilink-vpn/multilink/link] is the contract of a transport and
//     its implementations: UDP, any net.PacketConn, any byte stream. Its
//     subpackage linktest is the conformance suite for transports of your own, and
//     linksim a simulated network.
//   - [github.com/multilink-vpn/multilink/scheduler] chooses the path of each
//     packet; [github.com/multilink-vpn/multilink/reorder] puts them back in order.
//   - [github.com/multilink-vpn/multilink/crypto] has keys, the handshake and the
//     per-link sealers and openers.
//   - [github.com/multilink-vpn/multilink/tun] is the network device.
//
// The daemon is cmd/mlvpn. SPEC.md is the wire protocol, written for another
// implementer.
package multilink
