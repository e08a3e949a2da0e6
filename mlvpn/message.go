package mlvpn

import (
	"net/netip"
	"time"

	"github.com/multilink-vpn/multilink/internal/legacy"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
)

// senderMsg tells the sender what happened elsewhere.
type senderMsg struct {
	kind msgKind
	path *pathState // the authenticated origin, for msgHeard to msgLearned
	port *port
	addr link.Addr
	at   time.Time

	size   int  // of the datagram, in the first message about it; else 0
	newest bool // no later one of the path has arrived before

	ping     wire.Ping
	pong     wire.Pong
	info     wire.PathInfo
	closing  wire.Close
	proof    wire.Proof
	rekey    wire.Rekey // owns its Noise message
	keys     *keys      // msgProved
	received uint32     // msgPing: what the answer will say; msgReport: new packets; msgLegacy: see control
	highest  uint32
	legacy   legacy.Header
	learned  netip.Addr

	data []byte  // msgHandshake, msgRetry: the datagram, owned by the message
	body *[]byte // msgReport and msgFeedback: of engine.bodies

	urgent bool // msgReport: something is missing
	call   func(now time.Time)
	err    error
}

type msgKind uint8

const (
	msgCall      msgKind = iota // run call
	msgHandshake                // a handshake datagram
	msgRetry                    // a RETRY to send
	msgPortGone                 // a port's reader has ended
	msgHeard                    // a path's first packet, or a new address of it
	msgPing
	msgPong
	msgInfo
	msgClose
	msgRekey
	msgChallenge
	msgResponse
	msgLegacy   // any packet of MLVPN's protocol
	msgProved   // the first datagram under keys
	msgLearned  // an inner source address not seen before
	msgReport   // a report that this end owes its peer
	msgFeedback // a report by the peer
)
