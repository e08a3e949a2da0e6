package mlvpn

import (
	"net/netip"
	"slices"
	"time"

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

// maxSources bounds the inner source addresses that are remembered of one session.
const maxSources = 1024

// admit reports whether a packet may come from this session: its source must be one of
// the peer's inner addresses. New sources are reported to the sender, which may have
// to send the answers here.
func (r *receiver) admit(s *Session, info *flow.Info, parsed bool, p *pathState, now time.Time) bool {
	ethernet := r.e.cfg.Ethernet
	if !parsed && (!ethernet || info.SrcMAC == [6]byte{}) { // no frame, or an empty one
		s.rx.count.notIP++
		return false
	}
	if len(s.allowed) > 0 && info.Version != 0 {
		if !slices.ContainsFunc(s.allowed, func(x netip.Prefix) bool { return x.Contains(info.Src) }) {
			s.rx.count.spoofed++
			return false
		}
	}
	from := sourceOf(info, ethernet)
	if from == s.rx.last || from.mac[0]&1 != 0 {
		return true // nothing new; nobody answers for a group
	}
	s.rx.last = from
	if _, known := s.rx.sources[from]; known || len(s.rx.sources) >= maxSources {
		return true
	}
	if s.rx.sources == nil {
		s.rx.sources = make(map[hostAddr]struct{})
	}
	s.rx.sources[from] = struct{}{}
	r.tell = append(r.tell, senderMsg{kind: msgLearned, path: p, learned: from, at: now})
	return true
}
