package simnet

import (
	"math/rand/v2"
	"time"

	"github.com/multilink-vpn/multilink/link/linksim"
)

// overheadEthernet is what an IP packet costs on an Ethernet line beside its length: 14
// bytes of header, 4 of check sequence, 20 of preamble and gap.
const overheadEthernet = linksim.OverheadUDP4 - 28

// RoundRobin is the trivial tunnel: packets take the lines in turn, as they are, and are
// delivered as they arrive.
func RoundRobin() Tunnel {
	return Tunnel{Name: "round robin", New: func(env Env) (End, End) {
		return &spread{lines: env.Lines}, &spread{lines: env.Lines}
	}}
}

// Spray is RoundRobin with lots drawn.
func Spray() Tunnel {
	return Tunnel{Name: "spray", New: func(env Env) (End, End) {
		return &spread{lines: env.Lines, draw: rand.New(rand.NewPCG(env.Seed, 1))},
			&spread{lines: env.Lines, draw: rand.New(rand.NewPCG(env.Seed, 2))}
	}}
}

// Direct is no tunnel at all: packets of 1500 bytes take the lines in turn, without UDP
// around them. With one line it is what plain TCP gets.
func Direct() Tunnel {
	t := RoundRobin()
	t.Name, t.MTU, t.Overhead = "direct", 1500, overheadEthernet
	return t
}

// spread is an End that hands packets to the lines without looking at them.
type spread struct {
	lines   int
	turn    int
	draw    *rand.Rand
	pool    pool
	out, in [][]byte
}

func (s *spread) Ingress(_ time.Time, pkt []byte) { s.out = append(s.out, s.pool.copyOf(pkt)) }

func (s *spread) Arrive(_ time.Time, _ int, datagram []byte) {
	s.in = append(s.in, s.pool.copyOf(datagram))
}

func (s *spread) Poll(_ time.Time, send func(int, []byte), deliver func([]byte)) (next time.Time) {
	for _, p := range s.out {
		send(s.pick(), p)
		s.pool.put(p)
	}
	for _, p := range s.in {
		deliver(p)
		s.pool.put(p)
	}
	s.out, s.in = s.out[:0], s.in[:0]
	return next
}

func (s *spread) pick() int {
	if s.draw != nil {
		return s.draw.IntN(s.lines)
	}
	s.turn = (s.turn + 1) % s.lines
	return s.turn
}
