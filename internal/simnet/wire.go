package simnet

import (
	"math"
	"time"

	"github.com/multilink-vpn/multilink/link/linksim"
)

// never is the time of something that does not happen.
const never = time.Duration(math.MaxInt64)

// A wire is one direction of a line: what it has taken and not yet delivered.
type wire struct {
	line  *linksim.Line
	spare int // bytes that the tunnel's datagrams may be longer than UDP's, for want of its headers
	stats linksim.Stats

	// A ring, in order of arrival.
	ring  []transit
	first int
	n     int
}

// transit is a datagram on its way. line is the line on which it was sent, which is not
// the wire's own if lines share it.
type transit struct {
	due  time.Duration
	line int
	data []byte
}

func newWire(p linksim.Profile, overhead int, seed, stream uint64) *wire {
	if p.Overhead == 0 {
		p.Overhead = overhead
	}
	return &wire{
		line:  linksim.NewLine(p, seed, stream),
		spare: linksim.OverheadUDP4 - overhead,
		ring:  make([]transit, 64),
	}
}

func (w *wire) next() time.Duration {
	if w.n == 0 {
		return never
	}
	return w.ring[w.first].due
}

// push sends a datagram. The wire copies it.
func (w *wire) push(now time.Duration, line int, data []byte, pool *pool) {
	w.stats.Sent++
	w.stats.Bytes += uint64(len(data))
	mtu := w.line.Profile().MTU
	if mtu == 0 {
		mtu = linksim.DefaultMTU
	}
	if len(data) > mtu+w.spare {
		w.stats.Swallowed++ // a router that fragments nothing and says nothing
		return
	}
	fate := w.line.Push(epoch.Add(now), len(data))
	switch fate.Verdict {
	case linksim.Lost:
		w.stats.Lost++
	case linksim.QueueFull:
		w.stats.QueueDropped++
	case linksim.Swallowed:
		w.stats.Swallowed++
	}
	w.stats.Duplicated += uint64(max(0, fate.Copies-1))
	for _, due := range fate.Due[:fate.Copies] {
		w.insert(transit{due: due.Sub(epoch), line: line, data: pool.copyOf(data)})
	}
}

// insert keeps the ring sorted. Only what is reordered goes far.
func (w *wire) insert(t transit) {
	if w.n == len(w.ring) {
		grown := make([]transit, 2*w.n)
		for i := range w.n {
			grown[i] = *w.at(i)
		}
		w.ring, w.first = grown, 0
	}
	w.n++
	i := w.n - 1
	for ; i > 0 && w.at(i-1).due > t.due; i-- {
		*w.at(i) = *w.at(i - 1)
	}
	*w.at(i) = t
}

func (w *wire) at(i int) *transit { return &w.ring[(w.first+i)&(len(w.ring)-1)] }

// take removes the datagram that arrives first.
func (w *wire) take() transit {
	t := w.ring[w.first]
	w.ring[w.first].data = nil
	w.first = (w.first + 1) & (len(w.ring) - 1)
	w.n--
	w.stats.Delivered++
	w.stats.DeliveredBytes += uint64(len(t.data))
	return t
}

// A pool keeps buffers for reuse.
type pool struct{ free [][]byte }

func (p *pool) copyOf(data []byte) []byte {
	var b []byte
	if n := len(p.free); n > 0 {
		b, p.free = p.free[n-1][:0], p.free[:n-1]
	} else {
		b = make([]byte, 0, 2048)
	}
	return append(b, data...)
}

func (p *pool) put(b []byte) { p.free = append(p.free, b) }
