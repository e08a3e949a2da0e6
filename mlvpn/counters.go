package mlvpn

import "time"

// Counters of everything that passes or is dropped, each owned like the struct that
// holds it. Stats turns them into its exported form.

type senderCounters struct {
	noRoute  uint64 // packets from the device that no session takes
	replays  uint64 // INITs seen before
	flooded  uint64 // INITs beyond what the worker can deal with
	computed uint64 // INITs that it has dealt with
	rekeys   uint64 // attempts of clients to replace keys that it has
	refused  uint64 // handshakes that were not authentic or not allowed
}

type sessionSendCounters struct {
	queueFull uint64
	delayed   uint64 // dropped by CoDel
	marked    uint64 // by CoDel
	ruled     uint64 // dropped by a rule
	noLink    uint64
	rekeys    uint64
	tooLarge  uint64
}

type sendCounters struct {
	packets  uint64
	bytes    uint64
	control  uint64
	refused  uint64 // the link stayed full
	tooLarge uint64
	failed   uint64 // the link returned another error
	lost     uint64 // datagrams that the peer reported missing
	spurious uint64 // of these, how many came after all
}

type repairCounters struct {
	repaired uint64 // packets sent again
	copied   uint64 // small packets sent twice
	late     uint64 // packets known to be lost and not sent again: it was too late
}

type receiverCounters struct {
	malformed    uint64
	unknown      uint64 // receiver index of no path
	unauthentic  uint64
	replayed     uint64
	badMAC       uint64
	flooded      uint64
	delivered    uint64
	deviceErrors uint64
	refusedLog   time.Time
}

type receiveCounters struct {
	datagrams   uint64
	bytes       uint64
	replayed    uint64
	unauthentic uint64
	skipped     uint64 // frames of unknown type
	excess      uint64 // datagrams whose control messages were dropped for their rate
}

type sessionReceiveCounters struct {
	malformed uint64 // neither IP packets nor Ethernet frames
	spoofed   uint64 // inner source address that the peer may not use
	strayed   uint64 // inner destination address that is not this end's
}
