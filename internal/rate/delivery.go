package rate

import "time"

// delivery measures delivery rates over pairs of reports.
type delivery struct {
	points [64]point
	n      int // of points ever added
}

type point struct {
	arrived, bytes uint32
	sent           time.Time
	offered        uint64
	idle           time.Duration
}

// add notes a report, and returns the rate at which datagrams arrived over the last
// given time, or a bit more, and the rate at which they had been sent, in bytes per
// second, and which share of the time the link had nothing to send then.
func (d *delivery) add(s Sample, over time.Duration) (rate, offered, idle float64, ok bool) {
	p := point{s.Arrived, s.Bytes, s.Sent, s.Offered, s.Idle}
	if d.n > 0 && p.bytes == d.at(d.n-1).bytes {
		return 0, 0, 0, false
	}
	d.points[d.n%len(d.points)] = p
	d.n++
	for i := d.n - 2; i >= 0 && i > d.n-len(d.points); i-- {
		from := d.at(i)
		took := time.Duration(p.arrived-from.arrived) * time.Microsecond
		if took < over && i > 0 && i > d.n-len(d.points)+1 {
			continue
		}
		if took <= 0 || took > time.Hour {
			return 0, 0, 0, false
		}
		if sending := p.sent.Sub(from.sent); sending > 0 {
			idle = float64(p.idle-from.idle) / float64(sending)
			offered = float64(p.offered-from.offered) / sending.Seconds()
			// What was sent in a burst and arrives in one tells nothing.
			took = max(took, sending*9/10)
		}
		return float64(p.bytes-from.bytes) / took.Seconds(), offered, idle, true
	}
	return 0, 0, 0, false
}

func (d *delivery) at(i int) *point { return &d.points[i%len(d.points)] }
