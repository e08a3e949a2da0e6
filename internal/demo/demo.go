// Package demo shows the tunnel at work in one process: a client and a server over
// three simulated lines, and a TCP download between two user-space network stacks.
// It needs no privileges and touches nothing of the host.
//
// The download is measured over the best line alone and over all lines. Then a line
// is cut without notice, and restored. What was received must be what was sent.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/multilink-vpn/multilink/mlvpn"
)

// Config configures Run.
type Config struct {
	// Out gets the display and the summary. Required.
	Out io.Writer

	// Terminal says that Out understands ANSI escape sequences: the display is then
	// redrawn in place. Otherwise Run prints a line per second.
	Terminal bool

	// Color permits colours. It is without effect if Terminal is not set.
	Color bool
}

// The sequence. Times of a phase count from when its connection stands.
const (
	settleMin   = 1500 * time.Millisecond // TCP finds its rate
	settleMax   = 4 * time.Second
	singleFor   = 3 * time.Second         // measured over the best line
	steadyFor   = 4 * time.Second         // measured over all lines
	cutFor      = 4 * time.Second         // a line is dead
	withoutFor  = 2 * time.Second         // measured at the end of that
	recoverFor  = 2 * time.Second         // TCP finds its rate again
	returnedFor = 2500 * time.Millisecond // measured after the repair

	every = 100 * time.Millisecond // a sample

	// carries is how many bytes count as data: more than probes amount to.
	carries = 15_000

	seed = 1
)

// Run runs the demo, in about 20 seconds. The error says what could not be done, or
// which of the result's checks failed. When it returns, all goroutines have ended;
// those of gVisor's stacks may need some milliseconds more.
func Run(ctx context.Context, cfg Config) (Result, error) {
	d := &demo{
		screen: newScreen(cfg, sum(lines)),
		result: Result{Best: lines[fastest(lines)].name, Sum: sum(lines)},
		start:  time.Now(),
	}
	d.screen.begin(d.start)
	defer d.screen.end()
	if err := d.measureBest(ctx); err != nil {
		return d.result, err
	}
	if err := d.measureAll(ctx); err != nil {
		return d.result, err
	}
	d.result.Elapsed = time.Since(d.start)
	d.screen.end()
	d.screen.summary(&d.result)
	return d.result, d.result.Check()
}

type demo struct {
	screen *screen
	result Result
	start  time.Time
}

// A stage is a tunnel with a download, while it is watched.
type stage struct {
	*demo
	tunnel   *tunnel
	transfer *transfer
	window   window
	specs    []lineSpec
	cut      int // position of the line that is cut, or -1

	onEvent  func(mlvpn.Event) // the server's
	onSample func(sample)
}

// open starts a tunnel over specs and a download through it.
func (d *demo) open(ctx context.Context, specs []lineSpec) (*stage, error) {
	t, err := openTunnel(specs, seed)
	if err != nil {
		return nil, err
	}
	if err := t.connect(ctx); err != nil {
		t.close()
		return nil, err
	}
	x, err := t.download(ctx, seed)
	if err != nil {
		t.close()
		return nil, err
	}
	return &stage{demo: d, tunnel: t, transfer: x, window: window{length: 5 * every}, specs: specs, cut: -1}, nil
}

func (s *stage) close() {
	s.transfer.abort()
	s.tunnel.close()
}

// watch shows what goes on for d, or until done is closed, and returns a sample of the
// end.
func (s *stage) watch(ctx context.Context, d time.Duration, done <-chan struct{}) (sample, error) {
	until := time.NewTimer(d)
	defer until.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return take(s.tunnel, s.transfer), nil
		case <-until.C:
			return take(s.tunnel, s.transfer), nil
		case <-tick.C:
			s.show()
		case ev := <-s.tunnel.serverEvents:
			if s.onEvent != nil {
				s.onEvent(ev)
			}
		case err := <-s.tunnel.failed:
			return sample{}, err
		case <-ctx.Done():
			return sample{}, context.Cause(ctx)
		}
	}
}

// grows is the growth within settleMin/2 that means that TCP has not found its rate yet.
const grows = 1.04

// settle waits until TCP's rate grows no more.
func (s *stage) settle(ctx context.Context) error {
	limit := time.Now().Add(settleMax)
	for before := 0.0; ; {
		r, err := s.measure(ctx, settleMin/2)
		if err != nil || r.tcp <= grows*before || time.Now().After(limit) {
			return err
		}
		before = r.tcp
	}
}

// enough is the part of the lines' capacities from which on TCP is undisturbed.
const enough = 0.75

// steady returns the rates over d once TCP has found its rate. Another program that
// takes the processor away can cost TCP half of its rate, so if there is less than the
// lines carry, it measures once more and returns the better.
func (s *stage) steady(ctx context.Context, d time.Duration) (best rates, err error) {
	for range 2 {
		if err := s.settle(ctx); err != nil {
			return rates{}, err
		}
		r, err := s.measure(ctx, d)
		if err != nil {
			return rates{}, err
		}
		if r.tcp >= best.tcp {
			best = r
		}
		if best.tcp >= enough*sum(s.specs) {
			break
		}
	}
	return best, nil
}

// measure watches for d and returns the rates in that time.
func (s *stage) measure(ctx context.Context, d time.Duration) (rates, error) {
	from := take(s.tunnel, s.transfer)
	to, err := s.watch(ctx, d, nil)
	if err != nil {
		return rates{}, err
	}
	return to.since(from), nil
}

func (s *stage) show() {
	now := take(s.tunnel, s.transfer)
	if s.onSample != nil {
		s.onSample(now)
	}
	v := view{now: now.at, specs: s.specs, rates: s.window.add(now), best: s.result.Single}
	st := s.tunnel.server.Stats()
	for i, spec := range s.specs {
		l := lineView{cut: i == s.cut}
		if len(st.Sessions) == 1 {
			l.find(spec.name, st.Sessions[0].Links)
		}
		v.lines = append(v.lines, l)
	}
	s.screen.update(v)
}

// measureBest measures the best line alone, through the same kind of tunnel.
func (d *demo) measureBest(ctx context.Context) error {
	best := fastest(lines)
	d.screen.event(time.Now(), "%s alone, the fastest line", lines[best].name)
	s, err := d.open(ctx, lines[best:best+1])
	if err != nil {
		return err
	}
	defer s.close()
	r, err := s.steady(ctx, singleFor)
	if err != nil {
		return err
	}
	d.result.Single = r.tcp
	return nil
}

// measureAll measures all lines, and cuts one meanwhile.
func (d *demo) measureAll(ctx context.Context) error {
	d.screen.event(time.Now(), "all lines together")
	s, err := d.open(ctx, lines)
	if err != nil {
		return err
	}
	defer s.close()
	r, err := s.steady(ctx, steadyFor)
	if err != nil {
		return err
	}
	d.result.Bonded = r.tcp
	shares := r.shares(lines)
	for i, l := range lines {
		d.result.Lines = append(d.result.Lines, LineResult{
			Name:     l.name,
			Capacity: l.down,
			Carried:  r.lines[i],
			Share:    shares[i],
		})
	}
	if err := s.cutAndRestore(ctx, fastest(lines)); err != nil {
		return err
	}
	return s.finish(ctx)
}

// cutAndRestore takes a line away while the download runs, and brings it back.
func (s *stage) cutAndRestore(ctx context.Context, i int) error {
	name, line := lines[i].name, s.tunnel.lines[i]
	cut := &s.result.Cut
	*cut = CutResult{Line: name, Noticed: -1, Returned: -1}

	at := time.Now()
	s.transfer.resetGap(at)
	line.Cut()
	s.cut = i
	s.screen.event(at, "%s is cut: its packets vanish, nobody is told", name)
	s.onEvent = func(ev mlvpn.Event) {
		if ev.Link != name || ev.Kind != mlvpn.LinkDegraded && ev.Kind != mlvpn.LinkDown {
			return
		}
		if cut.Noticed < 0 {
			cut.Noticed = ev.Time.Sub(at)
			s.screen.event(ev.Time, "the tunnel avoids %s, %s after the cut", name, seconds(cut.Noticed))
		}
	}
	if _, err := s.watch(ctx, cutFor-withoutFor, nil); err != nil {
		return err
	}
	r, err := s.measure(ctx, withoutFor)
	if err != nil {
		return err
	}
	cut.Without = r.tcp
	s.onEvent = nil

	at = time.Now()
	before := take(s.tunnel, s.transfer).lines[i]
	line.Restore()
	s.cut = -1
	s.screen.event(at, "%s is back", name)
	s.onSample = func(now sample) {
		if cut.Returned < 0 && now.lines[i]-before > carries {
			cut.Returned = now.at.Sub(at)
			s.screen.event(now.at, "%s carries data again, %s later", name, seconds(cut.Returned))
		}
	}
	if _, err := s.watch(ctx, recoverFor, nil); err != nil {
		return err
	}
	r, err = s.measure(ctx, returnedFor)
	if err != nil {
		return err
	}
	s.onSample = nil
	cut.After, cut.Share = r.tcp, r.shares(lines)[i]
	cut.Gap = s.transfer.longestGap(time.Now())
	return nil
}

var errUnfinished = errors.New("the download did not end: what was sent has not arrived")

// finish ends the download and compares what was sent with what was received.
func (s *stage) finish(ctx context.Context) error {
	x := s.transfer
	x.stop()
	done := x.done()
	if _, err := s.watch(ctx, drainFor, done); err != nil {
		return err
	}
	select {
	case <-done:
	default:
		return fmt.Errorf("%w within %v (%d bytes have)", errUnfinished, drainFor, x.received.Load())
	}
	if err := errors.Join(x.sender.err, x.receiver.err); err != nil {
		return fmt.Errorf("the download broke off: %w", err)
	}
	r := &s.result
	r.Sent, r.Received, r.SHA256 = x.sender.bytes, x.receiver.bytes, x.sender.hash
	r.Intact = r.Sent > 0 && x.sender.bytes == x.receiver.bytes && x.sender.hash == x.receiver.hash
	return nil
}

// seconds formats a duration for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
