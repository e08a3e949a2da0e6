package daemon

import (
	"github.com/multilink-vpn/multilink/internal/status"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// sessionStatus is what is published of a session.
func sessionStatus(s *mlvpn.SessionStats) status.Session {
	r := &s.Reorder
	return status.Session{
		Peer: s.Peer, Up: s.Up, Cipher: s.Cipher, Legacy: s.Legacy, Queued: s.Queued,

		Repaired: s.Repaired, Copied: s.Copied, GaveUp: s.GaveUp,
		Hold: s.Hold.Seconds(), RepairWait: s.RepairWait.Seconds(),
		Limited: limits(&s.Limited), Lately: limits(&s.LimitedLately),

		Delivered: r.Delivered, Held: r.Held, Late: r.Late, Restored: r.Repaired,
		Missed:     r.LostCertain + r.LostDeadline + r.LostWindow + r.LostFlush,
		HoldMedian: r.HoldQuantile(0.5).Seconds(), HoldP99: r.HoldQuantile(0.99).Seconds(),
	}
}

func limits(l *mlvpn.Limits) status.Limits {
	return status.Limits{
		Application: l.Application.Seconds(),
		Pacing:      l.Pacing.Seconds(),
		Link:        l.Link.Seconds(),
		Reordering:  l.Reordering.Seconds(),
		Down:        l.Down.Seconds(),
	}
}

// measuredStatus is what is published of a link's measurements, nil if there are none.
func measuredStatus(x *mlvpn.LinkStats) *status.Measured {
	if x.Capacity == 0 {
		return nil
	}
	return &status.Measured{
		Capacity: x.Capacity, Found: x.Found, Pace: x.Pace,
		Queue: x.LinkQueue.Seconds(), Delay: x.Delay.Seconds(), Equal: x.Equal,
		Datagrams: x.Datagrams, Lost: x.Lost, Spurious: x.Spurious,
	}
}
