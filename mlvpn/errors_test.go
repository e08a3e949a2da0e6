package mlvpn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/tun"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// A faultyLink is a link that misbehaves when it is told to.
type faultyLink struct {
	*tapLink
	closes atomic.Int32

	mu      sync.Mutex // guards the following
	send    func(pkts [][]byte) (int, error)
	receive []error
}

// sends makes Send do what fn does, or what is right if fn is nil.
func (l *faultyLink) sends(fn func(pkts [][]byte) (int, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.send = fn
}

// receives makes the next calls of Receive return these errors.
func (l *faultyLink) receives(errs ...error) {
	l.mu.Lock()
	l.receive = errs
	l.mu.Unlock()
	l.in.put([]byte("to wake the reader"), link.Addr{})
}

func (l *faultyLink) Send(pkts [][]byte) (int, error) {
	l.mu.Lock()
	send := l.send
	l.mu.Unlock()
	if send != nil {
		return send(pkts)
	}
	return l.tapLink.Send(pkts)
}

func (l *faultyLink) Receive(bufs [][]byte, sizes []int) (int, error) {
	l.mu.Lock()
	if len(l.receive) > 0 {
		err := l.receive[0]
		l.receive = l.receive[1:]
		l.mu.Unlock()
		return 0, err
	}
	l.mu.Unlock()
	return l.tapLink.Receive(bufs, sizes)
}

func (l *faultyLink) Close() error {
	l.closes.Add(1)
	return l.tapLink.Close()
}

// newFaulty has a client with two links, the first of which can misbehave, and an
// event log that keeps reasons.
func newFaulty(t *testing.T) (*victim, *faultyLink, *reasonLog) {
	t.Helper()
	reasons := &reasonLog{}
	v := newVictim(t, victimConfig{lines: 2, client: func(c *ClientConfig) {
		add := c.OnEvent
		c.OnEvent = func(ev Event) {
			reasons.add(ev)
			add(ev)
		}
	}})
	v.sleep(time.Second)
	f := &faultyLink{tapLink: v.tap.renewLink(0)}
	if err := v.client.ReplaceLink(v.ids[0], f); err != nil {
		t.Fatal(err)
	}
	v.sleep(time.Second)
	v.works("before")
	v.log.take()
	return v, f, reasons
}

type reasonLog struct {
	mu  sync.Mutex
	all []Event
}

func (l *reasonLog) add(ev Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, ev)
}

// last returns the latest event of a kind.
func (l *reasonLog) last(kind EventKind) (last Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range l.all {
		if ev.Kind == kind {
			last = ev
		}
	}
	return last
}

// onlyLink takes the second link away, so that everything goes by the first.
func (v *victim) onlyLink() {
	v.t.Helper()
	if err := v.client.RemoveLink(v.ids[1]); err != nil {
		v.t.Fatal(err)
	}
	v.sleep(10 * time.Millisecond)
	v.log.take()
}

func (v *victim) clientLink(name string) LinkStats {
	v.t.Helper()
	for _, l := range v.client.Stats().Sessions[0].Links {
		if l.Name == name {
			return l
		}
	}
	v.t.Errorf("the client has no link %s", name)
	return LinkStats{}
}

func refuse(err error) func(pkts [][]byte) (int, error) {
	return func([][]byte) (int, error) { return 0, err }
}

func TestLinkFull(t *testing.T) { synctest.Test(t, testLinkFull) }

// What a full link refuses is kept for 100 ms and then sent, in order; after that it
// is dropped and counted.
func testLinkFull(t *testing.T) {
	v, f, _ := newFaulty(t)
	defer v.close()
	v.onlyLink()
	f.sends(refuse(fmt.Errorf("wrapped: %w", link.ErrFull)))
	var want []uint64
	for i := range uint64(100) {
		v.inject(v.cdev, udp(true, 1, i, 1000))
		want = append(want, i)
	}
	v.sleep(90 * time.Millisecond)
	if got := receive(t, v.sdev); len(got) != 0 {
		t.Fatalf("received %v through a full link", got)
	}
	f.sends(nil)
	v.sleep(10 * time.Millisecond)
	if got := receive(t, v.sdev); !slices.Equal(got, want) {
		t.Errorf("after 90 ms of a full link arrived %v", got)
	}
	if st := v.clientLink("a"); st.Refused != 0 {
		t.Errorf("%d packets were dropped", st.Refused)
	}

	// One datagram at a time is slow, but no reason to drop.
	f.sends(func(pkts [][]byte) (int, error) {
		n, err := f.tapLink.Send(pkts[:1])
		if err == nil && len(pkts) > 1 {
			err = link.ErrFull
		}
		return n, err
	})
	for i := range uint64(100) {
		v.inject(v.cdev, udp(true, 1, i, 1000))
	}
	v.sleep(200 * time.Millisecond)
	if got := receive(t, v.sdev); !slices.Equal(got, want) {
		t.Errorf("through a link that takes one datagram at a time arrived %v", got)
	}

	f.sends(refuse(link.ErrFull))
	for i := range uint64(20) {
		v.inject(v.cdev, udp(true, 1, i, 1000))
	}
	v.sleep(250 * time.Millisecond)
	f.sends(nil)
	if st := v.clientLink("a"); st.Refused < 20 || st.State != LinkIsUp {
		t.Errorf("after 250 ms of a full link: %+v, want its packets counted as refused and the link up", st)
	}
	v.sleep(10 * time.Millisecond)
	receive(t, v.sdev)
	v.works("after")
	if got := v.log.take(); len(got) != 0 {
		t.Errorf("events %q", got)
	}
}

func TestLinkTooLarge(t *testing.T) { synctest.Test(t, testLinkTooLarge) }

// A datagram that is too large is dropped alone, and counted.
func testLinkTooLarge(t *testing.T) {
	v, f, _ := newFaulty(t)
	defer v.close()
	v.onlyLink()
	f.sends(func(pkts [][]byte) (int, error) {
		for i, pkt := range pkts {
			if len(pkt) > 1000 {
				return i, link.ErrTooLarge
			}
			if _, err := f.tapLink.Send(pkts[i : i+1]); err != nil {
				return i, err
			}
		}
		return len(pkts), nil
	})
	v.inject(v.cdev, udp(true, 1, 1, 500))
	for i := range uint64(20) {
		v.inject(v.cdev, udp(true, 2, i, 1200))
	}
	v.inject(v.cdev, udp(true, 1, 2, 500))
	v.sleep(500 * time.Millisecond)
	if got := receive(t, v.sdev); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("arrived %v, want the two small ones", got)
	}
	if st := v.clientLink("a"); st.TooLarge != 20 || st.State != LinkIsUp {
		t.Errorf("%+v, want 20 too large and the link up", st)
	}
}

var errCable = errors.New("somebody pulled the cable")

func TestLinkFails(t *testing.T) { synctest.Test(t, testLinkFails) }

// A link that refuses to send is down at once, with the reason, and comes back when
// it works again. Meanwhile the other link carries everything.
func testLinkFails(t *testing.T) {
	for _, x := range []struct {
		send   func(pkts [][]byte) (int, error)
		reason string
	}{
		{refuse(errCable), "link a: send: somebody pulled the cable"},
		{refuse(nil), "link a: send: " + errBadLink.Error()},
	} {
		v, f, reasons := newFaulty(t)
		f.sends(x.send)
		start := time.Now()
		v.sleep(400 * time.Millisecond) // until a probe is due
		if got := v.log.take(); !slices.Equal(got, []string{"link down a"}) {
			t.Errorf("events %q", got)
		}
		if ev := reasons.last(LinkDown); ev.Reason != x.reason || ev.Time.Before(start) || ev.Link != "a" || ev.Peer != "server" {
			t.Errorf("%+v, want the reason %q", ev, x.reason)
		}
		v.works("on the other link")
		v.sleep(5 * time.Second)
		if got := v.log.take(); len(got) != 0 {
			t.Errorf("events %q while the link is down", got)
		}
		if st := v.clientLink("a"); st.State != LinkIsDown || st.Failed == 0 {
			t.Errorf("%+v, want down and what failed counted", st)
		}
		f.sends(nil)
		v.sleep(time.Second)
		if got := v.log.take(); !slices.Equal(got, []string{"link up a"}) {
			t.Errorf("events %q after the link works again", got)
		}
		v.works("after")
		v.close()
	}
}

func TestLinkFailsOnce(t *testing.T) { synctest.Test(t, testLinkFailsOnce) }

// A link whose send fails once is probed at once, not when its next probe was due, and
// so is back at once.
func testLinkFailsOnce(t *testing.T) {
	v, f, _ := newFaulty(t)
	defer v.close()
	failed := false
	f.sends(func(pkts [][]byte) (int, error) {
		if failed {
			return f.tapLink.Send(pkts)
		}
		failed = true
		return 0, errCable
	})
	for i := range uint64(20) { // some of them by this link
		v.inject(v.cdev, udp(true, 1, i, 500))
	}
	v.sleep(10 * time.Millisecond)
	if got := v.log.take(); !slices.Equal(got, []string{"link down a", "link up a"}) {
		t.Errorf("events %q", got)
	}
}

func TestLinkClosedByOthers(t *testing.T) { synctest.Test(t, testLinkClosedByOthers) }

// A link that somebody else closes, or whose transport ends for good, is down at once
// with the reason, is closed, and can be replaced.
func testLinkClosedByOthers(t *testing.T) {
	for _, x := range []struct {
		end    func(f *faultyLink)
		reason string
	}{
		{func(f *faultyLink) { f.Close() }, "link a: receive: " + net.ErrClosed.Error()},
		{func(f *faultyLink) { f.receives(fmt.Errorf("the stream has ended: %w", io.EOF)) }, "link a: receive: the stream has ended: EOF"},
	} {
		v, f, reasons := newFaulty(t)
		f.sends(refuse(net.ErrClosed))
		x.end(f)
		synctest.Wait()
		if got := v.log.take(); !slices.Equal(got, []string{"link down a"}) {
			t.Errorf("events %q", got)
		}
		if ev := reasons.last(LinkDown); ev.Reason != x.reason {
			t.Errorf("%+v, want the reason %q", ev, x.reason)
		}
		v.works("on the other link")
		v.sleep(time.Minute)
		fresh := &faultyLink{tapLink: v.tap.renewLink(0)}
		if err := v.client.ReplaceLink(v.ids[0], fresh); err != nil {
			t.Fatal(err)
		}
		if f.closes.Load() == 0 {
			t.Error("the link that has ended was not closed")
		}
		v.sleep(2 * time.Second)
		if got := v.log.take(); !slices.Equal(got, []string{"link up a"}) {
			t.Errorf("events %q after ReplaceLink", got)
		}
		v.works("after")
		v.close()
		if fresh.closes.Load() == 0 {
			t.Error("the link is open after Run")
		}
	}
}

func TestReceiveFails(t *testing.T) { synctest.Test(t, testReceiveFails) }

// Transient errors of Receive, such as refused connections, cost nothing but time.
func testReceiveFails(t *testing.T) {
	v, f, _ := newFaulty(t)
	defer v.close()
	f.receives(slices.Repeat([]error{errCable}, 20)...)
	v.sleep(time.Second)
	v.works("after")
	if got := v.log.take(); len(got) != 0 {
		t.Errorf("events %q", got)
	}
}

// A faultyDevice fails when it is told to.
type faultyDevice struct {
	*tuntest.Device
	mu          sync.Mutex // guards the following
	read, write error
	reads       int
}

func (d *faultyDevice) fail(read, write error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read, d.write, d.reads = read, write, 0
}

func (d *faultyDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n, err := d.Device.Read(bufs, sizes, offset)
	d.mu.Lock()
	defer d.mu.Unlock()
	for err == nil && d.read != nil {
		d.reads++
		return 0, d.read
	}
	return n, err
}

func (d *faultyDevice) Write(bufs [][]byte, offset int) (int, error) {
	d.mu.Lock()
	err := d.write
	d.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return d.Device.Write(bufs, offset)
}

func newFaultyDevice(t *testing.T) (*victim, *faultyDevice, chan error) {
	t.Helper()
	v := newVictim(t, victimConfig{lines: 1})
	v.stopClient()
	v.tap.renewLinks()
	dev := &faultyDevice{Device: v.cdev}
	v.cdev = tuntest.New(tuntest.Config{Name: "cli0", MTU: 1400})
	dev.Device = v.cdev
	v.cc.Device = dev
	var err error
	if v.client, err = NewClient(v.cc); err != nil {
		t.Fatal(err)
	}
	if _, err := v.client.AddLink(v.tap.links[0], LinkConfig{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- v.client.Run(ctx) }()
	v.stopClient = cancel
	v.sleep(time.Second)
	v.works("before")
	return v, dev, ended
}

func TestDeviceWriteFails(t *testing.T) { synctest.Test(t, testDeviceWriteFails) }

func testDeviceWriteFails(t *testing.T) {
	v, dev, _ := newFaultyDevice(t)
	defer v.close()
	dev.fail(nil, errCable)
	for i := range uint64(10) {
		v.inject(v.sdev, udp(false, 1, i, 500))
	}
	v.sleep(time.Second)
	if d := v.client.Stats().Drops; d.DeviceErrors != 10 {
		t.Errorf("drops %+v, want 10 errors of the device", d)
	}
	dev.fail(nil, nil)
	v.works("after")
}

func TestDeviceReadFails(t *testing.T) { synctest.Test(t, testDeviceReadFails) }

// A bad packet or two are survived.
func testDeviceReadFails(t *testing.T) {
	v, dev, _ := newFaultyDevice(t)
	defer v.close()
	dev.fail(errCable, nil)
	for i := range uint64(3) {
		v.inject(v.cdev, udp(true, 1, i, 500))
		v.sleep(time.Second)
	}
	dev.fail(nil, nil)
	v.sleep(time.Second)
	receive(t, v.sdev)
	v.works("after")
}

// brokenDevice is a device that has gone: every Read fails.
type brokenDevice struct {
	*tuntest.Device
	broken atomic.Bool
}

func (d *brokenDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	if d.broken.Load() {
		return 0, errCable
	}
	return d.Device.Read(bufs, sizes, offset)
}

func TestDeviceBroken(t *testing.T) { synctest.Test(t, testDeviceBroken) }

// A device whose Read fails for good ends Run, or at least does not fill the log.
func testDeviceBroken(t *testing.T) {
	dev := &brokenDevice{Device: tuntest.New(tuntest.Config{})}
	dev.broken.Store(true)
	log := &logRecorder{}
	server, err := NewServer(ServerConfig{Config: Config{Device: dev, Key: crypto.GeneratePrivateKey(), Logger: slogger(log)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	time.Sleep(time.Minute)
	synctest.Wait()
	select {
	case err := <-ended:
		if !errors.Is(err, errCable) {
			t.Errorf("Run returned %v, want the device's error", err)
		}
	default:
		if n := len(log.take()); n > 10 {
			t.Errorf("Run goes on without a device and logged %d lines in a minute", n)
		}
		cancel()
		<-ended
	}
	cancel()
}

func TestDeviceClosed(t *testing.T) { synctest.Test(t, testDeviceClosed) }

// A device that somebody else closes ends Run, which says so.
func testDeviceClosed(t *testing.T) {
	v, _, ended := newFaultyDevice(t)
	defer v.close()
	v.cdev.Close()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "device was closed") {
			t.Errorf("Run returned %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("Run goes on")
	}
	synctest.Wait()
	if st := v.server.Stats(); len(st.Sessions) != 0 {
		t.Error("the client did not say goodbye")
	}
}

func TestLifecycle(t *testing.T) { synctest.Test(t, testLifecycle) }

// Every method says clearly what it does before, during and after Run.
func testLifecycle(t *testing.T) {
	tp := newTap(3)
	serverKey := crypto.GeneratePrivateKey()
	c, err := NewClient(ClientConfig{
		Config: Config{Device: tuntest.New(tuntest.Config{}), Key: crypto.GeneratePrivateKey()},
		Server: serverKey.Public(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(ServerConfig{Config: Config{Device: tuntest.New(tuntest.Config{}), Key: serverKey}})
	if err != nil {
		t.Fatal(err)
	}
	peer := Peer{Name: "bob", Key: crypto.GeneratePrivateKey().Public()}

	// Before.
	closed := func(what string, l *faultyLink) {
		t.Helper()
		if l.closes.Load() == 0 {
			t.Errorf("%s: the link was not closed", what)
		}
	}
	fresh := func(i int) *faultyLink {
		return &faultyLink{tapLink: &tapLink{tap: tp, line: i, in: newMemQueue(1 << 20), addr: tp.link(i).addr}}
	}
	l := fresh(0)
	if _, err := c.AddLink(l, LinkConfig{}); err == nil || !strings.Contains(err.Error(), "LinkConfig.Name") {
		t.Errorf("AddLink without a name: %v", err)
	}
	closed("a link without a name", l)
	a := fresh(0)
	ida, err := c.AddLink(a, LinkConfig{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	l = fresh(0)
	if _, err := c.AddLink(l, LinkConfig{Name: "a"}); err == nil || !strings.Contains(err.Error(), `"a" already`) {
		t.Errorf("AddLink with the same name: %v", err)
	}
	closed("a second link of the same name", l)
	b := fresh(1)
	idb, err := c.AddLink(b, LinkConfig{Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveLink(idb); err != nil {
		t.Error(err)
	}
	closed("a removed link", b)
	if err := c.RemoveLink(idb); err == nil {
		t.Error("a link was removed twice")
	}
	a2 := fresh(0)
	if err := c.ReplaceLink(ida, a2); err != nil {
		t.Error(err)
	}
	closed("a replaced link", a)
	l = fresh(1)
	if err := c.ReplaceLink(idb, l); err == nil {
		t.Error("a removed link was replaced")
	}
	closed("a link that replaces none", l)
	if st := c.Stats(); len(st.Sessions) != 0 {
		t.Errorf("statistics before Run: %+v", st)
	}
	if st := s.Stats(); len(st.Sessions) != 0 {
		t.Errorf("statistics before Run: %+v", st)
	}
	if err := s.AddClient(peer); err != nil {
		t.Error(err)
	}
	if err := s.AddClient(peer); err == nil {
		t.Error("a client was added twice")
	}
	if err := s.RemoveClient(peer.Key); err != nil {
		t.Error(err)
	}
	if err := s.RemoveClient(peer.Key); err == nil {
		t.Error("a client was removed twice")
	}
	if err := s.AddSocket(tp.sockets[0], LinkConfig{}); err == nil {
		t.Error("a socket without a name was added")
	}

	// During.
	ctx, cancel := context.WithCancel(context.Background())
	cend, send := make(chan error, 1), make(chan error, 1)
	go func() { cend <- c.Run(ctx) }()
	go func() { send <- s.Run(ctx) }()
	synctest.Wait()
	if err := c.Run(ctx); err == nil || !strings.Contains(err.Error(), "was called before") {
		t.Errorf("Run while it runs: %v", err)
	}
	if err := c.RemoveLink(99); err == nil {
		t.Error("a link was removed that is none")
	}
	for i := range wire.MaxLinks - 1 {
		if _, err := c.AddLink(fresh(2), LinkConfig{Name: fmt.Sprint("x", i)}); err != nil {
			t.Fatal(err)
		}
	}
	l = fresh(2)
	if _, err := c.AddLink(l, LinkConfig{Name: "one too many"}); !errors.Is(err, ErrTooManyLinks) {
		t.Errorf("a link too many: %v", err)
	}
	closed("a link too many", l)
	time.Sleep(time.Second)
	cancel()
	if err := <-cend; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
	if err := <-send; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
	closed("a link after Run", a2)

	// After.
	if err := c.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "was called before") {
		t.Errorf("Run after Run: %v", err)
	}
	l = fresh(0)
	if _, err := c.AddLink(l, LinkConfig{Name: "z"}); !errors.Is(err, ErrClosed) {
		t.Errorf("AddLink after Run: %v", err)
	}
	closed("a link added after Run", l)
	l = fresh(0)
	if err := c.ReplaceLink(ida, l); !errors.Is(err, ErrClosed) {
		t.Errorf("ReplaceLink after Run: %v", err)
	}
	closed("a link put in place after Run", l)
	if err := c.RemoveLink(ida); !errors.Is(err, ErrClosed) {
		t.Errorf("RemoveLink after Run: %v", err)
	}
	if st := c.Stats(); st.Sessions != nil || total(st.Drops) != 0 {
		t.Errorf("statistics after Run: %+v", st)
	}
	if err := s.AddClient(peer); !errors.Is(err, ErrClosed) {
		t.Errorf("AddClient after Run: %v", err)
	}
	if err := s.RemoveClient(peer.Key); !errors.Is(err, ErrClosed) {
		t.Errorf("RemoveClient after Run: %v", err)
	}
	sock := &tapSocket{tap: tp, in: newMemQueue(1)}
	if err := s.AddSocket(sock, LinkConfig{Name: "z"}); !errors.Is(err, ErrClosed) {
		t.Errorf("AddSocket after Run: %v", err)
	}
	select {
	case <-sock.in.closed:
	default:
		t.Error("a socket added after Run was not closed")
	}
	lst := newFaultyListener()
	if err := s.AddListener(lst, LinkConfig{Name: "z"}); !errors.Is(err, ErrClosed) {
		t.Errorf("AddListener after Run: %v", err)
	}
	select {
	case <-lst.closed:
	default:
		t.Error("a listener added after Run was not closed")
	}
}

// A context that is done before Run ends it at once and tidily.
func TestRunAfterCancel(t *testing.T) { synctest.Test(t, testRunAfterCancel) }

func testRunAfterCancel(t *testing.T) {
	cause := errors.New("never mind")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	dev := tuntest.New(tuntest.Config{})
	s, err := NewServer(ServerConfig{Config: Config{Device: dev, Key: crypto.GeneratePrivateKey()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(ctx); !errors.Is(err, cause) {
		t.Errorf("Run returned %v, want the cause", err)
	}
	if err := dev.Inject(udp(false, 1, 1, 100)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the device is open: %v", err)
	}
}

func TestConcurrentCalls(t *testing.T) { synctest.Test(t, testConcurrentCalls) }

// All methods may be called at any time from any goroutine, also while Run begins and
// ends.
func testConcurrentCalls(t *testing.T) {
	for round := range 20 {
		tp := newTap(4)
		serverKey, clientKey := crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey()
		c, err := NewClient(ClientConfig{
			Config: Config{Device: tuntest.New(tuntest.Config{}), Key: clientKey},
			Server: serverKey.Public(),
		})
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewServer(ServerConfig{Config: Config{Device: tuntest.New(tuntest.Config{}), Key: serverKey},
			Clients: []Peer{{Name: "alice", Key: clientKey.Public()}}})
		if err != nil {
			t.Fatal(err)
		}
		for i, sock := range tp.sockets {
			if err := s.AddSocket(sock, LinkConfig{Name: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		worker := func(fn func(i int)) {
			all.Go(func() {
				for i := range 30 {
					fn(i)
					time.Sleep(time.Duration(round+1) * 5 * time.Millisecond)
				}
			})
		}
		for w := range 3 {
			worker(func(i int) {
				name := fmt.Sprintf("%d.%d", w, i)
				l := func() link.Link {
					return &tapLink{tap: tp, line: w, in: newMemQueue(1 << 20), addr: tp.link(w).addr}
				}
				id, err := c.AddLink(l(), LinkConfig{Name: name})
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				var both sync.WaitGroup
				both.Go(func() { c.ReplaceLink(id, l()) })
				both.Go(func() { c.RemoveLink(id) })
				both.Wait()
			})
		}
		worker(func(int) { c.Stats(); s.Stats() })
		worker(func(i int) {
			p := Peer{Name: fmt.Sprint("p", i), Key: crypto.GeneratePrivateKey().Public()}
			if s.AddClient(p) == nil {
				s.RemoveClient(p.Key)
			}
		})
		worker(func(i int) {
			if i%10 == 5 {
				s.RemoveClient(clientKey.Public())
				s.AddClient(Peer{Name: "alice", Key: clientKey.Public()})
			}
		})
		all.Go(func() { c.Run(ctx) })
		all.Go(func() { s.Run(ctx) })
		all.Go(func() {
			time.Sleep(time.Duration(20-round) * 20 * time.Millisecond)
			cancel()
		})
		all.Wait()
	}
}

func TestOnEventMayCall(t *testing.T) { synctest.Test(t, testOnEventMayCall) }

// OnEvent may call every method, also while Run ends.
func testOnEventMayCall(t *testing.T) {
	var c *Client
	var calls, sessions int
	v := newVictim(t, victimConfig{lines: 2, client: func(cfg *ClientConfig) {
		cfg.OnEvent = func(ev Event) {
			calls++
			sessions += len(c.Stats().Sessions)
			if ev.Kind == LinkUp {
				c.RemoveLink(99)
			}
		}
	}, hold: func(bool, []byte) bool { return true }})
	synctest.Wait()
	c = v.client
	v.tap.filter(nil)
	v.sleep(5 * time.Second)
	v.close()
	if calls < 3 || sessions == 0 {
		t.Errorf("OnEvent was called %d times and saw %d sessions", calls, sessions)
	}
}

func TestAddLinkWhilePending(t *testing.T) { synctest.Test(t, testAddLinkWhilePending) }

// A link that is added between the handshake and the first answer to a probe comes
// up, too.
func testAddLinkWhilePending(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 2, hold: func(up bool, data []byte) bool { return kindOf(data) == "PONG" }})
	defer v.close()
	synctest.Wait()
	if err := v.client.RemoveLink(v.ids[1]); err != nil {
		t.Fatal(err)
	}
	v.sleep(500 * time.Millisecond)
	l := v.tap.renewLink(1)
	if _, err := v.client.AddLink(l, LinkConfig{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	v.tap.filter(nil)
	v.sleep(10 * time.Second)
	up := 0
	for _, l := range v.client.Stats().Sessions[0].Links {
		if l.State == LinkIsUp {
			up++
		}
	}
	if up != 2 {
		t.Errorf("%d links are up, want 2: events %q", up, v.log.take())
	}
}

// A faultyListener accepts what it is given.
type faultyListener struct {
	accept chan link.Link
	errs   chan error
	closed chan struct{}
	once   sync.Once
}

func newFaultyListener() *faultyListener {
	return &faultyListener{accept: make(chan link.Link), errs: make(chan error), closed: make(chan struct{})}
}

func (l *faultyListener) Accept() (link.Link, error) {
	select {
	case ln := <-l.accept:
		return ln, nil
	case err := <-l.errs:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *faultyListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func TestListenerFails(t *testing.T) { synctest.Test(t, testListenerFails) }

// Accept's errors are survived, and a link that has ended is closed: nobody else
// could.
func testListenerFails(t *testing.T) {
	tp := newTap(1)
	l := newFaultyListener()
	s, err := NewServer(ServerConfig{Config: Config{Device: tuntest.New(tuntest.Config{}), Key: crypto.GeneratePrivateKey()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddListener(l, LinkConfig{Name: "tcp"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	l.errs <- errCable
	l.errs <- errCable
	short := &faultyLink{tapLink: &tapLink{tap: tp, in: newMemQueue(16)}}
	long := &faultyLink{tapLink: &tapLink{tap: tp, in: newMemQueue(16)}}
	l.accept <- short
	l.accept <- long
	synctest.Wait()
	short.receives(io.EOF)
	time.Sleep(time.Second)
	synctest.Wait()
	if short.closes.Load() == 0 {
		t.Error("an accepted link that has ended was not closed")
	}
	if long.closes.Load() != 0 {
		t.Error("an accepted link was closed")
	}
	cancel()
	<-ended
	if long.closes.Load() == 0 {
		t.Error("an accepted link is open after Run")
	}
	select {
	case <-l.closed:
	default:
		t.Error("the listener is open after Run")
	}
}

func TestBadConfig(t *testing.T) {
	dev := tuntest.New(tuntest.Config{})
	key, pub := crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey().Public()
	long := strings.Repeat("x", 100)
	for _, x := range []struct {
		cfg  ClientConfig
		want string
	}{
		{ClientConfig{}, "Config.Device"},
		{ClientConfig{Config: Config{Device: dev}}, "Config.Key or Config.PasswordKey"},
		{ClientConfig{Config: Config{Device: dev, Key: key}}, "ClientConfig.Server"},
		{ClientConfig{Config: Config{Device: dev, Key: key, PasswordKey: crypto.GeneratePresharedKey()}}, "both"},
		{ClientConfig{Config: Config{Device: dev, Key: key}, Server: pub, Name: long}, "client name"},
		{ClientConfig{Config: Config{Device: dev, Key: key}, Server: pub, Name: "a\nb"}, "client name"},
	} {
		if _, err := NewClient(x.cfg); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: error %v, want one that names %q", x.cfg.Name, err, x.want)
		}
	}
	for _, x := range []struct {
		cfg  ServerConfig
		want string
	}{
		{ServerConfig{}, "Config.Device"},
		{ServerConfig{Config: Config{Device: dev, PasswordKey: crypto.GeneratePresharedKey()}, Clients: []Peer{{Name: "a", Key: pub}}}, "no list of clients"},
		{ServerConfig{Config: Config{Device: dev, Key: key}, Clients: []Peer{{Key: pub}}}, "Peer.Name"},
		{ServerConfig{Config: Config{Device: dev, Key: key}, Clients: []Peer{{Name: "a"}}}, "Peer.Key"},
		{ServerConfig{Config: Config{Device: dev, Key: key}, Clients: []Peer{{Name: "a", Key: pub}, {Name: "b", Key: pub}}}, `"a"`},
	} {
		if _, err := NewServer(x.cfg); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("error %v, want one that names %q", err, x.want)
		}
	}
	for _, x := range []struct {
		cfg  LinkConfig
		want string
	}{
		{LinkConfig{}, "LinkConfig.Name"},
		{LinkConfig{Name: long}, "shorten"},
		{LinkConfig{Name: "a", Pace: true}, "LinkConfig.Bandwidth"},
		{LinkConfig{Name: "a", LossTolerance: 1.5}, "between 0 and 1"},
		{LinkConfig{Name: "a", LossTolerance: -1}, "between 0 and 1"},
		{LinkConfig{Name: "a", Timeout: -1}, "negative"},
		{LinkConfig{Name: "a", LatencyTolerance: -1}, "negative"},
	} {
		if err := x.cfg.validate(); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: error %v, want one that names %q", x.cfg, err, x.want)
		}
	}
}

var _ tun.Device = (*faultyDevice)(nil)
