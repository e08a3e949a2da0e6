package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
	"github.com/multilink-vpn/multilink/internal/bench/report"
	"github.com/multilink-vpn/multilink/internal/netlab"
)

// measurement is a run in progress.
type measurement struct {
	*course
	run  *report.Run
	used []int // the lines in use
	cut  int   // the line to cut, or negative
}

// overTunnel measures a flow through a new tunnel.
func (x *measurement) overTunnel(ctx context.Context) error {
	t, err := x.startTunnel(x.used)
	if err != nil {
		return err
	}
	err = x.measureFlow(ctx, flow{to: serverInner})
	var cpuErr error
	x.run.ClientCPU, x.run.ServerCPU, cpuErr = t.cpu()
	log := t.stop()
	if x.verbose {
		fmt.Fprint(x.stderr, log)
	}
	if err = errors.Join(err, cpuErr); err != nil {
		return fmt.Errorf("%w\nthe daemons' last words:\n%s", err, tail(log, 1000))
	}
	return nil
}

// overMPTCP measures a flow over the lines themselves.
func (x *measurement) overMPTCP(ctx context.Context) error {
	undo, err := x.enableMPTCP()
	if err != nil {
		return err
	}
	err = x.measureFlow(ctx, flow{to: x.lab.PublicAddr(), from: x.lab.ClientAddr(0), mptcp: true})
	return errors.Join(err, undo())
}

// measureFlow makes the flow, the pings and the cut, and fills in the run.
func (x *measurement) measureFlow(ctx context.Context, f flow) error {
	idle, err := x.ping(f, idlePings, idleInterval)
	if err != nil {
		return err
	}
	x.run.Idle = idle
	f.direction, f.congestion = x.direction, x.congestion
	f.warmUp, f.duration = x.warmUp, x.lasting()
	if x.cut >= 0 {
		f.duration = x.options.cut + recovery
	}
	total := f.warmUp + f.duration
	started := time.Now()
	steps := x.p.Steps(total+time.Second, x.seed)

	vctx, stop := context.WithCancel(ctx)
	defer stop()
	varied := make(chan error, 1)
	go func() { varied <- x.lines.vary(vctx, started, steps) }()
	outage := make(chan outage, 1)
	go func() { outage <- x.outage(vctx, started.Add(f.warmUp)) }()
	pinged := make(chan error, 1)
	go func() {
		var err error
		sleep(vctx, started.Add(f.warmUp))
		x.run.Loaded, err = x.ping(f, int(f.duration/loadInterval), loadInterval)
		pinged <- err
	}()

	res, err := f.run(ctx, x.lab)
	if err != nil {
		stop()
	}
	o := <-outage
	err = errors.Join(err, o.err, <-pinged)
	stop()
	if err = errors.Join(err, <-varied); err != nil {
		return err
	}
	x.fillFlow(f, res, steps, started, o)
	return nil
}

// fillFlow fills in what the receiver saw.
func (x *measurement) fillFlow(f flow, res flowResult, steps []profile.Step, started time.Time, o outage) {
	r := x.run
	begin, end := f.warmUp, f.warmUp+f.duration
	offset := res.began.Sub(started)
	ours := profile.Profile{}
	var theirs []profile.Step
	for i, k := range x.used {
		ours.Lines = append(ours.Lines, x.p.Lines[k])
		for _, s := range steps {
			if s.Line == k {
				s.Line = i
				theirs = append(theirs, s)
			}
		}
	}
	r.Sum = ours.Capacity(x.direction, theirs, offset+begin, offset+end) / 1e6
	r.Goodput, r.Retransmits = res.goodput, res.retransmits
	r.Series = res.progress.Series(end)
	if x.cut < 0 {
		r.Gap = ms(res.progress.LongestGap(begin, end))
		return
	}
	cut, restored := o.cut.Sub(res.began), o.restored.Sub(res.began)
	r.Gap = ms(res.progress.LongestGap(cut, end))
	r.Return = -1
	if d, ok := res.progress.Return(cut-2*time.Second, cut, restored); ok {
		r.Return = ms(d)
	}
}

// ping measures what a small packet takes beside the flow.
func (x *measurement) ping(f flow, n int, interval time.Duration) (report.Latency, error) {
	return ping(x.lab, netlab.PingConfig{Source: f.from, Interval: interval, Timeout: 2 * time.Second}, f.to, n)
}

func ping(lab *netlab.Lab, cfg netlab.PingConfig, to netip.Addr, n int) (report.Latency, error) {
	res, err := lab.Client.PingWith(cfg, to, n)
	return report.NewLatency(res.Sent, res.RTTs), err
}

// outage is when a line was cut.
type outage struct {
	cut, restored time.Time
	err           error
}

// outage cuts the line that is to be cut at a time, and restores it.
func (x *measurement) outage(ctx context.Context, at time.Time) (o outage) {
	if x.cut < 0 {
		return o
	}
	sleep(ctx, at)
	o.cut = time.Now()
	o.err = x.lines.cut(x.cut)
	sleep(ctx, at.Add(x.options.cut))
	o.restored = time.Now()
	o.err = errors.Join(o.err, x.lines.cut(-1))
	return o
}

func ms(d time.Duration) float64 { return float64(d.Round(time.Microsecond)) / 1e6 }
