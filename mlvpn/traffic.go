package mlvpn

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// traffic counts what a link, or all links of a socket or listener, have carried since
// they were added, whatever session it was for, and handshakes included. It outlives
// keys, sessions and transports.
type traffic struct {
	sent, received volume
}

func newTraffic() *traffic { return new(traffic) }

// volume counts datagrams. One goroutine adds, any may read.
type volume struct{ packets, bytes atomic.Uint64 }

func (v *volume) addPackets(pkts [][]byte) {
	n := 0
	for _, p := range pkts {
		n += len(p)
	}
	v.add(len(pkts), n)
}

func (v *volume) addSizes(sizes []int) {
	n := 0
	for _, size := range sizes {
		n += size
	}
	v.add(len(sizes), n)
}

func (v *volume) add(packets, bytes int) {
	if packets > 0 {
		v.packets.Add(uint64(packets))
		v.bytes.Add(uint64(bytes))
	}
}

// PortTraffic is what one link of a Client, or one socket or listener of a Server, has
// carried since it was added. Unlike LinkStats it counts on over handshakes and over
// ReplaceLink, and counts every datagram that the transport took or brought, the
// transport's own headers not included.
type PortTraffic struct {
	Name                           string
	SentPackets, SentBytes         uint64
	ReceivedPackets, ReceivedBytes uint64
}

// Traffic returns what each link has carried, by name. It can be asked after Run, too.
func (c *Client) Traffic() []PortTraffic { return c.e.traffic() }

// Traffic returns what each socket and listener has carried, by name. It can be asked
// after Run, too.
func (v *Server) Traffic() []PortTraffic { return v.e.traffic() }

// Traffic returns what each link or socket has carried, by name.
func (l *Legacy) Traffic() []PortTraffic { return l.e.traffic() }

func (e *engine) traffic() []PortTraffic {
	e.life.mu.Lock()
	defer e.life.mu.Unlock()
	out := make([]PortTraffic, 0, len(e.life.carried))
	for t, name := range e.life.carried {
		out = append(out, PortTraffic{
			Name:            name,
			SentPackets:     t.sent.packets.Load(),
			SentBytes:       t.sent.bytes.Load(),
			ReceivedPackets: t.received.packets.Load(),
			ReceivedBytes:   t.received.bytes.Load(),
		})
	}
	slices.SortFunc(out, func(a, b PortTraffic) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
