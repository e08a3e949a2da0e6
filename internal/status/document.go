// Package status publishes the state of a daemon: as a JSON document with the field
// names of MLVPN's and more, and as metrics for Prometheus, over HTTP and over a Unix
// socket.
//
// It only ever reads. The Unix socket is for its owner and root; who can reach the TCP
// port can read everything that is published, which holds no secret. Requests over TCP
// must name the host by an address or by a name that it is known by, so that a web page
// cannot read the state through its visitor's browser (DNS rebinding).
package status

import "encoding/json"

// A Document is the state of a daemon.
type Document struct {
	// MLVPN's fields. As there, Uptime is when the daemon was started, and it and
	// LastReload are seconds since 1970.
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Uptime     int64    `json:"uptime"`
	LastReload int64    `json:"last_reload"`
	PID        int      `json:"pid"`
	Tuntap     Tuntap   `json:"tuntap"`
	Tunnels    []Tunnel `json:"tunnels"`

	// Our own.
	Mode          string          `json:"mode"`
	Config        string          `json:"config"`
	Reloads       int             `json:"reloads"`
	UptimeSeconds int64           `json:"uptime_seconds"`
	Sessions      []Session       `json:"sessions"`
	Detail        json.RawMessage `json:"detail"` // everything that is known, for people
}

// Tuntap is the tunnel's device.
type Tuntap struct {
	Type string `json:"type"` // "tun" or "tap"
	Name string `json:"name"`
}

// A Tunnel is a link: MLVPN's word for it. A server has one for each client and link,
// and one for each section that nobody uses.
type Tunnel struct {
	// MLVPN's fields. SRTT is in milliseconds, Loss in per cent, Bandwidth in bytes per
	// second, LastPacket in seconds since 1970, Timeout in seconds.
	Name        string `json:"name"`
	Mode        string `json:"mode"` // "client" or "server"
	BindAddr    string `json:"bindaddr"`
	BindPort    string `json:"bindport"`
	DestAddr    string `json:"destaddr"`
	DestPort    string `json:"destport"`
	Status      string `json:"status"` // one of the Link constants
	SentPackets uint64 `json:"sentpackets"`
	RecvPackets uint64 `json:"recvpackets"`
	SentBytes   uint64 `json:"sentbytes"`
	RecvBytes   uint64 `json:"recvbytes"`
	Bandwidth   uint64 `json:"bandwidth"`
	SRTT        uint64 `json:"srtt"`
	Loss        uint64 `json:"loss"`
	Disconnects uint64 `json:"disconnects"`
	LastPacket  int64  `json:"last_packet"`
	Timeout     uint64 `json:"timeout"`

	// Our own.
	Peer        string  `json:"peer"`
	Transport   string  `json:"transport"`
	MTU         int     `json:"mtu"`         // largest datagram, in bytes
	RTT         float64 `json:"rtt_seconds"` // smoothed
	LossRatio   float64 `json:"loss_ratio"`
	SendRate    float64 `json:"send_rate"`    // in bytes per second
	ReceiveRate float64 `json:"receive_rate"` // in bytes per second
	Cost        int     `json:"cost"`
	Fallback    bool    `json:"fallback"`
	Overflow    bool    `json:"overflow"`
	Quota       *Quota  `json:"quota,omitempty"`

	// What is measured of the direction of sending, see Measured.
	Measured *Measured `json:"measured,omitempty"`
}

// Measured is what a link's sender knows from its receiver's reports. Rates are in bytes per
// second.
type Measured struct {
	Capacity  uint64  `json:"capacity"`
	Found     bool    `json:"found"` // the link has been full once, so Capacity is no guess
	Pace      uint64  `json:"pace"`  // 0 is unpaced
	Queue     float64 `json:"queue_seconds"`
	Delay     float64 `json:"delay_seconds"` // one way, above that of the quickest link
	Equal     bool    `json:"equal"`         // its delay is evened out with that of others
	Datagrams uint64  `json:"datagrams"`     // sent, of all kinds
	Lost      uint64  `json:"lost"`          // of these, reported missing
	Spurious  uint64  `json:"spurious"`      // of these, came after all
}

// LossRatio is the part of the datagrams that were lost, before any repair.
func (m *Measured) LossRatio() float64 { return ratio(m.Lost-min(m.Spurious, m.Lost), m.Datagrams) }

func ratio(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return min(float64(part)/float64(whole), 1)
}

// A Quota is what a link may carry, and has, in bytes. 0 is no limit.
type Quota struct {
	Day       uint64 `json:"day"`
	DayUsed   uint64 `json:"day_used"`
	Month     uint64 `json:"month"`
	MonthUsed uint64 `json:"month_used"`
	Spent     bool   `json:"spent"`
}

// MLVPN's words for the state of a link.
const (
	LinkDown    = "disconnected"
	LinkWaiting = "waiting peer"
	LinkUp      = "connected"
	LinkLossy   = "lossy link"
	LinkSlow    = "slow link"
)

// A Session is a tunnel with one peer.
type Session struct {
	Peer   string `json:"peer"`
	Up     bool   `json:"up"`
	Cipher string `json:"cipher"`
	Legacy bool   `json:"legacy,omitempty"` // it speaks the protocol of the C MLVPN
	Queued int    `json:"queued"`           // packets

	// Of what is sent.
	Repaired   uint64  `json:"repaired"` // lost packets that were sent again
	Copied     uint64  `json:"copied"`   // small packets sent twice in case one is lost
	GaveUp     uint64  `json:"gave_up"`  // lost packets that were not sent again
	Hold       float64 `json:"hold_seconds"`
	RepairWait float64 `json:"repair_wait_seconds"`
	Limited    Limits  `json:"limited_seconds"`        // since the session began
	Lately     Limits  `json:"limited_lately_seconds"` // of about the last 10 s

	// Of what is received.
	Delivered  uint64  `json:"received_in_order"`    // packets
	Held       uint64  `json:"received_held"`        // packets that had to wait for others
	HoldMedian float64 `json:"received_hold_median"` // in seconds, of those
	HoldP99    float64 `json:"received_hold_p99"`    // in seconds, of those
	Late       uint64  `json:"received_late"`        // packets out of order
	Missed     uint64  `json:"received_missed"`      // packets given up, some of which came late
	Restored   uint64  `json:"received_repaired"`    // packets that a repair brought in time
}

// Limits is for how long a session could not send more, in seconds, by the reason.
type Limits struct {
	Application float64 `json:"application"` // nothing waited to be sent
	Pacing      float64 `json:"pacing"`      // the links were full, as far as is known
	Link        float64 `json:"link"`        // this host could not send
	Reordering  float64 `json:"reordering"`  // packets were kept for quicker links
	Down        float64 `json:"down"`        // no link worked
}

func (l *Limits) sum() float64 {
	return l.Application + l.Pacing + l.Link + l.Reordering + l.Down
}

// mark is MLVPN's sign for the state of a link in the title of its process.
func mark(state string) string {
	switch state {
	case LinkUp:
		return "@"
	case LinkLossy, LinkSlow:
		return "~"
	}
	return "!"
}

// Title returns what MLVPN shows as the title of its process: each link with a sign for
// its state, @ for up, ~ for lossy or slow, ! for down. Of links with one name, the best
// counts.
func Title(links []Tunnel) string {
	var names []string
	best := make(map[string]string)
	for _, l := range links {
		is := mark(l.Status)
		was, known := best[l.Name]
		if !known {
			names = append(names, l.Name)
		}
		if !known || is == "@" || is == "~" && was == "!" {
			best[l.Name] = is
		}
	}
	title := ""
	for i, name := range names {
		if i > 0 {
			title += " "
		}
		title += best[name] + name
	}
	return title
}
