package linksim

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

func TestLinkMTU(t *testing.T) { synctest.Test(t, testLinkMTU) }
func testLinkMTU(t *testing.T) {
	a, b := Pair(Profile{}, Profile{}, 1)
	defer b.Close()
	defer a.Close()
	if a.MTU() != DefaultMTU {
		t.Errorf("MTU %d", a.MTU())
	}
	n, err := a.Send([][]byte{make([]byte, 1472), {}, make([]byte, 1473), make([]byte, 10)})
	if n != 2 || err != link.ErrTooLarge {
		t.Errorf("Send = %d, %v", n, err)
	}
	if s := a.Stats(); s.Sent != 2 {
		t.Errorf("stats %+v", s)
	}
	if n, err := a.Send(nil); n != 0 || err != nil {
		t.Errorf("Send of nothing = %d, %v", n, err)
	}
	bufs, sizes := [][]byte{make([]byte, 2000), make([]byte, 2000), make([]byte, 2000)}, make([]int, 3)
	if n, err := b.Receive(bufs, sizes); n != 2 || err != nil || sizes[0] != 1472 || sizes[1] != 0 {
		t.Errorf("Receive = %d, %v, sizes %v", n, err, sizes)
	}
}

func TestLinkJumbo(t *testing.T) { synctest.Test(t, testLinkJumbo) }
func testLinkJumbo(t *testing.T) {
	a, b := Pair(Profile{MTU: 65535, Delay: time.Millisecond}, Profile{}, 1)
	defer b.Close()
	defer a.Close()
	want := bytes.Repeat([]byte("jumbo"), 13107)
	send(t, a, []byte("small"), want)
	bufs, sizes := [][]byte{make([]byte, 65535), make([]byte, 65535)}, make([]int, 2)
	n, err := b.Receive(bufs, sizes)
	if n != 2 || err != nil || string(bufs[0][:sizes[0]]) != "small" || !bytes.Equal(bufs[1][:sizes[1]], want) {
		t.Errorf("Receive = %d, %v, sizes %v", n, err, sizes)
	}
}

func TestLinkCopies(t *testing.T) { synctest.Test(t, testLinkCopies) }
func testLinkCopies(t *testing.T) {
	a, b := Pair(Profile{Delay: time.Millisecond, Duplicate: 1}, Profile{}, 1)
	defer b.Close()
	defer a.Close()
	pkt := []byte("before")
	send(t, a, pkt)
	copy(pkt, "after!")
	bufs, sizes := [][]byte{make([]byte, 6), make([]byte, 6)}, make([]int, 2)
	n, err := b.Receive(bufs, sizes)
	if n != 2 || err != nil || string(bufs[0]) != "before" || string(bufs[1]) != "before" {
		t.Errorf("Receive = %d, %v, %q", n, err, bufs)
	}
}

func TestLinkDropsWhatDoesNotFit(t *testing.T) { synctest.Test(t, testLinkDropsWhatDoesNotFit) }
func testLinkDropsWhatDoesNotFit(t *testing.T) {
	a, b := Pair(Profile{}, Profile{}, 1)
	defer b.Close()
	defer a.Close()
	send(t, a, []byte("too long"), []byte("fits"), []byte("too long"), []byte("good"), []byte("next"))
	bufs, sizes := [][]byte{make([]byte, 4), make([]byte, 4)}, make([]int, 2)
	n, err := b.Receive(bufs, sizes)
	if n != 2 || err != nil || string(bufs[0]) != "fits" || string(bufs[1]) != "good" || sizes[0] != 4 || sizes[1] != 4 {
		t.Errorf("Receive = %d, %v, %q, sizes %v", n, err, bufs, sizes)
	}
	if n, err := b.Receive(bufs, sizes); n != 1 || err != nil || string(bufs[0]) != "next" {
		t.Errorf("second Receive = %d, %v, %q", n, err, bufs)
	}

	// When nothing fits, Receive goes on waiting.
	go func() {
		send(t, a, []byte("too long"))
		time.Sleep(time.Second)
		send(t, a, []byte("ok"))
	}()
	if n, err := b.Receive(bufs, sizes); n != 1 || err != nil || string(bufs[0][:sizes[0]]) != "ok" {
		t.Errorf("third Receive = %d, %v, %q", n, err, bufs)
	}
}

func TestLinkClose(t *testing.T) { synctest.Test(t, testLinkClose) }
func testLinkClose(t *testing.T) {
	a, b := Pair(Profile{Delay: time.Second}, Profile{Delay: time.Second}, 1)
	bufs, sizes := [][]byte{make([]byte, 2000)}, make([]int, 1)

	// Waiting when it is closed.
	failed := make(chan error)
	go func() {
		_, err := a.Receive(bufs, sizes)
		failed <- err
	}()
	synctest.Wait()
	send(t, a, []byte("from a"))
	send(t, b, []byte("from b"))
	for range 2 {
		if err := a.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if b.out.timer.Stop() {
		t.Error("the timer of what was on its way to the closed end still runs")
	}
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the waiting Receive: %v", err)
	}
	if n, err := a.Receive(bufs, sizes); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive = %d, %v", n, err)
	}
	if n, err := a.Send([][]byte{{1}}); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send = %d, %v", n, err)
	}

	// The other end is not told, and gets what was on its way.
	if n, err := b.Receive(bufs, sizes); n != 1 || err != nil || string(bufs[0][:sizes[0]]) != "from a" {
		t.Errorf("Receive of the other end = %d, %v", n, err)
	}
	send(t, b, []byte("to nobody"))
	time.Sleep(5 * time.Second)
	if s := b.Stats(); s.Sent != 2 || s.Swallowed != 2 || s.Delivered != 0 {
		t.Errorf("stats of what was sent to the closed end: %+v", s)
	}

	// What has arrived and was not received is gone.
	send(t, b, []byte("x"))
	b.Close()
	if n, err := b.Receive(bufs, sizes); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive = %d, %v", n, err)
	}
	if a.out.timer.Stop() || b.out.timer.Stop() {
		t.Error("a timer still runs")
	}
}

func TestLinkReceiveQueueIsBounded(t *testing.T) { synctest.Test(t, testLinkReceiveQueueIsBounded) }
func testLinkReceiveQueueIsBounded(t *testing.T) {
	const size, more = 60_000, 100
	room := queueLimit / (size + datagramCost)
	p := Profile{MTU: size, Delay: time.Millisecond}
	a, b := Pair(p, p, 1)
	defer b.Close()
	defer a.Close()
	pkt := make([]byte, size)
	for range room + more {
		send(t, a, pkt)
	}
	if s := a.Stats(); s.QueueDropped != more {
		t.Errorf("on the way: %+v, room for %d", s, room)
	}
	time.Sleep(time.Second)
	for range more {
		send(t, a, pkt)
	}
	time.Sleep(time.Second)
	if s := a.Stats(); int(s.Delivered) != room || s.ReceiveDropped != more {
		t.Errorf("in the receive queue: %+v, room for %d", s, room)
	}
}

// Concurrent use of everything; the race detector is the judge.
func TestLinkConcurrentUse(t *testing.T) {
	p := Profile{Rate: 10_000_000, Delay: time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Duplicate: 0.01, Reorder: 0.01, ReorderBy: time.Millisecond}
	a, b := Pair(p, p, 1)
	atA, atB := collectLink(t, a), collectLink(t, b)
	var wg sync.WaitGroup
	for _, l := range []*Link{a, b} {
		wg.Go(func() {
			pkts := [][]byte{numbered(1, 100), numbered(2, 1000), numbered(3, 1400)}
			for i := range 2000 {
				if _, err := l.Send(pkts); err != nil {
					if i == 0 || !errors.Is(err, net.ErrClosed) {
						t.Errorf("Send: %v", err)
					}
					return
				}
				if i == 1900 {
					l.Close()
				}
			}
		})
		wg.Go(func() {
			for range 100 {
				l.SetProfile(l.Profile())
				l.Cut()
				l.Stats()
				l.Restore()
				l.MTU()
				l.Addresses()
			}
		})
	}
	wg.Wait()
	a.Close()
	b.Close()
	<-atA
	<-atB
}

func TestLinkAddresses(t *testing.T) {
	a, b := Pair(Profile{}, Profile{}, 1)
	al, ar := a.Addresses()
	bl, br := b.Addresses()
	if al != br || ar != bl || al == ar || !al.IsValid() || !ar.IsValid() {
		t.Errorf("a %v to %v, b %v to %v", al, ar, bl, br)
	}
	if err := a.Rebind(ar); err == nil {
		t.Error("an end of a Pair was rebound")
	}
}
