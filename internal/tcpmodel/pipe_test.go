package tcpmodel

import (
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

// A pipe joins a sender and a receiver by a network of fixed delay and a rate. What
// happens to data segments is up to a function.
type pipe struct {
	t        *testing.T
	sender   *Sender
	receiver *Receiver
	delay    time.Duration // one way
	perSeg   time.Duration // serialization of a data segment; 0 is none
	queue    time.Duration // longest wait for it; 0 is without limit

	// fate says what becomes of the n-th data segment sent, which is segment seg: how
	// much later it arrives than it should, negative if it is lost.
	fate func(n int, seg uint64) time.Duration
	// ackFate is the same for acknowledgements.
	ackFate func(n int) time.Duration

	now        time.Duration
	free       time.Duration
	data, acks int
	flights    []flight
	check      func() // after each event
}

type flight struct {
	due    time.Duration
	toSend bool
	seg    Segment
}

func newPipe(t *testing.T, c Config, delay time.Duration) *pipe {
	p := &pipe{t: t, sender: NewSender(c), receiver: NewReceiver(ReceiverConfig{MaxWindow: 16 << 20}), delay: delay}
	p.sender.Connect(0)
	return p
}

func (p *pipe) launch(due time.Duration, toSender bool, s *Segment) {
	f := flight{due, toSender, *s}
	i, _ := slices.BinarySearchFunc(p.flights, due, func(f flight, d time.Duration) int {
		if f.due <= d {
			return -1
		}
		return 1
	})
	p.flights = slices.Insert(p.flights, i, f)
}

func (p *pipe) sendData(s *Segment) {
	due := p.now + p.delay
	if s.Len > 0 {
		n := p.data
		p.data++
		wait := max(0, p.free-p.now)
		if p.queue > 0 && wait > p.queue {
			return
		}
		p.free = p.now + wait + p.perSeg
		due = p.free + p.delay
		if p.fate != nil {
			late := p.fate(n, uint64(s.Seq-1)/uint64(s.Len))
			if late < 0 {
				return
			}
			due += late
		}
	}
	p.launch(due, false, s)
}

func (p *pipe) sendAck(s *Segment) {
	n := p.acks
	p.acks++
	due := p.now + p.delay
	if p.ackFate != nil {
		late := p.ackFate(n)
		if late < 0 {
			return
		}
		due += late
	}
	p.launch(due, true, s)
}

// until runs to a time, or to the end of a transfer that has one.
func (p *pipe) until(end time.Duration) {
	p.t.Helper()
	for events := 0; ; events++ {
		if events > 5_000_000 {
			p.t.Fatalf("no end of events at %v", p.now)
		}
		next := min(p.sender.Next(), p.receiver.Next())
		if len(p.flights) > 0 {
			next = min(next, p.flights[0].due)
		}
		if _, done := p.sender.Finished(); done || next > end {
			return
		}
		p.now = max(p.now, next)
		for len(p.flights) > 0 && p.flights[0].due <= p.now {
			f := p.flights[0]
			p.flights = p.flights[1:]
			if f.toSend {
				p.sender.Input(p.now, &f.seg)
				p.sender.Poll(p.now, p.sendData)
			} else {
				p.receiver.Input(p.now, &f.seg)
				p.receiver.Poll(p.now, p.sendAck)
			}
		}
		p.sender.Poll(p.now, p.sendData)
		p.receiver.Poll(p.now, p.sendAck)
		if p.check != nil {
			p.check()
		}
	}
}

// wantBytes fails unless everything arrived.
func (p *pipe) wantBytes(want uint64) {
	p.t.Helper()
	if got := p.receiver.Stats().Bytes; got != want {
		p.t.Errorf("%d bytes arrived by %v, want %d", got, p.now, want)
	}
}
