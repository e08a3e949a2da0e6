package link

import "errors"

// A way is how the packets of a socket are to leave the host, whatever its protocol:
// by an interface, with a mark, by a routing table. Its method set, which each system
// has its own of, applies it to a socket that is not bound yet.
type way struct {
	iface string
	mark  uint32
	table int
}

var errNoTable = errors.New("this system cannot choose a routing table or a mark for a socket: bind to an interface or an address instead")
