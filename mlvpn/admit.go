package mlvpn

import (
	"maps"
	"net/netip"

	"github.com/multilink-vpn/multilink/internal/flow"
)

// maxHosts bounds the inner hosts that are remembered of one session.
const maxHosts = 1024

// minFrame is the length of an Ethernet header.
const minFrame = 14

// admit reports whether a packet may come from this session: its source must be one of
// the peer's inner addresses, and its destination one of this end's.
func (r *receiver) admit(p *pathState, info *flow.Info, parsed bool, size int) bool {
	s := p.epoch.session
	ethernet := r.e.cfg.Ethernet
	if ethernet && size < minFrame || !ethernet && !parsed {
		s.rx.count.malformed++
		return false
	}
	if info.Version != 0 {
		if !ethernet && martian(info) || !r.mayUse(s, info.Src) {
			s.rx.count.spoofed++
			return false
		}
		if !ethernet && !r.e.guard.arrives(info) {
			s.rx.count.strayed++
			return false
		}
	}
	// A client known by key that has a list of prefixes has said all there is to know.
	if r.e.learn && !ethernet && (s.owner == nil || s.owner.open) {
		r.learn(p, info.Src)
	}
	return true
}

// learn remembers that a host is behind a session now, and tells the sender, which may
// have packets for it.
func (r *receiver) learn(p *pathState, host netip.Addr) {
	s := p.epoch.session
	if host == s.rx.last {
		return
	}
	s.rx.last = host
	was := r.hosts[host]
	if was == s || s.rx.hosts >= maxHosts {
		return
	}
	if was != nil {
		was.rx.hosts--
		was.rx.last = netip.Addr{} // so that it is noticed when the host moves back
	}
	s.rx.hosts++
	r.hosts[host] = s
	r.tell = append(r.tell, senderMsg{kind: msgLearned, path: p, learned: host})
}

// forget forgets which hosts are behind a session.
func (r *receiver) forget(s *Session) {
	if s.rx.hosts > 0 {
		maps.DeleteFunc(r.hosts, func(_ netip.Addr, x *Session) bool { return x == s })
	}
	s.rx.hosts, s.rx.last = 0, netip.Addr{}
	if r.e.bridge != nil {
		r.e.bridge.forget(s)
	}
}
