package flow

// Bulky is the length in bytes of an IP packet from which on a UDP packet counts as
// part of a bulk transfer, such as QUIC or an inner tunnel. A shorter one counts as
// interactive: DNS, voice, games, acknowledgements.
const Bulky = 300

// dscpClassSelector5 is the lowest DSCP that asks for low delay: CS5 (RFC 2474), EF
// (RFC 3246), VOICE-ADMIT (RFC 5865), CS6, CS7.
const dscpClassSelector5 = 40

// Ordered reports whether the receiver of the packet gains from getting it in its
// flow's order: TCP segments with payload or FIN, and other IP packets of at least
// Bulky bytes and all fragments, ICMP excepted. A pure ACK, SYN or RST is not
// ordered, since another path may bring it earlier and nothing is lost by that.
func (f *Info) Ordered() bool {
	switch {
	case f.Version == 0 || f.Protocol == ProtocolICMP || f.Protocol == ProtocolICMPv6:
		return false
	case f.Fragment:
		return true
	case f.Protocol == ProtocolTCP:
		return f.Payload > 0 || f.TCPFlags&FIN != 0
	}
	return f.Length >= Bulky
}

// Interactive reports whether delay matters more to the packet than throughput:
// ICMP, DNS (ports 53 and 853), TCP segments with SYN, RST or nothing but an ACK,
// other IP packets shorter than Bulky, whatever has a DSCP of EF or CS5 and above,
// and frames that hold no IP packet (ARP).
//
// A packet can be both Ordered and Interactive.
func (f *Info) Interactive() bool {
	switch {
	case f.Version == 0 || f.Protocol == ProtocolICMP || f.Protocol == ProtocolICMPv6:
		return true
	case f.DSCP >= dscpClassSelector5:
		return true
	case f.Fragment:
		return false
	case isDNS(f.SrcPort) || isDNS(f.DstPort):
		return true
	case f.Protocol == ProtocolTCP:
		return f.TCPFlags&SYN != 0 || f.Payload == 0 && f.TCPFlags&(ACK|RST) != 0 && f.TCPFlags&FIN == 0
	}
	return f.Length < Bulky
}

// Steady reports whether the packet belongs to a flow whose congestion control may use
// the capacity of several paths at once, and suffers if their delays differ: a TCP
// segment that is ordered or opens the connection, and the larger packets of QUIC (UDP
// port 443).
func (f *Info) Steady() bool {
	switch f.Protocol {
	case ProtocolTCP:
		return !f.Fragment && (f.Ordered() || f.TCPFlags&SYN != 0)
	case ProtocolUDP:
		return !f.Fragment && f.Length >= Bulky && (f.SrcPort == 443 || f.DstPort == 443)
	}
	return false
}

func isDNS(port uint16) bool { return port == 53 || port == 853 }
