package simnet

import (
	"time"

	"github.com/multilink-vpn/multilink/internal/tcpmodel"
	"github.com/multilink-vpn/multilink/link/linksim"
)

// A Result is what a run measured, between Config.Warmup and its end.
type Result struct {
	// Down and Up are the goodputs of all flows of the direction together, in bits per
	// second: TCP payload, and UDP's packets with their headers.
	Down, Up float64

	// Gap is the longest time in which a flow without end delivered nothing.
	Gap time.Duration

	Flows []FlowResult // as in Config.Flows
	Ping  Latency      // round trips of echo requests
	Lines []LineResult // since the beginning

	// Polls and Datagrams say how much work the run was.
	Polls, Datagrams uint64
}

// A FlowResult is about one flow.
type FlowResult struct {
	Flow    Flow
	Goodput float64 // bits per second
	Gap     time.Duration
	GapAt   time.Duration // when the gap began
	Bins    []uint64      // bytes delivered in each BinWidth since the beginning of the run
	// Finished is when a flow with an end was all acknowledged, or 0.
	Finished time.Duration

	// For TCP, since the beginning.
	Sender   tcpmodel.SenderStats
	Receiver tcpmodel.ReceiverStats

	// For UDP: delays one way, and datagrams overtaken by a later one.
	Delay     Latency
	Reordered int
}

// A Latency summarizes delays.
type Latency struct {
	Answered, Lost   int
	Median, P99, Max time.Duration
}

// A LineResult has the counters of the directions of a line. Lines that share a wire
// show the same.
type LineResult struct{ Down, Up linksim.Stats }

func (r *run) result() *Result {
	res := &Result{Lines: r.network.Lines(), Polls: r.network.polls, Datagrams: r.network.datagrams}
	for i, f := range r.config.Flows {
		fr := r.flowResult(i, f)
		if f.Direction == Down {
			res.Down += fr.Goodput
		} else {
			res.Up += fr.Goodput
		}
		if f.Bytes == 0 {
			res.Gap = max(res.Gap, fr.Gap)
		}
		res.Flows = append(res.Flows, fr)
	}
	p := &r.hosts[Client].ping
	res.Ping = summarize(p.rtts, p.measured-len(p.rtts))
	return res
}

func (r *run) flowResult(i int, f Flow) FlowResult {
	fr := FlowResult{Flow: f}
	from := f.Direction.sender()
	log := &arrivalLog{}
	switch e := r.hosts[1-from].flows[i].(type) {
	case *tcpReceiver:
		log, fr.Receiver = &e.log, e.Stats()
		sender := r.hosts[from].flows[i].(*tcpSender)
		fr.Sender = sender.Stats()
		if at, ok := sender.Finished(); ok {
			fr.Finished = at
		}
	case *udpReceiver:
		log = &e.log
		fr.Delay = summarize(e.delays, int(r.hosts[from].flows[i].(*udpSender).n)-e.received)
		fr.Reordered = e.reordered
	}
	if fr.Finished == 0 {
		log.measureGap(r.config.Duration)
	}
	fr.Goodput = float64(log.bytes) * 8 / (r.config.Duration - r.config.Warmup).Seconds()
	fr.Gap, fr.GapAt, fr.Bins = log.gap, log.gapAt, log.bins
	return fr
}
