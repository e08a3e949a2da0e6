package tun

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
)

// fakeSystem yields scripted batches and notes what is written.
type fakeSystem struct {
	batch   int
	reads   []func(bufs [][]byte, sizes []int, offset int) (int, error)
	written []string
	batches []int
	write1  func(pkt string) error
	closes  int
}

func (f *fakeSystem) read(bufs [][]byte, sizes []int, offset int) (int, error) {
	if len(bufs) != f.batch {
		return 0, fmt.Errorf("read into %d buffers, want %d", len(bufs), f.batch)
	}
	if len(f.reads) == 0 {
		return 0, errors.New("device is broken")
	}
	next := f.reads[0]
	f.reads = f.reads[1:]
	return next(bufs, sizes, offset)
}

func (f *fakeSystem) write(bufs [][]byte, offset int) error {
	f.batches = append(f.batches, len(bufs))
	var errs error
	for i, b := range bufs {
		f.written = append(f.written, string(b[offset:]))
		if f.write1 != nil {
			errs = errors.Join(errs, f.write1(string(b[offset:])))
		}
		bufs[i] = nil // as wireguard's, which swaps them
	}
	return errs
}

func (f *fakeSystem) mtu() (int, error) { return 1408, nil }
func (f *fakeSystem) batchSize() int    { return f.batch }
func (f *fakeSystem) close() error      { f.closes++; return nil }

func yields(pkts ...string) func([][]byte, []int, int) (int, error) {
	return func(bufs [][]byte, sizes []int, offset int) (int, error) {
		for i, p := range pkts {
			sizes[i] = copy(bufs[i][offset:], p)
		}
		return len(pkts), nil
	}
}

func fails(n int, err error) func([][]byte, []int, int) (int, error) {
	return func([][]byte, []int, int) (int, error) { return n, err }
}

func buffers(n, size int) ([][]byte, []int) {
	bufs := make([][]byte, n)
	for i := range bufs {
		bufs[i] = make([]byte, size)
	}
	return bufs, make([]int, n)
}

func TestReadSkipsLostPackets(t *testing.T) {
	f := &fakeSystem{batch: 4}
	f.reads = append(f.reads, fails(0, errSkip), fails(0, nil), fails(0, errSkip), yields("a", "b"))
	n := newNative(f, "fake0", false)
	bufs, sizes := buffers(4, 100)
	got, err := n.Read(bufs, sizes, 16)
	if got != 2 || err != nil || string(bufs[1][16:16+sizes[1]]) != "b" {
		t.Fatalf("Read = %d, %v", got, err)
	}
	if _, err := n.Read(bufs, sizes, 16); err == nil || !strings.Contains(err.Error(), "fake0") || !strings.Contains(err.Error(), "broken") {
		t.Fatalf("Read = %v", err)
	}
}

// TestReadKeepsSegmentsOfABadRead checks that packets that came with an error are not
// lost.
func TestReadKeepsSegmentsOfABadRead(t *testing.T) {
	f := &fakeSystem{batch: 4}
	f.reads = append(f.reads, func(bufs [][]byte, sizes []int, offset int) (int, error) {
		n, _ := yields("a", "b", "c")(bufs, sizes, offset)
		return n, errSkip
	})
	n := newNative(f, "fake0", false)
	bufs, sizes := buffers(4, 100)
	if got, err := n.Read(bufs, sizes, 0); got != 3 || err != nil {
		t.Fatalf("Read = %d, %v", got, err)
	}
}

// TestReadWithFewBuffers checks that a caller with fewer buffers than the batch gets
// every packet that fits, in order.
func TestReadWithFewBuffers(t *testing.T) {
	for _, count := range []int{1, 2, 3} {
		f := &fakeSystem{batch: 4}
		f.reads = append(f.reads, yields("a", "b", "c", "d"), yields(strings.Repeat("x", 200)), yields("e"), yields("f", strings.Repeat("x", 85), "g"))
		n := newNative(f, "fake0", false)
		bufs, sizes := buffers(count, 100)
		var got string
		for len(got) < 7 {
			k, err := n.Read(bufs, sizes, 16)
			if err != nil || k < 1 || k > count {
				t.Fatalf("Read = %d, %v", k, err)
			}
			for i := range k {
				got += string(bufs[i][16 : 16+sizes[i]])
			}
		}
		if got != "abcdefg" {
			t.Fatalf("got %q", got)
		}
	}
}

func TestReadArguments(t *testing.T) {
	n := newNative(&fakeSystem{batch: 1, reads: nil}, "fake0", false)
	for _, tt := range []struct{ bufs, sizes, offset int }{{0, 1, 0}, {2, 1, 0}, {1, 1, -1}} {
		bufs, _ := buffers(tt.bufs, 100)
		if _, err := n.Read(bufs, make([]int, tt.sizes), tt.offset); err == nil || strings.Contains(err.Error(), "broken") {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func TestWrite(t *testing.T) {
	bad := errors.New("bad packet")
	for _, batch := range []int{1, 4, 128} {
		f := &fakeSystem{batch: batch, write1: func(pkt string) error {
			if pkt == "3" {
				return bad
			}
			return nil
		}}
		n := newNative(f, "fake0", false)
		var bufs, saved [][]byte
		var want []string
		for i := range 300 {
			pkt := fmt.Sprint(i)
			if i%7 == 0 {
				pkt = ""
			} else {
				want = append(want, pkt)
			}
			bufs = append(bufs, append(make([]byte, Headroom), pkt...))
		}
		bufs = append(bufs, nil)
		saved = append(saved, bufs...)
		_, err := n.Write(bufs, Headroom)
		if !errors.Is(err, bad) {
			t.Fatalf("Write = %v, want the bad packet's error", err)
		}
		if got := strings.Join(f.written, " "); got != strings.Join(want, " ") {
			t.Fatalf("batch %d: wrote %q", batch, got)
		}
		for _, size := range f.batches {
			if size > batch {
				t.Fatalf("a batch of %d, want at most %d", size, batch)
			}
		}
		for i := range bufs {
			if !bytes.Equal(bufs[i], saved[i]) || (bufs[i] == nil) != (saved[i] == nil) {
				t.Fatal("the caller's slices were changed")
			}
		}
		if got, err := n.Write(bufs[:3], Headroom); got != 3 || err != nil {
			t.Fatalf("Write = %d, %v", got, err)
		}
		if _, err := n.Write(bufs, Headroom-1); err == nil {
			t.Fatal("an offset without headroom was accepted")
		}
	}
}

func TestClose(t *testing.T) {
	f := &fakeSystem{batch: 1}
	f.reads = append(f.reads, fails(0, net.ErrClosed))
	f.write1 = func(string) error { return errors.New("bad file descriptor") }
	n := newNative(f, "fake0", false)
	for range 3 {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if f.closes != 1 {
		t.Fatalf("closed %d times", f.closes)
	}
	bufs, sizes := buffers(1, 100)
	if _, err := n.Read(bufs, sizes, 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after Close = %v", err)
	}
	if _, err := n.Write(bufs, Headroom); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Close = %v", err)
	}
	if _, err := n.MTU(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("MTU after Close = %v", err)
	}
}

func TestConfigCheck(t *testing.T) {
	for _, mtu := range []int{-1, 67, 65536} {
		if _, err := Open(Config{MTU: mtu}); err == nil || !strings.Contains(err.Error(), "MTU") {
			t.Errorf("MTU %d: %v", mtu, err)
		}
	}
}
