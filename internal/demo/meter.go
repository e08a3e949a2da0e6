package demo

import "time"

// A sample is what has arrived at the client by a point in time.
type sample struct {
	at    time.Time
	tcp   int64    // bytes read from TCP
	lines []uint64 // bytes that came out of each line, headers of IP and UDP included
}

// take reads the counters. Those of the lines are the simulator's, not the tunnel's.
func take(t *tunnel, x *transfer) sample {
	s := sample{at: time.Now(), tcp: x.received.Load(), lines: make([]uint64, len(t.lines))}
	for i, l := range t.lines {
		st := l.ReceiveStats()
		s.lines[i] = st.DeliveredBytes + ipUDP*st.Delivered
	}
	return s
}

// rates are averages between two samples, in Mbit/s.
type rates struct {
	tcp   float64
	lines []float64
}

// since returns the rates between an earlier sample and s.
func (s sample) since(from sample) rates {
	r := rates{lines: make([]float64, len(s.lines))}
	seconds := s.at.Sub(from.at).Seconds()
	if seconds <= 0 {
		return r
	}
	r.tcp = float64(s.tcp-from.tcp) * 8 / 1e6 / seconds
	for i := range s.lines {
		r.lines[i] = float64(s.lines[i]-from.lines[i]) * 8 / 1e6 / seconds
	}
	return r
}

// shares returns each line's part of what came over all lines, relative to its part
// of the sum of their capacities: 1 is proportional.
func (r rates) shares(specs []lineSpec) []float64 {
	total := 0.0
	for _, x := range r.lines {
		total += x
	}
	out := make([]float64, len(r.lines))
	if total == 0 {
		return out
	}
	for i, x := range r.lines {
		out[i] = x / total / (specs[i].down / sum(specs))
	}
	return out
}

// A window remembers the samples of the last moments.
type window struct {
	length  time.Duration
	samples []sample
}

// add appends s, forgets what is too old and returns the rates over the window.
func (w *window) add(s sample) rates {
	w.samples = append(w.samples, s)
	first := 0
	for first < len(w.samples)-2 && s.at.Sub(w.samples[first+1].at) >= w.length {
		first++
	}
	w.samples = append(w.samples[:0], w.samples[first:]...)
	return s.since(w.samples[0])
}
