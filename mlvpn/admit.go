package mlvpn

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/multilink-vpn/multilink/internal/flow"
)

// A hostAddr is an inner host's address: of IP, or of Ethernet.
type hostAddr struct {
	ip  netip.Addr
	mac [6]byte
}

func sourceOf(info *flow.Info, ethernet bool) hostAddr {
	if ethernet {
		return hostAddr{mac: info.SrcMAC}
	}
	return hostAddr{ip: info.Src}
}

func destinationOf(info *flow.Info, ethernet bool) hostAddr {
	if ethernet {
		return hostAddr{mac: info.DstMAC}
	}
	return hostAddr{ip: info.Dst}
}

// maxHosts bounds the inner hosts that are remembered of one session.
const maxHosts = 1024

// minFrame is the length of an Ethernet header.
const minFrame = 14

// admit reports whether a packet may come from this session: its source must be one of
// the peer's inner addresses.
func (r *receiver) admit(p *pathState, info *flow.Info, parsed bool, size int) bool {
	s := p.epoch.session
	ethernet := r.e.cfg.Ethernet
	if ethernet && size < minFrame || !ethernet && !parsed {
		s.rx.count.malformed++
		return false
	}
	if len(s.allowed) > 0 && info.Version != 0 {
		if !slices.ContainsFunc(s.allowed, func(x netip.Prefix) bool { return x.Contains(info.Src) }) {
			s.rx.count.spoofed++
			return false
		}
	}
	// A client known by key that has a list of prefixes has said all there is to know.
	if r.e.learn && (ethernet || len(s.allowed) == 0) {
		r.learn(p, sourceOf(info, ethernet))
	}
	return true
}

// learn remembers that a host is behind a session now, and tells the sender, which may
// have packets for it.
func (r *receiver) learn(p *pathState, host hostAddr) {
	s := p.epoch.session
	if host == s.rx.last || host.mac[0]&1 != 0 {
		return // nothing new; nobody answers for a group
	}
	s.rx.last = host
	was := r.hosts[host]
	if was == s || s.rx.hosts >= maxHosts {
		return
	}
	if was != nil {
		was.rx.hosts--
		was.rx.last = hostAddr{} // so that it is noticed when the host moves back
	}
	s.rx.hosts++
	r.hosts[host] = s
	r.tell = append(r.tell, senderMsg{kind: msgLearned, path: p, learned: host})
}

// forget is told that a session has ended.
func (r *receiver) forget(s *Session) {
	if s.rx.hosts > 0 {
		maps.DeleteFunc(r.hosts, func(_ hostAddr, x *Session) bool { return x == s })
	}
}
