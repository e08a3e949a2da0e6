package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
	"github.com/multilink-vpn/multilink/internal/bench/report"
	"github.com/multilink-vpn/multilink/internal/netlab"
)

// How a line is checked.
const (
	rawTolerance = 0.03
	rawPing      = 0.3 // ms that a ping may also be off: the two hosts' own share
	rawErrors    = 3.0 // standard errors of a mean that chance explains
	rawWarmUp    = 4 * time.Second
	rawRounds    = 12 // round trips that the warm-up lasts besides: TCP's slow start
	rawDuration  = 3 * time.Second
	rawTries     = 3
)

// checkLines measures each line without a tunnel. If one is not as the profile says,
// even when measured again, c.unsound says so, and nothing measured over it counts.
func (c *course) checkLines(ctx context.Context) (err error) {
	if err := c.lines.reset(); err != nil {
		return err
	}
	restore, err := enlargeBuffers(c.lab.Client, c.lab.Server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	for k := range c.p.Lines {
		for _, d := range c.directions {
			var wrong []string
			for try := range rawTries {
				// On long lines, jitter ends CUBIC's slow start long before they are full.
				c.direction, c.congestion = d, []string{"cubic", "bbr"}[try%2]
				r, deviations, err := c.raw(ctx, k)
				if err != nil {
					return err
				}
				wrong = deviations
				r.Discarded = strings.Join(wrong, "; ")
				c.runs = append(c.runs, r)
				fmt.Fprintln(c.stderr, progressLine(r))
				if len(wrong) == 0 {
					break
				}
			}
			if len(wrong) > 0 {
				c.unsound = fmt.Sprintf("line %d raw, %s: %s", k+1, d, strings.Join(wrong, "; "))
			}
		}
	}
	return nil
}

// raw measures a line in the course's direction, and says where it is off. The TCP flow goes
// without the line's random loss: how much of such a line a flow fills is a question of
// its congestion control, not of the line.
func (c *course) raw(ctx context.Context, k int) (r report.Run, wrong []string, err error) {
	l, d := c.p.Lines[k], c.direction
	f := flow{
		to: c.lab.ServerAddr(k), from: c.lab.ClientAddr(k), direction: d, congestion: c.congestion,
		warmUp: rawWarmUp + rawRounds*2*(l.Delay+l.Jitter), duration: rawDuration,
	}
	if l.MTU > 0 {
		f.mss = l.MTU - 40
	}
	r = c.newRun(report.Raw, k)
	r.Idle, err = ping(c.lab, netlab.PingConfig{Source: f.from, Interval: idleInterval}, f.to, idlePings)
	if err != nil {
		return r, nil, err
	}
	lossless := l.Start()
	lossless.Loss = [2]float64{}
	if err := c.lines.set(k, lossless); err != nil {
		return r, nil, err
	}
	res, err := f.run(ctx, c.lab)
	if err != nil {
		return r, nil, fmt.Errorf("line %d raw: %w", k+1, err)
	}
	r.Sum, r.Retransmits = l.Rate[d]/1e6, res.retransmits
	r.Goodput = res.progress.Undisturbed(f.warmUp, f.warmUp+f.duration)
	if err := c.lines.set(k, l.Start()); err != nil {
		return r, nil, err
	}
	if want := plainTCP(l, d); math.Abs(r.Goodput-want) > rawTolerance*want {
		wrong = append(wrong, fmt.Sprintf("plain TCP has %.2f Mbit/s instead of %.2f", r.Goodput, want))
	}
	if want := plainPing(l); math.Abs(r.Idle.Mean-want) > rawTolerance*want+rawPing+rawErrors*r.Idle.Error {
		wrong = append(wrong, fmt.Sprintf("ping takes %.2f ms instead of %.2f", r.Idle.Mean, want))
	}
	return r, wrong, nil
}

// bufferLimits are how much of a flow the kernel's TCP may hold at either end, in bytes:
// least, first, most. The usual 6 MB are less than some lines do.
const bufferLimits = "4096 131072 67108864"

// enlargeBuffers lets TCP fill any line, on all hosts, until restore.
func enlargeBuffers(hosts ...*netlab.Host) (restore func() error, err error) {
	var undo []func() error
	restore = func() (err error) {
		for _, f := range undo {
			err = errors.Join(err, f())
		}
		return err
	}
	for _, h := range hosts {
		for _, name := range []string{"/proc/sys/net/ipv4/tcp_rmem", "/proc/sys/net/ipv4/tcp_wmem"} {
			set := func(value []byte) func() error {
				return func() error {
					return h.Do(func() error { return os.WriteFile(name, value, 0) })
				}
			}
			var before []byte
			err := h.Do(func() (err error) {
				before, err = os.ReadFile(name)
				return err
			})
			if err == nil {
				err = set([]byte(bufferLimits))()
			}
			if err != nil {
				return nil, errors.Join(err, restore())
			}
			undo = append(undo, set(before))
		}
	}
	return restore, nil
}

// plainTCP returns what TCP with timestamps carries over a line that loses nothing, in
// Mbit/s.
func plainTCP(l profile.Line, d profile.Direction) float64 {
	mtu := 1500.0
	if l.MTU > 0 {
		mtu = float64(l.MTU)
	}
	return l.Rate[d] / 1e6 * (mtu - 52) / (mtu + 38)
}

// plainPing returns the mean round trip of a ping of 56 bytes, in milliseconds: 122 on
// the line, each way.
func plainPing(l profile.Line) float64 {
	serialize := 122 * 8 * 1e3 * (1/l.Rate[profile.Down] + 1/l.Rate[profile.Up])
	return 2*ms(l.Delay) + ms(l.Jitter) + serialize
}
