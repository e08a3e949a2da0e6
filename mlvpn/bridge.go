package mlvpn

import (
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/internal/bridge"
	"github.com/multilink-vpn/multilink/tun"
)

// A bridging makes a server with a TAP device a learning bridge, whose ports are the
// device and the clients. A frame for a station that was seen goes to its port only; one
// for an unknown station, or for a group, goes to all but the one that it came by.
//
// The sender has the frames from the device, the receiver those from clients, and both
// need the one table: so it has a lock. Frames from one client to another pass from the
// receiver to the sender here.
type bridging struct {
	mu       sync.Mutex // guards the following
	stations *bridge.Table[*Session]
	frames   []relayed
	free     [][]byte // buffers for more
	dropped  uint64   // frames from client to client that found no room
}

// A relayed is a frame on its way from one client to others: in a buffer of the sender's
// size, behind tun.Headroom bytes.
type relayed struct {
	from *Session
	buf  []byte
}

// maxRelayed bounds the frames that wait to be relayed.
const maxRelayed = 256

// device is the port of frames that do not come from a client.
var device *Session

func newBridging() *bridging {
	return &bridging{stations: bridge.New[*Session](bridge.Config{})}
}

func destinationMAC(frame []byte) bridge.Addr { return bridge.Addr(frame[:6]) }
func sourceMAC(frame []byte) bridge.Addr      { return bridge.Addr(frame[6:12]) }

// fromDevice is told of a frame from the device and returns the client that has the
// station it is for, or nil if it is for all.
func (b *bridging) fromDevice(now time.Time, from, to bridge.Addr) *Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stations.Learn(now, from, device)
	s, _ := b.stations.Lookup(now, to)
	return s
}

// fromClient is told of a frame from a client, keeps a copy if it is for other clients,
// and reports whether it is for the device. size is that of the sender's buffers.
func (b *bridging) fromClient(now time.Time, s *Session, frame []byte, size int) (toDevice bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	to := destinationMAC(frame)
	b.stations.Learn(now, sourceMAC(frame), s)
	if to.Reserved() {
		return true
	}
	at, known := b.stations.Lookup(now, to)
	switch {
	case known && at == device:
		return true
	case known && at == s:
		return false // they have found each other already
	case !known && !s.rx.floods.take(now):
		b.dropped++
		return true
	}
	b.relay(s, frame, size)
	return !known
}

// relay keeps a copy of a frame for the sender.
func (b *bridging) relay(s *Session, frame []byte, size int) {
	if len(b.frames) == maxRelayed || tun.Headroom+len(frame) > size {
		b.dropped++
		return
	}
	var buf []byte
	if n := len(b.free); n > 0 {
		buf, b.free = b.free[n-1], b.free[:n-1]
	} else {
		buf = make([]byte, size)
	}
	n := copy(buf[tun.Headroom:], frame)
	b.frames = append(b.frames, relayed{s, buf[:tun.Headroom+n]})
}

// waiting reports whether frames wait for the sender.
func (b *bridging) waiting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.frames) > 0
}

// take returns the frames that wait, and keeps spare, the previous result, for reuse. The
// caller owns their buffers.
func (b *bridging) take(spare []relayed) []relayed {
	clear(spare)
	b.mu.Lock()
	defer b.mu.Unlock()
	frames := b.frames
	b.frames = spare[:0]
	return frames
}

// give hands buffers back in the place of those that take returned.
func (b *bridging) give(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.free) < maxRelayed {
		b.free = append(b.free, buf)
	}
}

// forget is told that a session has ended.
func (b *bridging) forget(s *Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stations.Forget(s)
}

// lookup returns where a station is.
func (b *bridging) lookup(now time.Time, a bridge.Addr) (*Session, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stations.Lookup(now, a)
}

// A floodLimit bounds the frames of one client that go to all others: each costs as much
// as there are clients.
type floodLimit struct {
	used float64 // of floodBurst
	at   time.Time
}

const (
	floodRate  = 1000 // frames per second
	floodBurst = 1000
)

// take reports whether one more frame may go to all, and counts it.
func (l *floodLimit) take(now time.Time) bool {
	l.used = max(0, l.used-floodRate*now.Sub(l.at).Seconds())
	l.at = now
	if l.used > floodBurst-1 {
		return false
	}
	l.used++
	return true
}

// relay sends what clients have for each other.
func (s *sender) relay() {
	b := s.e.bridge
	if b == nil {
		return
	}
	s.scratch.relayed = b.take(s.scratch.relayed)
	for i := range s.scratch.relayed {
		f := &s.scratch.relayed[i]
		s.scratch.from = f.from
		s.scratch.packet = packet{buf: f.buf}
		s.classify.classify(&s.scratch.packet, s.scratch.emit)
		b.give(s.bufs.get())
	}
	s.scratch.from = nil
}

// bridged reports whether a frame is for clients only, and so not for the device.
func (r *receiver) bridged(now time.Time, s *Session, h *heldPacket) bool {
	b := r.e.bridge
	if b == nil || b.fromClient(now, s, h.buf[h.start:h.end], r.e.bufs) {
		return false
	}
	r.held.put(h.buf)
	return true
}
