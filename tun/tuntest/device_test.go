package tuntest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/tun"
)

func buffers(n, size int) ([][]byte, []int) {
	bufs := make([][]byte, n)
	for i := range bufs {
		bufs[i] = make([]byte, size)
	}
	return bufs, make([]int, n)
}

func TestDefaults(t *testing.T) {
	d := New(Config{})
	name, _ := d.Name()
	mtu, err := d.MTU()
	if name != "test0" || mtu != tun.DefaultMTU || err != nil || d.BatchSize() != 128 {
		t.Fatalf("name %q, MTU %d, %v, batch size %d", name, mtu, err, d.BatchSize())
	}
	d.SetMTU(1280)
	if mtu, _ := d.MTU(); mtu != 1280 {
		t.Fatalf("MTU %d", mtu)
	}
}

// TestBothWays sends numbered packets both ways through a tunnel end that echoes, in
// batches of different sizes, and checks order and contents.
func TestBothWays(t *testing.T) { synctest.Test(t, testBothWays) }

func testBothWays(t *testing.T) {
	const packets = 1000
	d := New(Config{Queue: 50, BatchSize: 7})
	go func() { // the tunnel
		bufs, sizes := buffers(10, 2048)
		out := make([][]byte, 0, 10)
		for {
			n, err := d.Read(bufs, sizes, 16)
			if err != nil {
				if !errors.Is(err, os.ErrClosed) {
					t.Error(err)
				}
				return
			}
			if n < 1 || n > 7 {
				t.Errorf("Read yields %d packets", n)
			}
			out = out[:0]
			for i := range n {
				out = append(out, bufs[i][:16+sizes[i]])
			}
			if k, err := d.Write(out, 16); k != n || err != nil {
				t.Errorf("Write = %d, %v", k, err)
			}
		}
	}()
	received := make(chan int)
	go func() { // the host's reader
		bufs, sizes := buffers(20, 2048)
		next := 0
		for next < packets {
			n, err := d.ReceiveBatch(bufs, sizes)
			if err != nil || n < 1 || n > 7 {
				t.Errorf("ReceiveBatch = %d, %v", n, err)
				break
			}
			for i := range n {
				if want := fmt.Sprintf("packet %d", next); string(bufs[i][:sizes[i]]) != want {
					t.Errorf("received %q, want %q", bufs[i][:sizes[i]], want)
				}
				next++
			}
			// Nothing is dropped as long as the host keeps up: one queue is 50 packets.
		}
		received <- next
	}()
	for i := range packets {
		if err := d.Inject(fmt.Appendf(nil, "packet %d", i)); err != nil {
			t.Fatal(err)
		}
		if i%40 == 0 {
			synctest.Wait()
		}
	}
	if got := <-received; got != packets {
		t.Errorf("received %d packets", got)
	}
	if s := d.Stats(); s.Injected != packets || s.Written != packets || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
	d.Close()
}

// TestWaitingIsDurable checks that the clock of a bubble runs while all wait for a
// device.
func TestWaitingIsDurable(t *testing.T) { synctest.Test(t, testWaitingIsDurable) }

func testWaitingIsDurable(t *testing.T) {
	d := New(Config{Queue: 1})
	results := make(chan error, 3)
	go func() {
		bufs, sizes := buffers(1, 100)
		_, err := d.Read(bufs, sizes, 0)
		for err == nil {
			_, err = d.Read(bufs, sizes, 0)
		}
		results <- err
	}()
	go func() {
		_, err := d.Receive(make([]byte, 100))
		results <- err
	}()
	start := time.Now()
	time.Sleep(time.Hour)
	d.Close()
	d.Close()
	for range 2 {
		if err := <-results; !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	}
	if time.Since(start) != time.Hour {
		t.Errorf("%v went by", time.Since(start))
	}

	d = New(Config{Queue: 1})
	if err := d.Inject([]byte("a")); err != nil {
		t.Fatal(err)
	}
	go func() { results <- d.Inject([]byte("b")) }()
	synctest.Wait()
	select {
	case err := <-results:
		t.Errorf("Inject into a full queue returned %v", err)
	default:
	}
	d.Close()
	if err := <-results; !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestAfterClose(t *testing.T) {
	d := New(Config{})
	if _, err := d.Write([][]byte{[]byte("kept")}, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Inject([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	d.Close()
	buf := make([]byte, 100)
	if n, err := d.Receive(buf); string(buf[:n]) != "kept" || err != nil {
		t.Errorf("Receive = %q, %v", buf[:n], err)
	}
	_, receive := d.Receive(buf)
	_, read := d.Read([][]byte{buf}, make([]int, 1), 0)
	_, write := d.Write([][]byte{buf}, 0)
	_, mtu := d.MTU()
	for i, err := range []error{receive, read, write, mtu, d.Inject(buf)} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("error %d is %v", i, err)
		}
	}
	if d.TryInject(buf) {
		t.Error("TryInject after Close")
	}
}

func TestQueueFull(t *testing.T) {
	d := New(Config{Queue: 3})
	for i := range 5 {
		if got := d.TryInject([]byte{byte(i)}); got != (i < 3) {
			t.Errorf("TryInject %d = %v", i, got)
		}
		if _, err := d.Write([][]byte{{byte(i)}}, 0); err != nil {
			t.Error(err)
		}
	}
	if s := d.Stats(); s != (Stats{Injected: 3, Written: 5, Bytes: 5, Dropped: 2}) {
		t.Errorf("%+v", s)
	}
	buf := make([]byte, 10)
	for i := range 4 {
		n, ok := d.TryReceive(buf)
		if ok != (i < 3) || ok && (n != 1 || buf[0] != byte(i)) {
			t.Errorf("TryReceive %d = %d, %v", i, n, ok)
		}
	}
}

func TestSizes(t *testing.T) {
	d := New(Config{MTU: 100})
	if d.Inject(nil) == nil || d.Inject(make([]byte, 101)) == nil || d.TryInject(make([]byte, 101)) {
		t.Error("injected an empty packet or one larger than the MTU")
	}
	if err := New(Config{MTU: 100, TAP: true}).Inject(make([]byte, 118)); err != nil {
		t.Error(err)
	}
	if _, err := d.Write([][]byte{make([]byte, 16)}, 16); err == nil {
		t.Error("wrote an empty packet")
	}
	if _, err := d.Read(nil, nil, 0); err == nil {
		t.Error("read into no buffer")
	}
	for _, pkt := range []string{"first", "much too long", "last"} {
		if err := d.Inject([]byte(pkt)); err != nil {
			t.Fatal(err)
		}
	}
	bufs, sizes := buffers(5, 16+5)
	n, err := d.Read(bufs, sizes, 16)
	if n != 1 || !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("Read = %d, %v", n, err)
	}
	if n, err = d.Read(bufs, sizes, 16); n != 1 || err != nil || string(bufs[0][16:16+sizes[0]]) != "last" {
		t.Errorf("Read = %d, %v", n, err)
	}
}

func TestBuffersAreCopied(t *testing.T) {
	d := New(Config{})
	pkt := []byte("abc")
	if err := d.Inject(pkt); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write([][]byte{pkt}, 0); err != nil {
		t.Fatal(err)
	}
	copy(pkt, "xyz")
	buf := make([]byte, 10)
	if n, _ := d.TryReceive(buf); string(buf[:n]) != "abc" {
		t.Errorf("received %q", buf[:n])
	}
	sizes := make([]int, 1)
	if _, err := d.Read([][]byte{buf}, sizes, 0); err != nil || string(buf[:sizes[0]]) != "abc" {
		t.Errorf("read %q, %v", buf[:sizes[0]], err)
	}
}

func TestConcurrentReadPanics(t *testing.T) {
	d := New(Config{})
	d.reading.Store(true)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	bufs, sizes := buffers(1, 10)
	d.Read(bufs, sizes, 0)
}

func TestAllocs(t *testing.T) {
	d := New(Config{Queue: 64})
	bufs, sizes := buffers(32, 2048)
	pkt := make([]byte, 1400)
	out := [][]byte{pkt, pkt, pkt}
	round := func() {
		for range 3 {
			if err := d.Inject(pkt); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := d.Read(bufs, sizes, 16); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		if _, err := d.Write(out, 16); err != nil {
			t.Fatal(err)
		}
		if n, err := d.ReceiveBatch(bufs, sizes); n != 3 || err != nil {
			t.Fatal(n, err)
		}
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func ExampleDevice() {
	dev := New(Config{MTU: 1400})
	defer dev.Close()
	a, b := netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("192.0.2.2:2000")

	// The host sends, and a tunnel reads.
	dev.Inject(UDP4(a, b, []byte("hello")))
	bufs, sizes := [][]byte{make([]byte, 2048)}, make([]int, 1)
	n, err := dev.Read(bufs, sizes, tun.Headroom)
	fmt.Println(n, sizes[0], err)

	// The tunnel delivers, and the host checks what it got.
	dev.Write([][]byte{append(make([]byte, tun.Headroom), UDP4(b, a, []byte("answer"))...)}, tun.Headroom)
	buf := make([]byte, 2048)
	size, _ := dev.Receive(buf)
	payload, err := Payload(buf[:size])
	fmt.Println(string(payload), err)
	// Output:
	// 1 33 <nil>
	// answer <nil>
}

func BenchmarkWriteDiscard(b *testing.B) {
	d := New(Config{Discard: true})
	pkt := make([]byte, 1424)
	out := bytesSlices(pkt, 32)
	b.ReportAllocs()
	for b.Loop() {
		d.Write(out, 16)
	}
}

func BenchmarkInjectRead(b *testing.B) {
	d := New(Config{})
	bufs, sizes := buffers(32, 2048)
	pkt := bytes.Repeat([]byte{1}, 1400)
	b.ReportAllocs()
	for b.Loop() {
		for range 32 {
			d.Inject(pkt)
		}
		d.Read(bufs, sizes, 16)
	}
}

func bytesSlices(pkt []byte, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = pkt
	}
	return out
}
