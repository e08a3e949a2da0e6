// Package crypto has the keys of ML/1, its handshake, and the sealers and openers
// that protect each link. SPEC.md gives the exact construction.
//
// # Modes
//
// In keys mode both sides have a key pair and know, or look up, the other's public
// key: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s, the pattern of WireGuard. In password
// mode both have one password: Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s.
//
// # From handshake to packets
//
// An [Initiator] and a [Responder] exchange two messages and each end up with the same
// [Secrets]. From these come one [Sealer] and one [Opener] per link and epoch; no two
// links, directions or epochs share a key, so that each has a packet number space and
// a replay window of its own.
//
// Nothing here keeps time, starts a goroutine, logs or touches the network. Values are
// for use by one goroutine at a time, unless said otherwise.
//
// # Limitations
//
// A password is not a PAKE: whoever sees one handshake can test guesses offline, and
// whoever knows the password can pass for either side. There is no post-quantum key
// agreement; a preshared key protects against a later one. Memory is wiped where Go
// allows it, which is not everywhere.
package crypto
